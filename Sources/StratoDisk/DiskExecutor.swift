internal import CStratoLinux
internal import Glibc
internal import StratoHost
internal import StratoMemory
internal import Synchronization

/// Carries requests to an image out, one at a time, in the calling thread. Each thread has its own.
///
/// Every step answers 0 or a positive `errno`. Guest pages go to the kernel as they are where it takes them, which is
/// always without direct I/O; else through a buffer of this executor's.
struct DiskExecutor: ~Copyable {
    /// Bytes that are bounced at once: large enough for the disk not to wait for us, small enough to be had per thread.
    private static let bounceSize = 256 << 10

    /// Vectors of one system call (`IOV_MAX`).
    private static let vectorLimit = 1024

    private let image: DiskImage
    private var bounce: AlignedBuffer?

    init(_ image: DiskImage) {
        self.image = image
    }

    /// Carries a request out and notes its result there.
    mutating func execute(_ request: DiskRequest) {
        request.with { $0.result = execute(&$0) }
    }

    private mutating func execute(_ request: inout DiskRequest.Fields) -> Int32 {
        switch request.operation {
        case .read:
            var cursor = SegmentCursor(request.takeSegments())
            let code = isInside(request.offset, UInt64(clamping: cursor.remaining)) ? read(&cursor, at: request.offset) : EINVAL
            request.segments = cursor.release()
            return code
        case .write:
            guard !image.options.isReadOnly else { return EROFS }
            var cursor = SegmentCursor(request.takeSegments())
            let code = isInside(request.offset, UInt64(clamping: cursor.remaining)) ? write(&cursor, at: request.offset) : EINVAL
            request.segments = cursor.release()
            return code == 0 && request.isWriteThrough ? flush() : code
        case .flush:
            return flush()
        case .discard:
            return forEachRange(request) { executor, range in executor.discard(range) }
        case .writeZeroes:
            let code = forEachRange(request) { executor, range in executor.writeZeroes(range) }
            return code == 0 && request.isWriteThrough ? flush() : code
        }
    }

    private func flush() -> Int32 { 0 &- csl_fdatasync(image.descriptor.number) }

    // MARK: Bounds

    private func isInside(_ offset: UInt64, _ count: UInt64) -> Bool {
        // Callers check what guests say; here it is made sure of, as a wrong offset would make the file longer.
        offset % DiskImage.sectorSize == 0 && count % DiskImage.sectorSize == 0 && offset <= image.capacity
            && count <= image.capacity - offset
    }

    private mutating func forEachRange(
        _ request: borrowing DiskRequest.Fields, _ body: (inout DiskExecutor, DiskRange) -> Int32
    ) -> Int32 {
        guard !image.options.isReadOnly else { return EROFS }
        for range in request.ranges where !isInside(range.offset, range.count) { return EINVAL }
        for range in request.ranges where range.count > 0 {
            let code = body(&self, range)
            if code != 0 { return code }
        }
        return 0
    }

    // MARK: Alignment

    private func isAligned(_ position: UInt64) -> Bool {
        position & UInt64(image.offsetAlignment - 1) == 0
    }

    /// Whether direct I/O takes what is left of the segments at this place of the disk.
    private func canGoDirectly(_ cursor: borrowing SegmentCursor, at position: UInt64) -> Bool {
        guard image.options.isDirect else { return true }
        return isAligned(position)
            && cursor.isAligned(memory: image.memoryAlignment, length: image.offsetAlignment)
    }

    private mutating func takeBounce() -> AlignedBuffer? {
        bounce.take()
            ?? AlignedBuffer(
                count: DiskExecutor.bounceSize, alignment: max(4096, image.memoryAlignment, image.offsetAlignment))
    }

    // MARK: Reading

    private mutating func read(_ cursor: inout SegmentCursor, at offset: UInt64) -> Int32 {
        var position = offset
        while !cursor.isAtEnd {
            guard canGoDirectly(cursor, at: position) else { return readBounced(&cursor, at: position) }
            // SAFETY: the vectors are guest memory that the device keeps alive until the request is completed.
            let amount = unsafe cursor.withVectors(limit: DiskExecutor.vectorLimit) { vectors, count in
                unsafe csl_preadv(image.descriptor.number, vectors, count, Int64(position))
            }
            if amount == -Int(EINTR) { continue }
            if amount < 0 { return Int32(clamping: 0 - amount) }
            if amount == 0 { return fillPastEnd(&cursor, at: position) }
            cursor.advance(by: amount)
            position &+= UInt64(amount)
            // The last sector of a file may be shorter than others; direct I/O refuses to go on from there.
            if !cursor.isAtEnd, position >= image.contentSize { return fillPastEnd(&cursor, at: position) }
        }
        return 0
    }

