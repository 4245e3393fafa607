package import StratoMemory
package import StratoVirtio

/// A split queue whose inlinable code is compiled where the fuzzer watches it.
package struct WatchedQueue: ~Copyable {
    private var queue: SplitQueue

    package init(_ queue: consuming SplitQueue) {
        self.queue = queue
    }

    package var inFlightCount: Int { queue.inFlightCount }

    package var position: QueuePosition { queue.position }

    package mutating func pop() throws(QueueError) -> DescriptorChain? { try queue.pop() }

    /// The segments of the chain last taken.
    package var segments: Span<GuestBuffer> {
        @_lifetime(borrow self)
        get { queue.segments }
    }

    package mutating func push(_ head: UInt16, length: UInt32) { queue.push(head, length: length) }

    package mutating func needsNotification() -> Bool { queue.needsNotification() }

    package mutating func disableNotifications() { queue.disableNotifications() }

    package mutating func enableNotifications() -> Bool { queue.enableNotifications() }
}
