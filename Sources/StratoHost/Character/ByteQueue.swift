/// Bytes that wait, first in, first out, up to a limit. Memory is taken only while there are any.
struct ByteQueue: Sendable {
    private var storage: [UInt8] = []
    private var head = 0
    private(set) var count = 0
    let capacity: Int

    /// - Parameter capacity: in bytes, at least 1.
    init(capacity: Int) {
        self.capacity = capacity
    }

    var isEmpty: Bool { count == 0 }

    /// Adds as many bytes as there is room for; returns how many.
    mutating func append(_ bytes: Span<UInt8>) -> Int {
        let amount = min(bytes.count, capacity - count)
        guard amount > 0 else { return 0 }
        if storage.isEmpty {
            // SAFETY: bytes have no invalid pattern, and none is read before it is written. Pages that no byte was put on
            // stay out of memory.
            storage = unsafe [UInt8](unsafeUninitializedCapacity: capacity) { $1 = capacity }
        }
        var tail = (head + count) % capacity
        for index in 0..<amount {
            storage[tail] = bytes[index]
            tail = tail + 1 == capacity ? 0 : tail + 1
        }
        count += amount
        return amount
    }

    /// Shows the first bytes, as many as lie side by side, and forgets as many as `body` says it has used.
    ///
    /// - Returns: what `body` answered, where less than 1 forgets nothing; 0 for an empty queue.
    mutating func consume(limit: Int = .max, _ body: (Span<UInt8>) -> Int) -> Int {
        let amount = min(count, capacity - head, limit)
        guard amount > 0 else { return 0 }
        let used = min(body(storage.span.extracting(head..<head + amount)), amount)
        guard used > 0 else { return used }
        count -= used
        head = (head + used) % capacity
        if count == 0 { removeAll() }
        return used
    }

    mutating func removeAll() {
        storage = []
        head = 0
        count = 0
    }
}
