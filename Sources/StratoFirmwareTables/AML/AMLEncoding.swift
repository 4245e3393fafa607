/// The byte encodings that AML terms are made of (ACPI 6.5, 20.2).
enum AMLEncoding {
    /// ACPI 6.5, table 20.1: opcodes of one byte.
    enum Opcode {
        static let zero: UInt8 = 0x00
        static let one: UInt8 = 0x01
        static let name: UInt8 = 0x08
        static let bytePrefix: UInt8 = 0x0A
        static let wordPrefix: UInt8 = 0x0B
        static let doubleWordPrefix: UInt8 = 0x0C
        static let stringPrefix: UInt8 = 0x0D
        static let quadWordPrefix: UInt8 = 0x0E
        static let scope: UInt8 = 0x10
        static let buffer: UInt8 = 0x11
        static let package: UInt8 = 0x12
        static let method: UInt8 = 0x14
        static let dualNamePrefix: UInt8 = 0x2E
        static let multiNamePrefix: UInt8 = 0x2F
        static let extended: UInt8 = 0x5B
        static let local0: UInt8 = 0x60
        static let argument0: UInt8 = 0x68
        static let store: UInt8 = 0x70
        static let add: UInt8 = 0x72
        static let subtract: UInt8 = 0x74
        static let shiftLeft: UInt8 = 0x79
        static let shiftRight: UInt8 = 0x7A
        static let and: UInt8 = 0x7B
        static let or: UInt8 = 0x7D
        static let notify: UInt8 = 0x86
        static let createDoubleWordField: UInt8 = 0x8A
        static let logicalAnd: UInt8 = 0x90
        static let logicalOr: UInt8 = 0x91
        static let logicalNot: UInt8 = 0x92
        static let logicalEqual: UInt8 = 0x93
        static let logicalGreater: UInt8 = 0x94
        static let logicalLess: UInt8 = 0x95
        static let `if`: UInt8 = 0xA0
        static let `else`: UInt8 = 0xA1
        static let `while`: UInt8 = 0xA2
        static let `return`: UInt8 = 0xA4
        static let ones: UInt8 = 0xFF
    }

    /// ACPI 6.5, table 20.1: what follows `Opcode.extended`.
    enum ExtendedOpcode {
        static let operationRegion: UInt8 = 0x80
        static let field: UInt8 = 0x81
        static let device: UInt8 = 0x82
    }

    /// Puts a package length before its content: the length counts its own bytes too (20.2.4).
    static func packaged(_ content: [UInt8]) -> [UInt8] {
        let limits = [0x3F, 0xFFF, 0xF_FFFF]
        let followers = limits.indices.first { content.count + 1 + $0 <= limits[$0] } ?? 3
        return packageLength(content.count + 1 + followers, followers: followers) + content
    }

    /// A length that does not count itself, as field elements have it (20.2.5.2).
    static func fieldWidth(_ bits: Int) -> [UInt8] {
        let followers = bits <= 0x3F ? 0 : bits <= 0xFFF ? 1 : bits <= 0xF_FFFF ? 2 : 3
        return packageLength(bits, followers: followers)
    }

    private static func packageLength(_ length: Int, followers: Int) -> [UInt8] {
        guard followers > 0 else { return [UInt8(truncatingIfNeeded: length & 0x3F)] }
        var bytes = [UInt8(truncatingIfNeeded: followers << 6 | length & 0x0F)]
        var rest = length >> 4
        for _ in 0..<followers {
            bytes.append(UInt8(truncatingIfNeeded: rest))
            rest >>= 8
        }
        return bytes
    }

