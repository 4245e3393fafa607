extension JSONValue {
    /// Appends the compact form: no white space, members in their order, nothing but ASCII, so that no terminal or log
    /// can be harmed by it. The same value always gives the same bytes.
    package func encode(into output: inout [UInt8]) {
        switch self {
        case .null: output.append(contentsOf: "null".utf8)
        case .bool(let value): output.append(contentsOf: (value ? "true" : "false").utf8)
        case .integer(let value): output.append(contentsOf: String(value).utf8)
        case .unsigned(let value): output.append(contentsOf: String(value).utf8)
        case .double(let value):
            // The description is the shortest text that reads back as the same value, and is JSON if it is finite.
            output.append(contentsOf: (value.isFinite ? value.description : "null").utf8)
        case .string(let value): JSONValue.encode(value, into: &output)
        case .array(let elements):
            output.append(ASCII.openBracket)
            for (index, element) in elements.enumerated() {
                if index > 0 { output.append(ASCII.comma) }
                element.encode(into: &output)
            }
            output.append(ASCII.closeBracket)
        case .object(let object):
            output.append(ASCII.openBrace)
            for (index, member) in object.members.enumerated() {
                if index > 0 { output.append(ASCII.comma) }
                JSONValue.encode(member.name, into: &output)
                output.append(ASCII.colon)
                member.value.encode(into: &output)
            }
            output.append(ASCII.closeBrace)
        }
    }

    /// The compact form as bytes.
    package var encoded: [UInt8] {
        var output: [UInt8] = []
        encode(into: &output)
        return output
    }

    private static func encode(_ string: String, into output: inout [UInt8]) {
        output.append(ASCII.quote)
        for scalar in string.unicodeScalars {
            switch scalar.value {
            case 0x22: output.append(contentsOf: [ASCII.backslash, ASCII.quote])
            case 0x5C: output.append(contentsOf: [ASCII.backslash, ASCII.backslash])
            case 0x08: output.append(contentsOf: [ASCII.backslash, UInt8(ascii: "b")])
            case 0x09: output.append(contentsOf: [ASCII.backslash, UInt8(ascii: "t")])
            case 0x0A: output.append(contentsOf: [ASCII.backslash, UInt8(ascii: "n")])
            case 0x0C: output.append(contentsOf: [ASCII.backslash, UInt8(ascii: "f")])
            case 0x0D: output.append(contentsOf: [ASCII.backslash, UInt8(ascii: "r")])
            case 0x20..<0x7F: output.append(UInt8(truncatingIfNeeded: scalar.value))
            case let value where value <= 0xFFFF: encodeEscaped(UInt16(truncatingIfNeeded: value), into: &output)
            case let value:
                let offset = value &- 0x10000
                encodeEscaped(0xD800 | UInt16(truncatingIfNeeded: offset >> 10), into: &output)
                encodeEscaped(0xDC00 | UInt16(truncatingIfNeeded: offset & 0x3FF), into: &output)
            }
        }
        output.append(ASCII.quote)
    }

    private static func encodeEscaped(_ unit: UInt16, into output: inout [UInt8]) {
        output.append(ASCII.backslash)
        output.append(UInt8(ascii: "u"))
        for shift in [12, 8, 4, 0] as [UInt16] {
            output.append(ASCII.hexadecimalDigit(UInt8(truncatingIfNeeded: unit >> shift)))
        }
    }
}
