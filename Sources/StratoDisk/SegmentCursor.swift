internal import Glibc
internal import StratoMemory

/// A place in a sequence of guest buffers, from which bytes are taken or to which they are put.
///
/// It takes a request's array over and gives it back, so that going on within a segment copies nothing.
struct SegmentCursor: ~Copyable {
    private var segments: [GuestBuffer]
    private var first = 0

    /// Bytes from here to the end.
    private(set) var remaining: Int

    /// - Parameter segments: less than 2⁶³ bytes in all.
    init(_ segments: [GuestBuffer]) {
        self.segments = segments
        var total = 0
        for index in segments.indices { total &+= segments[index].count }
        remaining = total
    }

    /// The array, for its room; its contents are used up.
    consuming func release() -> [GuestBuffer] { segments }

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
        // SAFETY: a GuestBuffer is laid out as an iovec: address, then length; `first` is inside as bytes remain.
        unsafe segments.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress, first < segments.count else { return 0 }
            let start = unsafe base + first * MemoryLayout<GuestBuffer>.stride
            return unsafe body(start, Int32(min(limit, segments.count - first)))
        }
    }

    /// Goes on by as many bytes, or to the end.
    mutating func advance(by count: Int) {
        guard count < remaining else {
            first = segments.count
            remaining = 0
            return
        }
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

    /// Puts zeros into all that is left.
    mutating func zeroRest() {
        for index in first..<segments.count { segments[index].fill(0) }
        first = segments.count
        remaining = 0
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
