/// What libFuzzer made up, taken from the front piece by piece. At its end come zeros, so that no cut spoils what came before.
struct FuzzInput {
    private let bytes: [UInt8]
    private var position = 0

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    var isEmpty: Bool { position == bytes.count }

    mutating func byte() -> UInt8 {
        guard !isEmpty else { return 0 }
        defer { position += 1 }
        return bytes[position]
    }

    /// A little-endian number.
    mutating func number<T: FixedWidthInteger & UnsignedInteger>(_ type: T.Type = T.self) -> T {
        (0..<T.bitWidth / 8).reduce(0) { $0 | T(byte()) << T(8 * $1) }
    }

    /// As many bytes, or what is left.
    mutating func bytes(_ count: Int) -> [UInt8] {
        let end = position + min(count, bytes.count - position)
        defer { position = end }
        return Array(bytes[position..<end])
    }

    mutating func rest() -> [UInt8] { bytes(bytes.count) }
}
