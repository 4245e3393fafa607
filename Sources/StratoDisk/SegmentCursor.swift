internal import Glibc
internal import StratoMemory

/// A place in a sequence of guest buffers, from which bytes are taken or to which they are put.
///
/// It has a copy of the requests' segments, so that going on within one changes nothing of a request, which can be begun anew.
struct SegmentCursor: ~Copyable {
    private var segments: FixedVector<GuestBuffer>
    private var first = 0

    /// Bytes from here to the end.
    private(set) var remaining = 0

    /// - Parameter capacity: of the first use; it grows with what is needed.
    init(capacity: Int) {
        segments = FixedVector(capacity: capacity)
    }

    /// Begins anew, with segments to be appended.
    ///
    /// - Parameters:
    ///   - segmentCount: how many.
    ///   - length: the bytes of all of them.
    mutating func reset(segmentCount: Int, length: Int) {
        first = 0
        remaining = length
        if segmentCount > segments.capacity { segments = FixedVector(capacity: segmentCount) }
        segments.removeAll()
    }

    /// Adds segments at the end.
    mutating func append(_ more: Span<GuestBuffer>) {
        // Few at a time: quicker one by one than by a call.
        for index in more.indices { segments.append(more[index]) }
    }

    var isAtEnd: Bool { remaining == 0 }

    /// Whether every segment that is left begins and ends at these alignments, powers of two.
    func isAligned(memory: Int, length: Int) -> Bool {
        for index in first..<segments.count {
            // SAFETY: the address is looked at, not used.
            let address = unsafe UInt(bitPattern: segments[index].hostAddress)
            guard address & UInt(memory - 1) == 0, segments[index].count & (length - 1) == 0 else { return false }
        }
        return true
    }

    /// Whether all bytes left are zeros. The guest may change them at any time, and the answer with them.
    var isAllZero: Bool {
        for index in first..<segments.count {
            let segment = segments[index]
            guard segment.count > 0 else { continue }
            guard segment.load(UInt8.self, at: 0) == 0 else { return false }
            // SAFETY: both ranges are inside the segment. All bytes are zero if the first is and each equals the next.
            let start = unsafe segment.hostAddress
            guard unsafe memcmp(start, start + 1, segment.count - 1) == 0 else { return false }
        }
        return true
    }

    /// Shows what is left as an array of `iovec`, of at most `limit` entries.
    @unsafe
    func withVectors(limit: Int, _ body: (UnsafeRawPointer, Int32) -> Int) -> Int {
        guard first < segments.count else { return 0 }
        // SAFETY: a GuestBuffer is laid out as an iovec: address, then length; `first` is inside.
        return unsafe body(UnsafeRawPointer(segments.address + first), Int32(min(limit, segments.count - first)))
    }

    /// Goes on by as many bytes, or to the end.
    mutating func advance(by count: Int) {
        guard count < remaining else { return finish() }
        var left = count
        remaining -= left
        while left > 0, first < segments.count {
            let length = segments[first].count
            if length <= left {
                left -= length
                first += 1
            } else if let rest = segments[first].slice(from: left, count: length - left) {
                segments[first] = rest
                left = 0
            }
        }
        while first < segments.count, segments[first].count == 0 { first += 1 }
    }

    private mutating func finish() {
        first = segments.count
        remaining = 0
    }

    /// Puts zeros into all that is left.
    mutating func zeroRest() {
        for index in first..<segments.count { segments[index].fill(0) }
        finish()
    }

    /// Puts bytes into the segments, up to their end; returns how many.
    @unsafe
    mutating func scatter(from source: UnsafeRawPointer, count: Int) -> Int {
        var done = 0
        while done < count, remaining > 0 {
            let amount = min(segments[first].count, count - done)
            // SAFETY: `amount` is within the segment and within what the caller vouches for.
            unsafe segments[first].hostAddress.copyMemory(from: source + done, byteCount: amount)
            done += amount
            advance(by: amount)
        }
        return done
    }

    /// Takes bytes out of the segments, up to their end.
    @unsafe
    mutating func gather(into destination: UnsafeMutableRawPointer, count: Int) {
        var done = 0
        while done < count, remaining > 0 {
            let amount = min(segments[first].count, count - done)
            // SAFETY: as in `scatter`.
            unsafe (destination + done).copyMemory(from: segments[first].hostAddress, byteCount: amount)
            done += amount
            advance(by: amount)
        }
    }
}
