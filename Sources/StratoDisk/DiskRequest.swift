public import StratoMemory

/// What a request does.
@usableFromInline
package enum DiskOperation: Sendable {
    /// Fills the segments.
    case read
    /// Stores the segments.
    case write
    /// Makes all that was completed before durable.
    case flush
    /// Declares the ranges' contents unneeded.
    case discard
    /// Makes the ranges read as zeros.
    case writeZeroes
}

/// Bytes of a disk.
@usableFromInline
package struct DiskRange: Sendable, Hashable {
    /// From the disk's start, in bytes.
    package var offset: UInt64

    /// In bytes.
    package var count: UInt64

    /// The host's space may be given back.
    package var mayUnmap: Bool

    package init(offset: UInt64, count: UInt64, mayUnmap: Bool = false) {
        self.offset = offset
        self.count = count
        self.mayUnmap = mayUnmap
    }
}

/// One request to a disk: a place that is made once and used again and again.
///
/// It has one owner at a time: whoever takes it from the queue, until it is submitted; the engine, until it is
/// completed; then again the first.
@usableFromInline
package final class DiskRequest: @unchecked Sendable {
    /// What a request is about.
    @usableFromInline
    package struct Fields: Sendable {
        @usableFromInline package var operation = DiskOperation.flush

        /// Where reads and writes begin, in bytes.
        @usableFromInline package var offset: UInt64 = 0

        /// What is read into or written from, in order. Its contents are used up by the engine.
        @usableFromInline package var segments: [GuestBuffer] = []

        /// What is discarded or zeroed.
        @usableFromInline package var ranges: [DiskRange] = []

        /// A write is durable before it is completed.
        @usableFromInline package var isWriteThrough = false

        /// Once completed: 0, or the `errno` that it failed with.
        @usableFromInline package internal(set) var result: Int32 = 0

        /// Moves the segments out, so that whoever changes them has the only copy.
        mutating func takeSegments() -> [GuestBuffer] {
            var taken: [GuestBuffer] = []
            swap(&taken, &segments)
            return taken
        }
    }

    // SAFETY: handed from owner to owner through the locks of a disk queue, and touched by its owner alone. That is what keeps
    // accesses apart; the runtime's check of it would cost more than the rest of a request.
    @exclusivity(unchecked)
    @usableFromInline
    var fields = Fields()

    package init() {}

    /// Looks at the request or changes it. The body must not come back to the same request.
    @inlinable
    package func with<Result>(_ body: (inout Fields) -> Result) -> Result { unsafe body(&fields) }

    /// What the completed request ended with.
    @inlinable
    package var result: Int32 { unsafe fields.result }
}
