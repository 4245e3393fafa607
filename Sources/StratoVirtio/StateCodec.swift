/// Puts a device's state into bytes: little-endian, without padding.
struct StateWriter {
    private(set) var bytes: [UInt8] = []

    mutating func append<T: FixedWidthInteger & UnsignedInteger>(_ value: T) {
        var rest = value
        for _ in 0..<(T.bitWidth / 8) {
            bytes.append(UInt8(truncatingIfNeeded: rest))
            rest >>= 8
        }
    }

    mutating func append(_ value: Bool) {
        bytes.append(value ? 1 : 0)
    }

    mutating func append(_ value: [UInt8]) {
        bytes.append(contentsOf: value)
    }
}

/// Takes a device's state out of bytes that may be anything.
struct StateReader {
    private let source: [UInt8]
    private var position = 0

    init(_ source: [UInt8]) {
        self.source = source
    }

    mutating func integer<T: FixedWidthInteger & UnsignedInteger>(_ type: T.Type) throws(VirtioError) -> T {
        let size = T.bitWidth / 8
        guard source.count - position >= size else { throw VirtioError("virtio state: it ends early") }
        var value: T = 0
        for index in 0..<size {
            value |= T(source[position + index]) &<< T(truncatingIfNeeded: index * 8)
        }
        position += size
        return value
    }

    mutating func flag() throws(VirtioError) -> Bool {
        switch try integer(UInt8.self) {
        case 0: return false
        case 1: return true
        case let value: throw VirtioError("virtio state: \(value) is not a flag")
        }
    }

    mutating func bytes(_ count: Int) throws(VirtioError) -> [UInt8] {
        guard count >= 0, source.count - position >= count else { throw VirtioError("virtio state: it ends early") }
        defer { position += count }
        return Array(source[position..<(position + count)])
    }

    func end() throws(VirtioError) {
        guard position == source.count else {
            throw VirtioError("virtio state: \(source.count - position) bytes too many")
        }
    }
}