    /// An integer in the shortest form that holds it (20.2.3).
    static func integer(_ value: UInt64) -> [UInt8] {
        var bytes: [UInt8] = []
        switch value {
        case 0: bytes = [Opcode.zero]
        case 1: bytes = [Opcode.one]
        case ...0xFF: bytes = [Opcode.bytePrefix, UInt8(value)]
        case ...0xFFFF:
            bytes = [Opcode.wordPrefix]
            bytes.append(littleEndian: UInt16(value))
        case ...0xFFFF_FFFF:
            bytes = [Opcode.doubleWordPrefix]
            bytes.append(littleEndian: UInt32(value))
        default:
            bytes = [Opcode.quadWordPrefix]
            bytes.append(littleEndian: value)
        }
        return bytes
    }

    /// Text up to a zero byte (20.2.3).
    static func string(_ text: String) -> [UInt8] {
        assert(text.utf8.allSatisfy { (0x01...0x7F).contains($0) }, "AML strings are ASCII")
        return [Opcode.stringPrefix] + Array(text.utf8) + [0]
    }

    /// A path such as `\_SB.PCI0` or `^PWRB` (20.2.2). Segments shorter than four characters are filled with underscores.
    static func path(_ path: String) -> [UInt8] {
        let isPrefix: (UInt8) -> Bool = { $0 == UInt8(ascii: "\\") || $0 == UInt8(ascii: "^") }
        let prefix = Array(path.utf8.prefix(while: isPrefix))
        let segments = path.utf8.dropFirst(prefix.count).split(separator: UInt8(ascii: "."))
        let encoded = segments.flatMap { nameSegment(Array($0)) }
        switch segments.count {
        case 0: return prefix + [0]
        case 1: return prefix + encoded
        case 2: return prefix + [Opcode.dualNamePrefix] + encoded
        default:
            assert(segments.count <= 255, "a path has at most 255 segments")
            return prefix + [Opcode.multiNamePrefix, UInt8(truncatingIfNeeded: segments.count)] + encoded
        }
    }

    private static func nameSegment(_ characters: [UInt8]) -> [UInt8] {
        let isLead: (UInt8) -> Bool = {
            (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) || $0 == UInt8(ascii: "_")
        }
        let isDigit: (UInt8) -> Bool = { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        assert(
            (1...4).contains(characters.count) && isLead(characters[0])
                && characters.allSatisfy { isLead($0) || isDigit($0) },
            "not a name of ACPI 6.5, 20.2.2: \(String(decoding: characters, as: UTF8.self))")
        let padding = [UInt8](repeating: UInt8(ascii: "_"), count: max(0, 4 - characters.count))
        return characters.prefix(4) + padding
    }

    /// A UUID of 8-4-4-4-12 hexadecimal digits, its first three groups in little-endian order (ACPI 6.5, 19.6.142).
    static func universalIdentifier(_ text: String) -> [UInt8] {
        let digits = text.utf8.compactMap { Character(Unicode.Scalar($0)).hexDigitValue }
        assert(digits.count == 32 && text.utf8.count == 36, "not a UUID: \(text)")
        let bytes = stride(from: 0, to: digits.count - 1, by: 2).map {
            UInt8(truncatingIfNeeded: digits[$0] << 4 | digits[$0 + 1])
        }
        let fields: [ArraySlice<UInt8>] = [bytes.prefix(4), bytes.dropFirst(4).prefix(2), bytes.dropFirst(6).prefix(2)]
        return fields.flatMap { $0.reversed() } + bytes.dropFirst(8)
    }

    /// Three letters and four hexadecimal digits in four bytes (ACPI 6.5, 19.3.4 and 6.1.5).
    static func eisaIdentifier(_ text: String) -> UInt32 {
        let characters = Array(text.utf8)
        assert(characters.count == 7, "an EISA id has seven characters: \(text)")
        var value: UInt32 = 0
        for letter in characters.prefix(3) {
            value = value << 5 | UInt32(letter &- 0x40) & 0x1F
        }
        for digit in characters.dropFirst(3) {
            value = value << 4 | UInt32(Character(Unicode.Scalar(digit)).hexDigitValue ?? 0)
        }
        return value.byteSwapped
    }
}
