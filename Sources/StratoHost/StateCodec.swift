/// Why a device's saved state was refused.
package enum StateError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The bytes end before the state does.
    case truncated
    /// More bytes than the state has.
    case trailingBytes(Int)
    /// A version that this program does not know.
    case unknownVersion(UInt32)
    /// A field holds what no device can.
    case invalid(String)

    package var description: String {
        switch self {
        case .truncated: "the saved state is cut short"
        case .trailingBytes(let count): "the saved state is followed by \(count) bytes that do not belong to it"
        case .unknownVersion(let version): "the saved state has version \(version), which is not known here"
        case .invalid(let field): "the saved state holds an impossible \(field)"
        }
    }
}

/// Puts a state into bytes: little-endian, one field after another, a version first.
package struct StateEncoder {
    package private(set) var bytes: [UInt8] = []

    package init(version: UInt32) {
        put(version)
    }

    package mutating func put<T: FixedWidthInteger>(_ value: T) {
        var rest = value
        for _ in 0..<(T.bitWidth / 8) {
            bytes.append(UInt8(truncatingIfNeeded: rest))
            rest >>= 8
        }
    }

    package mutating func put(_ value: Bool) {
        bytes.append(value ? 1 : 0)
    }

    /// Bytes of a number that is read back with them.
    package mutating func put(_ value: [UInt8]) {
        put(UInt32(truncatingIfNeeded: value.count))
        bytes.append(contentsOf: value)
    }
}

/// Takes a state out of bytes that nobody vouches for.
package struct StateDecoder {
    /// The version that the bytes began with.
    package let version: UInt32

    private let bytes: [UInt8]
    private var position = 0

    /// - Parameters:
    ///   - bytes: all of a state, from its first byte to its last.
    ///   - versions: those that the caller can read.
    /// - Throws: `StateError.truncated`, `StateError.unknownVersion`.
    package init(_ bytes: [UInt8], versions: ClosedRange<UInt32>) throws(StateError) {
        guard bytes.count >= 4 else { throw .truncated }
        let version = UInt32(bytes[0]) | UInt32(bytes[1]) << 8 | UInt32(bytes[2]) << 16 | UInt32(bytes[3]) << 24
        guard versions.contains(version) else { throw .unknownVersion(version) }
        self.version = version
        self.bytes = bytes
        position = 4
    }

    package mutating func take<T: FixedWidthInteger & UnsignedInteger>(_ type: T.Type = T.self) throws(StateError) -> T {
        let width = T.bitWidth / 8
        guard bytes.count - position >= width else { throw .truncated }
        var value: T = 0
        for index in 0..<width { value |= T(truncatingIfNeeded: bytes[position + index]) << (8 * index) }
        position += width
        return value
    }

    package mutating func take(_ field: String) throws(StateError) -> Bool {
        switch try take(UInt8.self) {
        case 0: return false
        case 1: return true
        default: throw .invalid(field)
        }
    }

    /// Bytes with their number before them.
    ///
    /// - Parameters:
    ///   - field: stands in the error.
    ///   - limit: how many there may be.
    /// - Returns: the bytes without their number.
    /// - Throws: `StateError.truncated`, and `StateError.invalid` beyond the limit.
    package mutating func take(_ field: String, atMost limit: Int) throws(StateError) -> [UInt8] {
        let count = Int(try take(UInt32.self))
        guard count <= limit else { throw .invalid(field) }
        guard bytes.count - position >= count else { throw .truncated }
        defer { position += count }
        return Array(bytes[position..<position + count])
    }

    /// Makes sure that nothing is left.
    package func finish() throws(StateError) {
        guard position == bytes.count else { throw .trailingBytes(bytes.count - position) }
    }
}
