internal import CStratoLinux
internal import Glibc
internal import StratoHost
internal import StratoMemory

/// The kernel's asynchronous I/O of old (io_setup(2)), which libaio wraps: a context of its own for each queue.
@safe
struct NativeDiskInterface: DiskInterface, ~Copyable {
    static let name = "native"
    static let completesEarly = false

    private var context = csl_aio()

    init(
        _ image: DiskImage, depth: Int, event: EventDescriptor, memory: GuestMemory?
    ) throws(LinuxError) {
        // SAFETY: the shim fills a live structure in.
        let code = unsafe csl_aio_open(&context, UInt32(clamping: depth), image.descriptor.number, event.number)
        try LinuxError.check(code, "io_setup")
    }

    mutating func stage(_ transfer: DiskTransfer) -> Bool {
        // SAFETY: the kernel has read the vectors by the time that `submit` returns.
        unsafe csl_aio_stage(
            &context, transfer.kind.number, transfer.vectors, UInt32(clamping: transfer.vectorCount), transfer.offset,
            transfer.writeFlags, UInt64(UInt32(bitPattern: transfer.tag))) != 0
    }

    mutating func submit() {
        // What is refused remains staged.
        _ = unsafe csl_aio_submit(&context)
    }

    mutating func unstage() -> Int32? {
        var tag: UInt64 = 0
        return unsafe csl_aio_unstage(&context, &tag) != 0 ? Int32(truncatingIfNeeded: tag) : nil
    }

    mutating func next() -> (tag: Int32, result: Int)? {
        var tag: UInt64 = 0
        var result: Int64 = 0
        guard unsafe csl_aio_next(&context, &tag, &result) != 0 else { return nil }
        return (Int32(truncatingIfNeeded: tag), Int(result))
    }

    mutating func close() { unsafe csl_aio_close(&context) }
}
