internal import CStratoLinux
internal import Glibc
internal import StratoHost
internal import StratoMemory

/// io_uring: a ring of its own for each queue, which the kernel has restricted to this image.
@safe
struct RingDiskInterface: DiskInterface, ~Copyable {
    static let name = "io_uring"
    static let completesEarly = true

    // SAFETY: filled in by the shim and used by it alone; nobody else has the pointers that are in it.
    private var ring = unsafe csl_uring()

    init(
        _ image: DiskImage, depth: Int, event: EventDescriptor, memory: GuestMemory?
    ) throws(LinuxError) {
        let mapping = unsafe memory?.hostMapping
        // SAFETY: the shim fills a live structure in. Whoever submits requests that point into the memory keeps it alive, and
        // what the kernel has registered is its own until the ring is closed.
        let code = unsafe csl_uring_open(
            &ring, UInt32(clamping: depth), image.descriptor.number, event.number, mapping?.baseAddress, mapping?.count ?? 0)
        try LinuxError.check(code, "io_uring")
    }

    mutating func stage(_ transfer: DiskTransfer) -> Bool {
        // SAFETY: the kernel has read the vectors by the time that `submit` returns.
        unsafe csl_uring_stage(
            &ring, transfer.kind.number, transfer.vectors, UInt32(clamping: transfer.vectorCount), transfer.offset,
            transfer.writeFlags, UInt64(UInt32(bitPattern: transfer.tag))) != 0
    }

    mutating func submit() {
        // What is refused remains staged.
        _ = unsafe csl_uring_submit(&ring)
    }

    mutating func unstage() -> Int32? {
        var tag: UInt64 = 0
        return unsafe csl_uring_unstage(&ring, &tag) != 0 ? Int32(truncatingIfNeeded: tag) : nil
    }

    mutating func next() -> (tag: Int32, result: Int)? {
        var tag: UInt64 = 0
        var result: Int32 = 0
        guard unsafe csl_uring_next(&ring, &tag, &result) != 0 else { return nil }
        return (Int32(truncatingIfNeeded: tag), Int(result))
    }

    mutating func close() { unsafe csl_uring_close(&ring) }
}

extension DiskTransfer {
    /// Of the system call.
    var writeFlags: UInt32 { kind == .write && isDurable ? UInt32(CSL_WRITE_DURABLE) : 0 }
}

extension DiskTransfer.Kind {
    /// As the shims number it.
    var number: Int32 {
        switch self {
        case .read: Int32(CSL_TRANSFER_READ.rawValue)
        case .write: Int32(CSL_TRANSFER_WRITE.rawValue)
        case .flush: Int32(CSL_TRANSFER_FLUSH.rawValue)
        }
    }
}
