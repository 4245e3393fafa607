/// Cuts a stream of bytes into JSON documents, however the stream was cut into pieces on its way.
///
/// It knows strings and brackets only; whether a document is one is for the parser to say. What can be seen to be none at
/// this level is reported once, and the stream is taken up again
///
/// - after the end of a line, or a byte that stands in no JSON text (0xFE, 0xFF, a control character other than tab):
///   inside a string or outside of it, such a byte ends whatever came before, so that a client can always make a clean start;
/// - or at an opening brace, where brackets do not fit together or something else stands outside of a document;
/// - or after the document, where it is only too long or too deep.
///
/// What is kept is bounded by the limits and by what one `append` adds.
package struct JSONFramer {
    package enum Frame: Sendable {
        /// A text from its first byte to its last, without white space around it.
        case document([UInt8])
        case invalid(JSONError)
    }

    private enum Mode {
        /// Outside of documents.
        case between
        /// Inside of an array or object.
        case container
        /// Inside of a string, in a container or outside.
        case string
        /// After the backslash in a string.
        case escape
        /// Inside of a number or literal that is a document of its own.
        case token
        /// Looking for a place to begin anew.
        case hunting
    }

    private let limits: JSONLimits
    private var buffer: [UInt8] = []
    /// The next byte to be looked at.
    private var cursor = 0
    /// The first byte of the document; of no meaning between documents.
    private var start = 0
    private var mode = Mode.between
    /// The closing brackets that are awaited, innermost last; at most `maximumDepth`.
    private var awaited: [UInt8] = []
    /// Brackets open beyond those.
    private var excessDepth = 0
    /// The document has been reported as too large, and its rest is dropped.
    private var isDiscarding = false
    /// The token begins as numbers do; its first byte may be dropped before its last has come.
    private var isNumber = false

    package init(limits: JSONLimits = JSONLimits()) {
        self.limits = limits
    }

    /// Bytes that have been added and are not yet part of a frame.
    package var bufferedCount: Int { buffer.count - (isInDocument && !isDiscarding ? start : cursor) }

    private var isInDocument: Bool { mode != .between && mode != .hunting }

    /// Adds what came next in the stream.
    package mutating func append(_ bytes: some Collection<UInt8>) {
        let finished = buffer.count - bufferedCount
        if finished == buffer.count {
            buffer.removeAll(keepingCapacity: finished <= JSONFramer.keptCapacity)
            start = 0
            cursor = 0
        } else if finished >= JSONFramer.keptCapacity {
            buffer.removeFirst(finished)
            start -= min(start, finished)
            cursor -= finished
        }
        buffer.append(contentsOf: bytes)
    }

    /// Below this, room is kept for the bytes to come.
    private static let keptCapacity = 4096

    /// The next document or error, nil until more bytes come.
    package mutating func next() -> Frame? {
        while cursor < buffer.count {
            if let frame = step(buffer[cursor]) { return frame }
        }
        return nil
    }

    /// Looks at one byte, and moves past it unless it is to be looked at again.
    private mutating func step(_ byte: UInt8) -> Frame? {
        if isInDocument, !isDiscarding, cursor - start >= limits.maximumLength {
            isDiscarding = true
            return .invalid(JSONError("the document is longer than \(limits.maximumLength) bytes", at: limits.maximumLength))
        }
        if JSONFramer.isReset(byte) { return reset() }
        switch mode {
        case .between: return begin(with: byte)
        case .container: return stepInContainer(byte)
        case .string: return stepInString(byte)
        case .escape: return stepInEscape(byte)
        case .token: return stepInToken(byte)
        case .hunting:
            if byte == ASCII.openBrace || JSONFramer.isLineEnd(byte) {
                mode = .between
            } else {
                cursor += 1
            }
            return nil
        }
    }

    /// True for a byte that can stand nowhere in a document.
    private static func isReset(_ byte: UInt8) -> Bool {
        byte >= 0xFE || (byte < ASCII.space && byte != ASCII.tab && !isLineEnd(byte))
    }

    private static func isLineEnd(_ byte: UInt8) -> Bool { byte == ASCII.lineFeed || byte == ASCII.carriageReturn }

    private mutating func reset() -> Frame? {
        let isSilent = mode == .hunting
        let offset = isInDocument ? cursor - start : 0
        cursor += 1
        return fail("a byte that stands in no JSON text", at: offset, then: .between, silently: isSilent)
    }

    /// Gives the document up.
    private mutating func fail(_ reason: String, at offset: Int, then mode: Mode, silently: Bool = false) -> Frame? {
        let isReported = isDiscarding || silently
        end()
        self.mode = mode
        return isReported ? nil : .invalid(JSONError(reason, at: offset))
    }

    private mutating func end() {
        mode = .between
        awaited.removeAll(keepingCapacity: true)
        excessDepth = 0
        isDiscarding = false
    }

    /// The bytes from the start to the cursor are a document.
    private mutating func finish() -> Frame? {
        let isDropped = isDiscarding
        end()
        return isDropped ? nil : .document(Array(buffer[start..<cursor]))
    }

    private mutating func begin(with byte: UInt8) -> Frame? {
        guard !ASCII.isWhitespace(byte) else {
            cursor += 1
            return nil
        }
        start = cursor
        switch byte {
        case ASCII.openBrace, ASCII.openBracket:
            mode = .container
            return nil
        case ASCII.quote:
            mode = .string
            cursor += 1
            return nil
        case ASCII.closeBrace, ASCII.closeBracket, ASCII.comma, ASCII.colon:
            cursor += 1
            return fail("'\(Unicode.Scalar(byte))' outside of a document", at: 0, then: .hunting)
        default:
            mode = .token
            isNumber = byte == ASCII.minus || ASCII.isDigit(byte)
            cursor += 1
            return nil
        }
    }

    private mutating func stepInContainer(_ byte: UInt8) -> Frame? {
        let offset = cursor - start
        cursor += 1
        switch byte {
        case ASCII.quote:
            mode = .string
            return nil
        case ASCII.openBrace: return open(awaiting: ASCII.closeBrace, at: offset)
        case ASCII.openBracket: return open(awaiting: ASCII.closeBracket, at: offset)
        case ASCII.closeBrace, ASCII.closeBracket:
            if excessDepth > 0 {
                excessDepth -= 1
                return nil
            }
            guard awaited.popLast() == byte else {
                return fail("'\(Unicode.Scalar(byte))' closes what was not opened", at: offset, then: .hunting)
            }
            return awaited.isEmpty ? finish() : nil
        default: return nil
        }
    }

    private mutating func open(awaiting bracket: UInt8, at offset: Int) -> Frame? {
        if awaited.count < limits.maximumDepth {
            awaited.append(bracket)
            return nil
        }
        excessDepth &+= 1
        guard !isDiscarding else { return nil }
        isDiscarding = true
        return .invalid(JSONError("more than \(limits.maximumDepth) arrays and objects inside each other", at: offset))
    }

    private mutating func stepInString(_ byte: UInt8) -> Frame? {
        let offset = cursor - start
        if JSONFramer.isLineEnd(byte) { return fail("the line ends inside a string", at: offset, then: .hunting) }
        cursor += 1
        if byte == ASCII.backslash {
            mode = .escape
        } else if byte == ASCII.quote {
            if awaited.isEmpty { return finish() }
            mode = .container
        }
        return nil
    }

    private mutating func stepInEscape(_ byte: UInt8) -> Frame? {
        mode = .string
        if JSONFramer.isLineEnd(byte) { return nil }
        cursor += 1
        return nil
    }

    private mutating func stepInToken(_ byte: UInt8) -> Frame? {
        switch byte {
        case ASCII.openBrace, ASCII.openBracket, ASCII.closeBrace, ASCII.closeBracket, ASCII.comma, ASCII.colon, ASCII.quote:
            break
        case let byte where ASCII.isWhitespace(byte):
            break
        default:
            cursor += 1
            return nil
        }
        let token = buffer[start..<cursor]
        // Of a token that is too long there may be its end alone, which tells nothing.
        let isLiteral =
            !isDiscarding
            && (token.elementsEqual("true".utf8) || token.elementsEqual("false".utf8) || token.elementsEqual("null".utf8))
        return isNumber || isLiteral ? finish() : fail("expected a value", at: 0, then: .hunting)
    }
}
