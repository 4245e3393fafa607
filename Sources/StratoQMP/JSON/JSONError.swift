/// Why bytes are no JSON document, or none within the limits.
package struct JSONError: Error, Sendable, CustomStringConvertible {
    /// What is wrong, as the second half of a sentence.
    package let reason: String

    /// The byte of the document at which it is wrong, counted from 0.
    package let offset: Int

    package init(_ reason: String, at offset: Int) {
        self.reason = reason
        self.offset = offset
    }

    package var description: String { "\(reason) at byte \(offset)" }
}

/// How large a document may be, which bounds the memory and the stack that outside data can claim.
package struct JSONLimits: Sendable {
    /// Bytes of a document from its first to its last, both included.
    package var maximumLength: Int

    /// Arrays and objects inside each other.
    package var maximumDepth: Int

    /// 256 KiB and 256 levels unless given: the largest real request is a few KiB and six levels.
    package init(maximumLength: Int = 256 << 10, maximumDepth: Int = 256) {
        self.maximumLength = maximumLength
        self.maximumDepth = maximumDepth
    }
}