    private func fillPastEnd(_ cursor: inout SegmentCursor, at position: UInt64) -> Int32 {
        // Before its end the file has become shorter under us.
        guard position >= image.contentSize else { return EIO }
        cursor.zeroRest()
        return 0
    }

    private mutating func readBounced(_ cursor: inout SegmentCursor, at offset: UInt64) -> Int32 {
        guard let buffer = takeBounce() else { return ENOMEM }
        let code = readBounced(&cursor, through: buffer, at: offset)
        bounce = consume buffer
        return code
    }

    private func readBounced(
        _ cursor: inout SegmentCursor, through buffer: borrowing AlignedBuffer, at offset: UInt64
    ) -> Int32 {
        let alignment = UInt64(image.offsetAlignment)
        var position = offset
        while !cursor.isAtEnd {
            let start = position & ~(alignment - 1)
            let skipped = Int(position - start)
            let wanted = UInt64(min(skipped + cursor.remaining, buffer.count))
            // No more than the buffer's count, which is a multiple of every alignment.
            let length = Int((wanted + alignment - 1) & ~(alignment - 1))
            // SAFETY: `length` is at most the buffer's count.
            let amount = unsafe csl_pread(image.descriptor.number, buffer.start, length, Int64(start))
            if amount == -Int(EINTR) { continue }
            if amount < 0 { return Int32(clamping: 0 - amount) }
            guard amount > skipped else { return fillPastEnd(&cursor, at: position) }
            // SAFETY: from `skipped` up to `amount`, the kernel has written the buffer.
            let copied = unsafe cursor.scatter(from: buffer.start + skipped, count: amount - skipped)
            position &+= UInt64(copied)
        }
        return 0
    }

    // MARK: Writing

    private mutating func write(_ cursor: inout SegmentCursor, at offset: UInt64) -> Int32 {
        if image.options.zeroDetection != .off, !cursor.isAtEnd, cursor.isAllZero {
            let mayUnmap = image.options.zeroDetection == .unmap
            return writeZeroes(DiskRange(offset: offset, count: UInt64(cursor.remaining), mayUnmap: mayUnmap))
        }
        var position = offset
        while !cursor.isAtEnd {
            guard canGoDirectly(cursor, at: position) else {
                return writeBounced(&cursor, at: position, count: cursor.remaining)
            }
            let amount = passShared {
                // SAFETY: as in `read`.
                unsafe cursor.withVectors(limit: DiskExecutor.vectorLimit) { vectors, count in
                    unsafe csl_pwritev(image.descriptor.number, vectors, count, Int64(position))
                }
            }
            if amount == -Int(EINTR) { continue }
            if amount < 0 { return Int32(clamping: 0 - amount) }
            guard amount > 0 else { return EIO }
            cursor.advance(by: amount)
            position &+= UInt64(amount)
        }
        return 0
    }

    private func passShared<Result>(_ body: () -> Result) -> Result {
        guard let gate = image.gate else { return body() }
        return gate.shared(body)
    }

    /// Writes what is left of the cursor or, if that is at its end already, zeros.
    private mutating func writeBounced(_ cursor: inout SegmentCursor, at offset: UInt64, count: Int) -> Int32 {
        guard let buffer = takeBounce() else { return ENOMEM }
        let code = writeBounced(&cursor, through: buffer, at: offset, count: count)
        bounce = consume buffer
        return code
    }

    private func writeBounced(
        _ cursor: inout SegmentCursor, through buffer: borrowing AlignedBuffer, at offset: UInt64, count: Int
    ) -> Int32 {
        let alignment = image.offsetAlignment
        var position = offset
        var remaining = count
        let isZeros = cursor.isAtEnd
        if isZeros {
            // SAFETY: the whole buffer, which is ours.
            unsafe memset(buffer.start, 0, buffer.count)
        }
        while remaining > 0 {
            if isAligned(position), remaining >= alignment {
                let length = min(remaining, buffer.count) / alignment * alignment
                // SAFETY: `length` is at most the buffer's count.
                unsafe cursor.gather(into: buffer.start, count: length)
                let code = passShared { store(buffer, length, at: position) }
                if code != 0 { return code }
                position &+= UInt64(length)
                remaining -= length
            } else {
                let start = position & ~UInt64(alignment - 1)
                let skipped = Int(position - start)
                let length = min(remaining, alignment - skipped)
                let code = replace(&cursor, buffer, block: start, skipped: skipped, length: length)
                if code != 0 { return code }
                position &+= UInt64(length)
                remaining -= length
            }
        }
        return 0
    }

    private func store(_ buffer: borrowing AlignedBuffer, _ length: Int, at offset: UInt64) -> Int32 {
        var done = 0
        while done < length {
            // SAFETY: `length` is at most the buffer's count, and `done` less.
            let amount = unsafe csl_pwrite(
                image.descriptor.number, buffer.start + done, length - done, Int64(offset) + Int64(done))
            if amount == -Int(EINTR) { continue }
            if amount < 0 { return Int32(clamping: 0 - amount) }
            guard amount > 0 else { return EIO }
            done += amount
        }
        return 0
    }

