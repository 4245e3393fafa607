internal import CStratoLinux
internal import Glibc
package import StratoHost
internal import StratoMemory
internal import Synchronization

/// A raw image: a regular file or block device whose bytes are the disk's, locked against other users as long as it is open.
///
/// A file that is no whole number of sectors long has a last sector that is filled up with zeros, as in QEMU: nothing of
/// the file is hidden. A write to that sector makes the file longer.
package final class DiskImage: Sendable {
    /// The unit of virtio's sector numbers, in bytes (virtio 1.2, 5.2.4).
    package static let sectorSize: UInt64 = 512

    /// The largest alignment of direct I/O that is dealt with, in bytes.
    private static let largestAlignment = 1 << 16

    package let options: DiskImageOptions

    /// In bytes, a multiple of 512.
    package let capacity: UInt64

    /// Blocks that the host handles as a whole, in bytes: a power of two, 512 or more.
    package let physicalBlockSize: Int

    let descriptor: OwnedDescriptor
    let isBlockDevice: Bool

    /// How long the contents were when the image was opened; what reads past it has not been written yet.
    let contentSize: UInt64

    /// What offsets and lengths of I/O must be multiples of.
    let offsetAlignment: Int

    /// What addresses of I/O must be multiples of.
    let memoryAlignment: Int

    /// Where a request can be smaller than what I/O must be multiples of.
    let gate: WriteGate?

    let canPunchHoles = Atomic(true)
    let canZeroRanges = Atomic(true)

    /// The log knows that the engine is not to be had.
    let hasToldOfEngine = Atomic(false)

    /// What the first flush failed with that did, 0 if none has.
    private let flushFailure = Atomic<Int32>(0)

    /// Opens and locks an image. Nothing is written.
    ///
    /// - Parameters:
    ///   - options: which, and how.
    ///   - logger: told if the image could not be locked.
    /// - Throws: `DiskError` for what is missing, in use, neither file nor block device, or not fit for direct I/O.
    package convenience init(_ options: DiskImageOptions, logger: Logger) throws(DiskError) {
        try self.init(options, logger: logger, leastAlignment: 1)
    }

    // `leastAlignment` raises that of direct I/O, to try on any host what happens on a disk of large blocks.
    convenience init(_ options: DiskImageOptions, logger: Logger, leastAlignment: Int) throws(DiskError) {
        let path = options.path
        let descriptor = try DiskImage.open(options)
        var status = stat()
        // SAFETY: the kernel writes to a live variable.
        guard unsafe fstat(descriptor.number, &status) == 0 else {
            throw DiskError("\(LinuxError(code: errno, operation: "image \(path)"))")
        }
        let kind = status.st_mode & S_IFMT
        guard kind == S_IFREG || kind == S_IFBLK else {
            throw DiskError("image \(path) is neither a regular file nor a block device")
        }
        let isLocked = try ImageLock.acquire(descriptor.number, path: path, isReadOnly: options.isReadOnly)
        if !isLocked {
            logger.warn("image \(path): its file system has no locks, so that nothing keeps others from using it")
        }
        try self.init(options, consume descriptor, status: status, leastAlignment: leastAlignment)
    }

    private init(
        _ options: DiskImageOptions, _ descriptor: consuming OwnedDescriptor, status: stat, leastAlignment: Int
    ) throws(DiskError) {
        let path = options.path
        let isBlockDevice = status.st_mode & S_IFMT == S_IFBLK
        var size: UInt64 = 0
        if isBlockDevice {
            // SAFETY: the shim writes to a live variable.
            let code = unsafe csl_block_size_bytes(descriptor.number, &size)
            guard code == 0 else { throw DiskError("\(LinuxError(code: 0 &- code, operation: "size of image \(path)"))") }
        } else {
            size = UInt64(max(0, status.st_size))
        }
        let sectors = (size / DiskImage.sectorSize) + (size % DiskImage.sectorSize == 0 ? 0 : 1)
        let (capacity, overflow) = sectors.multipliedReportingOverflow(by: DiskImage.sectorSize)
        guard !overflow, capacity <= UInt64(Int64.max) else { throw DiskError("image \(path) is too large") }
        var alignments = (memory: 1, offset: 1)
        if options.isDirect {
            alignments = try DiskImage.alignments(descriptor.number, path: path, isBlockDevice: isBlockDevice)
            alignments = (max(alignments.memory, leastAlignment), max(alignments.offset, leastAlignment))
        }
        // A hint to the guest, which then sends few requests that are less than a page of the host's cache.
        physicalBlockSize = max(4096, alignments.offset)
        self.options = options
        self.isBlockDevice = isBlockDevice
        self.capacity = capacity
        contentSize = size
        offsetAlignment = alignments.offset
        memoryAlignment = alignments.memory
        gate = alignments.offset > Int(DiskImage.sectorSize) ? WriteGate() : nil
        self.descriptor = descriptor
    }

    deinit {
        ImageLock.release(descriptor.number)
    }

    private static func open(_ options: DiskImageOptions) throws(DiskError) -> OwnedDescriptor {
        // Without O_NONBLOCK the name of a FIFO would hang here; for files and disks it has no effect.
        var flags = (options.isReadOnly ? O_RDONLY : O_RDWR) | O_NONBLOCK | O_NOCTTY
        if options.isDirect { flags |= csl_o_direct() }
        do {
            return try OwnedDescriptor(opening: options.path, flags: flags)
        } catch {
            if error.code == EINVAL, options.isDirect {
                throw DiskError("image \(options.path): its file system has no direct I/O; use direct=off")
            }
            let isRefused = error.code == EROFS || error.code == EACCES || error.code == EPERM
            let advice = isRefused && !options.isReadOnly ? " (readonly=on needs no right to write)" : ""
            throw DiskError("image \(options.path): \(error.reason)\(advice)")
        }
    }

    /// Asks the kernel, or else tries.
    private static func alignments(
        _ descriptor: Int32, path: String, isBlockDevice: Bool
    ) throws(DiskError) -> (memory: Int, offset: Int) {
        var memory: UInt32 = 0
        var offset: UInt32 = 0
        // SAFETY: the shim writes to live variables. An old kernel that does not know the call leaves zeros.
        _ = unsafe csl_direct_alignment(descriptor, &memory, &offset)
        if offset > 0, memory > 0 {
            return try checked(Int(memory), Int(offset), path)
        }
        if isBlockDevice {
            let size = csl_block_sector_size(descriptor)
            if size > 0 { return try checked(Int(size), Int(size), path) }
        }
        guard let buffer = AlignedBuffer(count: largestAlignment, alignment: largestAlignment) else {
            throw DiskError("image \(path): no memory")
        }
        var candidate = Int(sectorSize)
        while candidate <= 4096 {
            // SAFETY: the buffer is larger than any candidate.
            if unsafe csl_pread(descriptor, buffer.start, candidate, 0) >= 0 {
                return try checked(candidate, candidate, path)
            }
            candidate *= 2
        }
        throw DiskError("image \(path): no alignment works for direct I/O; use direct=off")
    }

    private static func checked(_ memory: Int, _ offset: Int, _ path: String) throws(DiskError) -> (memory: Int, offset: Int) {
        // A block is never less than a sector, and never so large that bouncing it makes no sense.
        let alignment = max(offset, Int(sectorSize))
        guard memory & (memory - 1) == 0, alignment & (alignment - 1) == 0, max(memory, alignment) <= largestAlignment else {
            throw DiskError("image \(path): direct I/O needs an alignment of \(max(memory, offset)) bytes; use direct=off")
        }
        return (memory, alignment)
    }

    // MARK: Flushes

    /// What a flush ends with whose system call ended with `code`, 0 or an `errno`.
    ///
    /// The kernel tells once of data that it could not write back, and takes the pages for clean from then on (fsync(2)): the
    /// next call would succeed without the data, and so tell a guest that tries again what is not true. With the page cache in
    /// between, the first flush that fails is therefore the last that can be answered by the kernel.
    func flushResult(_ code: Int32) -> Int32 {
        guard !options.isDirect else { return code }
        guard code != 0 else { return flushFailure.load(ordering: .relaxed) }
        _ = flushFailure.compareExchange(expected: 0, desired: code, ordering: .relaxed)
        return code
    }

    // MARK: What can be asked of the kernel

    /// Whether bytes are whole sectors of the disk. Callers check what guests say; here it is made sure of, as a wrong offset
    /// would make the file longer.
    func isInside(_ offset: UInt64, _ count: UInt64) -> Bool {
        offset % DiskImage.sectorSize == 0 && count % DiskImage.sectorSize == 0 && offset <= capacity
            && count <= capacity - offset
    }

    /// Whether I/O can begin at a place of the disk.
    func isAligned(_ position: UInt64) -> Bool {
        position & UInt64(offsetAlignment - 1) == 0
    }

    /// Whether the kernel takes all segments of a request as they are; without direct I/O it takes any.
    func takesDirectly(_ segments: Span<GuestBuffer>) -> Bool {
        !options.isDirect || isAligned(segments)
    }

    private func isAligned(_ segments: Span<GuestBuffer>) -> Bool {
        for index in segments.indices {
            // SAFETY: the address is looked at, not used.
            let address = unsafe UInt(bitPattern: segments[index].hostAddress)
            guard address & UInt(memoryAlignment - 1) == 0, segments[index].count & (offsetAlignment - 1) == 0 else {
                return false
            }
        }
        return true
    }

    /// Requests beside one another are carried out as one, unless each is looked at by itself.
    var mergesRequests: Bool { options.zeroDetection == .off }

    /// Makes a queue of requests to the image.
    ///
    /// - Parameters:
    ///   - depth: the most requests that are in flight at once, at least 1.
    ///   - threadLimit: the most threads that serve it, if threads do.
    ///   - logger: told, once for each image, if threads take over from an engine that the host does not have.
    /// - Returns: the queue, which keeps the image open.
    /// - Throws: `LinuxError` if there are no descriptors left.
    package func makeQueue(depth: Int, threadLimit: Int, logger: Logger) throws(LinuxError) -> any DiskQueue {
        switch options.engine {
        case .synchronous: SynchronousDiskQueue(self, depth: depth)
        case .threads: try ThreadedDiskQueue(self, depth: depth, threadLimit: threadLimit)
        case .native:
            try KernelDiskQueue<NativeDiskInterface>(self, depth: depth, threadLimit: threadLimit, logger: logger)
        case .ioUring:
            try KernelDiskQueue<RingDiskInterface>(self, depth: depth, threadLimit: threadLimit, logger: logger)
        }
    }
}
