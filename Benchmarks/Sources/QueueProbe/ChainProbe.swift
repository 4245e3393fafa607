import StratoMemory
import StratoVirtio

/// Takes chains, reads their headers, writes one byte and gives them back: what every device does for a request, from
/// another module than the queue's, as a device in a module of its own would.
final class ChainProbe {
    private var queue: SplitQueue
    private(set) var checksum: UInt64 = 0

    init(_ guest: borrowing GuestQueue) {
        queue = SplitQueue(guest.layout, memory: guest.memory, features: [.version1])
    }

    /// Serves what is available; returns whether the driver wants an interrupt.
    func serve() throws(QueueError) -> Bool {
        try ChainProbe.serve(&queue, &checksum)
    }

    private static func serve(_ queue: inout SplitQueue, _ checksum: inout UInt64) throws(QueueError) -> Bool {
        var sum: UInt64 = 0
        while let chain = try queue.pop() {
            queue.push(chain.head, length: handle(chain, queue.segments, &sum))
        }
        checksum &+= sum
        return queue.needsNotification()
    }

    /// Returns how many bytes were written.
    private static func handle(_ chain: DescriptorChain, _ segments: Span<GuestBuffer>, _ sum: inout UInt64) -> UInt32 {
        guard chain.readableCount > 0, chain.writableCount > 0,
            let type = segments[0].load(UInt64.self, at: 0), let sector = segments[0].load(UInt64.self, at: 8)
        else { return 0 }
        sum &+= type &+ sector
        return segments[chain.segmentCount - 1].store(UInt8(0), at: 0) ? 1 : 0
    }
}
