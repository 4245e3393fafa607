internal import StratoMemory

/// Reading and writing what a chain's segments hold, wherever the driver has cut it into pieces (virtio 1.2, 2.7.4.1:
/// a device makes no assumption about the framing).
extension Span where Element == GuestBuffer {
    /// A little-endian value `offset` bytes into the segments of `range`; nil if it is not wholly inside.
    func load<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type, at offset: Int, in range: Range<Int>) -> T? {
        guard range.lowerBound >= 0, range.upperBound <= count, !range.isEmpty, offset >= 0 else { return nil }
        if let value = self[range.lowerBound].load(type, at: offset) { return value }
        return loadScattered(type, at: offset, in: range)
    }

    /// Two little-endian values side by side, from the start of the segments of `range` on; nil if they are not wholly there.
    @inline(__always)
    func loadPair(in range: Range<Int>) -> (UInt64, UInt64)? {
        if range.lowerBound < Swift.min(range.upperBound, count), let pair = self[range.lowerBound].loadPair(0) { return pair }
        guard let first = load(UInt64.self, at: 0, in: range), let second = load(UInt64.self, at: 8, in: range) else {
            return nil
        }
        return (first, second)
    }

    private func loadScattered<T: FixedWidthInteger & BitwiseCopyable>(
        _ type: T.Type, at offset: Int, in range: Range<Int>
    ) -> T? {
        var value: T = 0
        var filled = 0
        var skipped = 0
        for index in range {
            let segment = self[index]
            while filled < MemoryLayout<T>.size, offset &+ filled &- skipped < segment.count {
                guard let byte = segment.load(UInt8.self, at: offset &+ filled &- skipped) else { return nil }
                value |= T(truncatingIfNeeded: byte) &<< T(truncatingIfNeeded: filled &* 8)
                filled &+= 1
            }
            if filled == MemoryLayout<T>.size { return value }
            skipped &+= segment.count
        }
        return nil
    }

    /// Calls `body` with the parts of the segments that hold the bytes from `offset` on, `length` of them or as many as there
    /// are.
    @inline(__always)
    func forEachPart(from offset: Int, length: Int, in range: Range<Int>, _ body: (GuestBuffer) -> Void) {
        var skip = offset
        var left = length
        var index = Swift.max(0, range.lowerBound)
        let end = Swift.min(range.upperBound, count)
        while left > 0, index < end {
            let segment = self[index]
            index &+= 1
            // The usual, in fewer steps: all of it, and something.
            if skip == 0, segment.count <= left, segment.count > 0 {
                body(segment)
                left &-= segment.count
                continue
            }
            if skip >= segment.count {
                skip &-= segment.count
                continue
            }
            let amount = Swift.min(segment.count &- skip, left)
            if let part = segment.slice(from: skip, count: amount) { body(part) }
            left &-= amount
            skip = 0
        }
    }

    /// Writes the first `length` of some bytes from the start of the segments of `range` on; returns how many had room.
    @discardableResult
    func store(_ bytes: [UInt8], count length: Int, in range: Range<Int>) -> Int {
        let source = bytes.span
        let wanted = Swift.min(length, source.count)
        var done = 0
        for index in range where index >= 0 && index < count && done < wanted {
            done &+= self[index].copy(source.extracting(done..<wanted), to: 0)
        }
        return done
    }
}