    /// Reads a block, changes a part of it and writes it back.
    private func replace(
        _ cursor: inout SegmentCursor, _ buffer: borrowing AlignedBuffer, block: UInt64, skipped: Int, length: Int
    ) -> Int32 {
        let alignment = image.offsetAlignment
        // A gate is there whenever a block is larger than a sector, which is when this is reached.
        guard let gate = image.gate else { return EINVAL }
        let isZeros = cursor.isAtEnd
        // Zeros that the buffer held are overwritten here, and put back for the next block.
        defer {
            if isZeros { unsafe memset(buffer.start, 0, alignment) }
        }
        return gate.exclusive {
            var filled = 0
            while filled < alignment {
                // SAFETY: a block is at most the buffer's count.
                let amount = unsafe csl_pread(
                    image.descriptor.number, buffer.start + filled, alignment - filled, Int64(block) + Int64(filled))
                if amount == -Int(EINTR) { continue }
                if amount < 0 { return Int32(clamping: 0 - amount) }
                if amount == 0 { break }
                filled += amount
                // A file ends inside its last block, where direct I/O can't go on.
                if filled % Int(DiskImage.sectorSize) != 0 || block + UInt64(filled) >= image.contentSize { break }
            }
            // SAFETY: all offsets are inside the block.
            unsafe memset(buffer.start + filled, 0, alignment - filled)
            if isZeros {
                unsafe memset(buffer.start + skipped, 0, length)
            } else {
                unsafe cursor.gather(into: buffer.start + skipped, count: length)
            }
            let code = store(buffer, alignment, at: block)
            guard code == 0, !image.isBlockDevice, block + UInt64(alignment) > image.capacity else { return code }
            // The disk ends inside this block, and so must the file.
            return 0 &- csl_ftruncate(image.descriptor.number, Int64(image.capacity))
        }
    }

    // MARK: Ranges

    private func discard(_ range: DiskRange) -> Int32 {
        guard image.options.passesDiscards else { return 0 }
        let code: Int32 = passShared {
            guard image.isBlockDevice else { return punch(range) }
            // Only whole sectors of the device can be discarded; a discard is a hint, so that the rest may stay.
            let sector = UInt64(max(image.offsetAlignment, Int(csl_block_sector_size(image.descriptor.number))))
            let start = (range.offset + sector - 1) / sector * sector
            let end = (range.offset + range.count) / sector * sector
            return end > start ? 0 &- csl_block_discard(image.descriptor.number, start, end - start) : 0
        }
        return code == EOPNOTSUPP || code == ENOTTY ? 0 : code
    }

    private func punch(_ range: DiskRange) -> Int32 {
        let mode = Int32(CSL_FALLOC_PUNCH_HOLE.rawValue | CSL_FALLOC_KEEP_SIZE.rawValue)
        return allocate(mode, range)
    }

    private func allocate(_ mode: Int32, _ range: DiskRange) -> Int32 {
        while true {
            let code = csl_fallocate(image.descriptor.number, mode, Int64(range.offset), Int64(range.count))
            if code != -EINTR { return 0 &- code }
        }
    }

    /// Zeroes a range by what the host can: by giving the space back if that is allowed, by marking it, by writing.
    private mutating func writeZeroes(_ range: DiskRange) -> Int32 {
        if range.mayUnmap, image.options.passesDiscards, image.canPunchHoles.load(ordering: .relaxed) {
            let code = passShared { punch(range) }
            if !isUnsupported(code) { return code }
            if code == EOPNOTSUPP { image.canPunchHoles.store(false, ordering: .relaxed) }
        }
        if image.canZeroRanges.load(ordering: .relaxed) {
            let code: Int32 = passShared {
                if image.isBlockDevice {
                    return 0 &- csl_block_zero_out(image.descriptor.number, range.offset, range.count)
                }
                return allocate(Int32(CSL_FALLOC_ZERO_RANGE.rawValue | CSL_FALLOC_KEEP_SIZE.rawValue), range)
            }
            if !isUnsupported(code) { return code }
            if code == EOPNOTSUPP { image.canZeroRanges.store(false, ordering: .relaxed) }
        }
        var nothing = SegmentCursor([])
        return writeBounced(&nothing, at: range.offset, count: Int(range.count))
    }

    /// The host cannot do it this way: never, or (EINVAL) not at this alignment.
    private func isUnsupported(_ code: Int32) -> Bool {
        code == EOPNOTSUPP || code == ENOTTY || code == EINVAL || code == ENOSYS
    }
}
