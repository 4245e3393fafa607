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

    /// Segments that a cursor has room for at first: enough for most requests of a Linux guest.
    private static let cursorCapacity = 64

    private let image: DiskImage
    private var bounce: AlignedBuffer?
    private var spareCursor: SegmentCursor?

    init(_ image: DiskImage) {
        self.image = image
    }

    /// Carries the requests of a run out and notes their results. If they fail together, each is tried by itself, so that
    /// those alone fail that have a reason to.
    @inline(__always)
    mutating func execute(run head: Int32, of requests: DiskRequestTable) {
        if requests.with(head, { $0.next < 0 && transferAtOnce($0) }) { return }
        executeInSteps(head, requests)
    }

    @inline(never)
    private mutating func executeInSteps(_ head: Int32, _ requests: DiskRequestTable) {
        let code = executeTogether(head, requests)
        // Which is what the results of a new run are.
        guard code != 0 else { return }
        guard requests.with(head, { $0.next }) >= 0 else { return requests.with(head) { $0.result = code } }
        var index = head
        while index >= 0 {
            let next = requests.with(index) { request in
                defer { request.next = -1 }
                request.runSegmentCount = request.segmentCount
                request.runLength = request.length
                return request.next
            }
            let code = executeTogether(index, requests)
            index = requests.with(index) { request in
                request.next = next
                request.result = code
                return next
            }
        }
    }

    private mutating func executeTogether(_ head: Int32, _ requests: DiskRequestTable) -> Int32 {
        switch requests.with(head, { $0.operation }) {
        case .read, .write: return transfer(head, requests)
        case .flush: return flush()
        case .discard: return forEachRange(head, requests) { executor, range in executor.discard(range) }
        case .writeZeroes:
            let code = forEachRange(head, requests) { executor, range in executor.writeZeroes(range) }
            return code == 0 && requests.with(head, { $0.isWriteThrough }) ? flush() : code
        }
    }

    private mutating func transfer(_ head: Int32, _ requests: DiskRequestTable) -> Int32 {
        var cursor = spareCursor.take() ?? SegmentCursor(capacity: DiskExecutor.cursorCapacity)
        requests.with(head) { cursor.reset(segmentCount: $0.runSegmentCount, length: $0.runLength) }
        var index = head
        while index >= 0 {
            index = requests.with(index) { request in
                cursor.append(request.segments)
                return request.next
            }
        }
        let code = requests.with(head) { request in transfer(&cursor, for: request) }
        spareCursor = consume cursor
        return code
    }

    /// Tries the common case: one request to read or write, whole, by one system call. If that was not all of it, it is begun
    /// anew.
    @inline(__always)
    private func transferAtOnce(_ request: borrowing DiskRequest) -> Bool {
        guard request.operation == .read || request.operation == .write, request.segmentCount <= DiskRun.segmentLimit,
            isInside(request.offset, UInt64(request.length)), isAligned(request.offset),
            image.takesDirectly(request.segments), let vectors = unsafe request.vectors
        else { return false }
        let count = Int32(truncatingIfNeeded: request.segmentCount)
        let offset = Int64(request.offset)
        if request.operation == .read {
            // SAFETY: the vectors are guest memory that the device keeps alive until the request is completed.
            return unsafe csl_preadv(image.descriptor.number, vectors, count, offset) == request.length
        }
        guard !image.options.isReadOnly, image.gate == nil, image.options.zeroDetection == .off, !request.isWriteThrough else {
            return false
        }
        // SAFETY: as above.
        return unsafe csl_pwritev(image.descriptor.number, vectors, count, offset) == request.length
    }

    private mutating func transfer(_ cursor: inout SegmentCursor, for request: borrowing DiskRequest) -> Int32 {
        guard isInside(request.offset, UInt64(clamping: cursor.remaining)) else {
            return request.operation == .write && image.options.isReadOnly ? EROFS : EINVAL
        }
        guard request.operation == .write else { return read(&cursor, at: request.offset) }
        guard !image.options.isReadOnly else { return EROFS }
        let code = write(&cursor, at: request.offset)
        return code == 0 && request.isWriteThrough ? flush() : code
    }

    private func flush() -> Int32 {
        while true {
            let code = csl_fdatasync(image.descriptor.number)
            if code != -EINTR { return image.flushResult(0 &- code) }
        }
    }

    // MARK: Bounds

    private func isInside(_ offset: UInt64, _ count: UInt64) -> Bool { image.isInside(offset, count) }

    private mutating func forEachRange(
        _ index: Int32, _ requests: DiskRequestTable, _ body: (inout DiskExecutor, DiskRange) -> Int32
    ) -> Int32 {
        guard !image.options.isReadOnly else { return EROFS }
        return requests.with(index) { request in
            let ranges = request.ranges
            for position in ranges.indices where !isInside(ranges[position].offset, ranges[position].count) { return EINVAL }
            for position in ranges.indices where ranges[position].count > 0 {
                let code = body(&self, ranges[position])
                if code != 0 { return code }
            }
            return 0
        }
    }

    // MARK: Alignment

    private func isAligned(_ position: UInt64) -> Bool { image.isAligned(position) }

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
            let amount = unsafe cursor.withVectors(limit: DiskRun.segmentLimit) { vectors, count in
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
                unsafe cursor.withVectors(limit: DiskRun.segmentLimit) { vectors, count in
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
            // The block's other sectors were there once: zeros in their place would be made up.
            guard filled == alignment || block + UInt64(filled) >= image.contentSize else { return EIO }
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
        var nothing = SegmentCursor(capacity: 0)
        return writeBounced(&nothing, at: range.offset, count: Int(range.count))
    }

    /// The host cannot do it this way: never, or (EINVAL) not at this alignment.
    private func isUnsupported(_ code: Int32) -> Bool {
        code == EOPNOTSUPP || code == ENOTTY || code == EINVAL || code == ENOSYS
    }
}
