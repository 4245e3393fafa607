/// Little-endian fields of bytes that came from outside; a field that is not wholly there is nil.
@usableFromInline
package struct ByteFields {
    @usableFromInline package let bytes: [UInt8]

    package init(bytes: [UInt8]) {
        self.bytes = bytes
    }

    @inlinable
    package func load<T: FixedWidthInteger & UnsignedInteger>(_ type: T.Type, at offset: Int) -> T? {
        let size = T.bitWidth / 8
        guard offset >= 0, size <= bytes.count, offset <= bytes.count - size else { return nil }
        var value: T = 0
        for index in (offset..<(offset + size)).reversed() {
            value = (T.bitWidth > 8 ? value << 8 : 0) | T(truncatingIfNeeded: bytes[index])
        }
        return value
    }

    /// Whether these bytes stand at an offset.
    package func has(_ magic: [UInt8], at offset: Int) -> Bool {
        guard offset >= 0, magic.count <= bytes.count, offset <= bytes.count - magic.count else { return false }
        return bytes[offset..<(offset + magic.count)].elementsEqual(magic)
    }
}
