/// Bytes that a client has yet to read, first in, first out, up to a limit.
struct OutputQueue {
    private var storage: [UInt8] = []
    private var head = 0
    private let limit: Int
    private var isClosed = false

    /// Something was left out because there was no room for it. From then on the client would see half the truth: whatever
    /// is added is dropped.
    private(set) var hasOverflowed = false

    init(limit: Int) {
        self.limit = limit
    }

    var count: Int { storage.count - head }

    var isEmpty: Bool { count == 0 }

    /// Forgets all there is and all that is added from now on: nobody will read it.
    mutating func close() {
        isClosed = true
        storage = []
        head = 0
    }

    /// Adds a message, whole or not at all.
    mutating func append(_ bytes: [UInt8]) {
        guard !isClosed else { return }
        guard !hasOverflowed, bytes.count <= limit - count else {
            hasOverflowed = true
            return
        }
        if head >= storage.count - head { dropRead() }
        storage.append(contentsOf: bytes)
    }

    /// Gives all bytes to `body` for as long as it takes some.
    ///
    /// - Parameter body: answers how many it took, or nil if it can take none now.
    /// - Throws: what `body` throws; the bytes stay.
    mutating func drain<Failure: Error>(_ body: (Span<UInt8>) throws(Failure) -> Int?) throws(Failure) {
        while count > 0 {
            guard let taken = try body(storage.span.extracting(head..<storage.count)), taken > 0 else { break }
            head += min(taken, count)
        }
        if isEmpty {
            storage = []
            head = 0
        }
    }

    /// Moves what is left to the front. It is at most half, so that each byte is moved once on average.
    private mutating func dropRead() {
        storage.removeFirst(head)
        head = 0
    }
}
