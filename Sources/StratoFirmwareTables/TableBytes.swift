/// Bytes of a table as they are put together: little-endian integers and padded text, one after the other.
@usableFromInline
package struct TableBytes: Sendable, Equatable {
    /// What was put together so far.
    @usableFromInline package internal(set) var bytes: [UInt8] = []

    package init() {}

    package init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    package var count: Int { bytes.count }

    /// Adds an integer, its lowest byte first.
    @inlinable
    package mutating func append<T: FixedWidthInteger & UnsignedInteger>(_ value: T) {
        bytes.append(littleEndian: value)
    }

    package mutating func append(_ more: [UInt8]) {
        bytes += more
    }

    /// Adds `count` zero bytes.
    package mutating func append(zeros count: Int) {
        bytes += [UInt8](repeating: 0, count: max(0, count))
    }

    /// Adds text as ASCII in a field of `width` bytes: what is longer is cut, what is shorter gets `filler` behind it.
    package mutating func append(text: String, width: Int, filler: UInt8 = UInt8(ascii: " ")) {
        let field = text.utf8.prefix(max(0, width))
        bytes += field
        bytes += [UInt8](repeating: filler, count: max(0, width - field.count))
    }

    /// Makes all bytes of `range` add up to zero modulo 256 by setting the one at `offset`, which lies in the range.
    package mutating func setChecksum(at offset: Int, over range: Range<Int>) {
        assert(range.contains(offset) && range.upperBound <= bytes.count, "a checksum outside its table")
        guard range.contains(offset), range.lowerBound >= 0, range.upperBound <= bytes.count else { return }
        bytes[offset] = 0
        bytes[offset] = 0 &- TableBytes.sum(bytes[range])
    }

    /// The sum of all bytes modulo 256: zero for a table whose checksum is right.
    package static func sum(_ bytes: some Sequence<UInt8>) -> UInt8 {
        bytes.reduce(0, &+)
    }
}

extension [UInt8] {
    /// Adds an integer, its lowest byte first.
    @inlinable
    mutating func append<T: FixedWidthInteger & UnsignedInteger>(littleEndian value: T) {
        var rest = value
        for _ in 0..<(T.bitWidth / 8) {
            append(UInt8(truncatingIfNeeded: rest))
            rest = T.bitWidth > 8 ? rest >> 8 : 0
        }
    }
}
