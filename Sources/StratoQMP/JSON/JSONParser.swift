/// Turns one complete document into a value: exactly the grammar of RFC 8259 in UTF-8, nothing beside it.
///
/// A number becomes the integer that it spells where 64 bits hold it, else the nearest double; one beyond the range of
/// doubles is refused. Half a surrogate pair is refused as well, since no Unicode text contains it.
package struct JSONParser {
    /// What is done with a name that an object has already; RFC 8259, section 4, leaves it open.
    package enum DuplicateNames: Sendable {
        /// The last value counts, in the place of the first.
        case lastCounts
        /// The document is refused: whoever reads it first and whoever carries it out might take different ones.
        case refused
    }

    private let bytes: [UInt8]
    private let limits: JSONLimits
    private let duplicateNames: DuplicateNames
    private var position = 0
    private var depth = 0
    private var text: [UInt8] = []

    private init(_ bytes: [UInt8], limits: JSONLimits, duplicateNames: DuplicateNames) {
        self.bytes = bytes
        self.limits = limits
        self.duplicateNames = duplicateNames
    }

    /// The value that the bytes spell, with white space around it allowed.
    ///
    /// - Throws: `JSONError` at the first byte that cannot continue a document.
    package static func parse(
        _ bytes: [UInt8], limits: JSONLimits = JSONLimits(), duplicateNames: DuplicateNames = .lastCounts
    ) throws(JSONError) -> JSONValue {
        guard bytes.count <= limits.maximumLength else {
            throw JSONError("the document is longer than \(limits.maximumLength) bytes", at: limits.maximumLength)
        }
        var parser = JSONParser(bytes, limits: limits, duplicateNames: duplicateNames)
        parser.skipWhitespace()
        let value = try parser.parseValue()
        parser.skipWhitespace()
        guard parser.position == bytes.count else { throw parser.error("unexpected text after the value") }
        return value
    }

    // MARK: Bytes

    private var current: UInt8? { position < bytes.count ? bytes[position] : nil }

    private func error(_ reason: String) -> JSONError {
        JSONError(position < bytes.count ? reason : "the document ends early", at: position)
    }

    private mutating func skipWhitespace() {
        while let byte = current, ASCII.isWhitespace(byte) { position += 1 }
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard current == byte else { return false }
        position += 1
        return true
    }

    // MARK: Values

    private mutating func parseValue() throws(JSONError) -> JSONValue {
        guard let byte = current else { throw error("expected a value") }
        switch byte {
        case ASCII.openBrace: return try parseObject()
        case ASCII.openBracket: return try parseArray()
        case ASCII.quote: return .string(try parseString())
        case ASCII.minus, ASCII.zero...ASCII.nine: return try parseNumber()
        case UInt8(ascii: "t"): return try parseLiteral("true", .bool(true))
        case UInt8(ascii: "f"): return try parseLiteral("false", .bool(false))
        case UInt8(ascii: "n"): return try parseLiteral("null", .null)
        default: throw error("expected a value")
        }
    }

    private mutating func parseLiteral(_ literal: String, _ value: JSONValue) throws(JSONError) -> JSONValue {
        for byte in literal.utf8 {
            guard take(byte) else { throw error("expected \(literal)") }
        }
        return value
    }

    private mutating func descend() throws(JSONError) {
        guard depth < limits.maximumDepth else {
            throw JSONError("more than \(limits.maximumDepth) arrays and objects inside each other", at: position)
        }
        depth += 1
        position += 1
        skipWhitespace()
    }

    private mutating func parseArray() throws(JSONError) -> JSONValue {
        try descend()
        defer { depth -= 1 }
        var elements: [JSONValue] = []
        if take(ASCII.closeBracket) { return .array(elements) }
        while true {
            elements.append(try parseValue())
            skipWhitespace()
            if take(ASCII.closeBracket) { return .array(elements) }
            guard take(ASCII.comma) else { throw error("expected ',' or ']'") }
            skipWhitespace()
        }
    }

    private mutating func parseObject() throws(JSONError) -> JSONValue {
        try descend()
        defer { depth -= 1 }
        var object = JSONObject()
        if take(ASCII.closeBrace) { return .object(object) }
        var names = JSONNameIndex()
        while true {
            guard current == ASCII.quote else { throw error("expected a name in double quotes") }
            let start = position
            let name = try parseString()
            let earlier = names.insert(name, of: object)
            if earlier != nil, duplicateNames == .refused {
                throw JSONError("the name \"\(name)\" stands twice in one object", at: start)
            }
            skipWhitespace()
            guard take(ASCII.colon) else { throw error("expected ':'") }
            skipWhitespace()
            let value = try parseValue()
            if let earlier {
                object.replaceValue(at: earlier, by: value)
            } else {
                object.append(newName: name, value)
            }
            skipWhitespace()
            if take(ASCII.closeBrace) { return .object(object) }
            guard take(ASCII.comma) else { throw error("expected ',' or '}'") }
            skipWhitespace()
        }
    }

    // MARK: Numbers

    private mutating func parseNumber() throws(JSONError) -> JSONValue {
        let start = position
        let isNegative = take(ASCII.minus)
        var magnitude: UInt64? = 0
        if !take(ASCII.zero) {
            guard let first = current, ASCII.isDigit(first) else { throw error("expected a digit") }
            while let byte = current, ASCII.isDigit(byte) {
                magnitude = magnitude.flatMap { JSONParser.appendingDigit(byte, to: $0) }
                position += 1
            }
        }
        var isIntegral = true
        if take(ASCII.point) {
            isIntegral = false
            try skipDigits()
        }
        if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
            isIntegral = false
            if !take(ASCII.plus) { _ = take(ASCII.minus) }
            try skipDigits()
        }
        if isIntegral, let magnitude {
            if !isNegative { return JSONValue(magnitude) }
            if magnitude <= UInt64(Int64.max) { return .integer(0 &- Int64(magnitude)) }
            if magnitude == Int64.min.magnitude { return .integer(.min) }
        }
        guard let number = Double(String(decoding: bytes[start..<position], as: UTF8.self)), number.isFinite else {
            throw JSONError("the number is beyond the range of a double", at: start)
        }
        return .double(number)
    }

    private static func appendingDigit(_ digit: UInt8, to magnitude: UInt64) -> UInt64? {
        let scaled = magnitude.multipliedReportingOverflow(by: 10)
        let sum = scaled.partialValue.addingReportingOverflow(UInt64(digit &- ASCII.zero))
        return scaled.overflow || sum.overflow ? nil : sum.partialValue
    }

    private mutating func skipDigits() throws(JSONError) {
        guard let first = current, ASCII.isDigit(first) else { throw error("expected a digit") }
        while let byte = current, ASCII.isDigit(byte) { position += 1 }
    }

    // MARK: Strings

    private mutating func parseString() throws(JSONError) -> String {
        let start = position
        position += 1
        text.removeAll(keepingCapacity: true)
        var runStart = position
        while let byte = current {
            switch byte {
            case ASCII.quote:
                text.append(contentsOf: bytes[runStart..<position])
                guard let string = String(validating: text, as: UTF8.self) else {
                    throw JSONError("the string is not valid UTF-8", at: start)
                }
                position += 1
                return string
            case ASCII.backslash:
                text.append(contentsOf: bytes[runStart..<position])
                position += 1
                try parseEscape()
                runStart = position
            case 0..<ASCII.space:
                throw error("a control character in a string must be escaped")
            default:
                position += 1
            }
        }
        throw error("expected '\"'")
    }

    private mutating func parseEscape() throws(JSONError) {
        let start = position - 1
        let escaped: UInt8
        switch current {
        case ASCII.quote: escaped = ASCII.quote
        case ASCII.backslash: escaped = ASCII.backslash
        case ASCII.slash: escaped = ASCII.slash
        case UInt8(ascii: "b"): escaped = 0x08
        case UInt8(ascii: "f"): escaped = 0x0C
        case UInt8(ascii: "n"): escaped = ASCII.lineFeed
        case UInt8(ascii: "r"): escaped = ASCII.carriageReturn
        case UInt8(ascii: "t"): escaped = ASCII.tab
        case UInt8(ascii: "u"):
            position += 1
            let scalar = try parseEscapedScalar(from: start)
            text.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
            return
        default: throw error("unknown escape sequence")
        }
        position += 1
        text.append(escaped)
    }

    /// Four digits after `\u`, and the second half of the pair where they are the first (RFC 8259, section 7).
    private mutating func parseEscapedScalar(from start: Int) throws(JSONError) -> Unicode.Scalar {
        let first = try parseFourDigits()
        if let scalar = Unicode.Scalar(first) { return scalar }
        if (0xD800...0xDBFF).contains(first), take(ASCII.backslash), take(UInt8(ascii: "u")) {
            let second = try parseFourDigits()
            if (0xDC00...0xDFFF).contains(second),
                let scalar = Unicode.Scalar(0x10000 &+ ((first & 0x3FF) << 10) &+ (second & 0x3FF))
            {
                return scalar
            }
        }
        throw JSONError("half a surrogate pair", at: start)
    }

    private mutating func parseFourDigits() throws(JSONError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = current, let digit = ASCII.hexadecimalValue(byte) else {
                throw error("expected four hexadecimal digits")
            }
            value = value << 4 | digit
            position += 1
        }
        return value
    }
}
