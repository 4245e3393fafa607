package import StratoMemory

/// A chain of descriptors that was taken from a queue. Its segments are the queue's `segments` until the next `pop`.
@frozen
package struct DescriptorChain: Sendable {
    /// The index of the first descriptor, by which the chain is given back.
    package let head: UInt16

    /// How many segments the device reads; they come first.
    package let readableCount: Int

    /// How many segments the device writes; they follow.
    package let writableCount: Int

    /// The bytes that the device reads.
    package let readableLength: Int

    /// The bytes that the device writes; with the readable ones less than 2³².
    package let writableLength: Int

    @inlinable
    package init(head: UInt16, readableCount: Int, writableCount: Int, readableLength: Int, writableLength: Int) {
        self.head = head
        self.readableCount = readableCount
        self.writableCount = writableCount
        self.readableLength = readableLength
        self.writableLength = writableLength
    }

    /// All segments.
    @inlinable
    package var segmentCount: Int { readableCount &+ writableCount }
}

/// The device's side of a split virtqueue (virtio 1.2, 2.7).
///
/// The rings were looked up once and don't move. Everything that the driver writes is read once per use, so that a change
/// afterwards changes nothing; every loop ends after as many steps as the queue is long. An error means that the driver
/// broke the rules: the device stops touching the queue and asks for a reset. Not thread-safe: one owner at a time.
///
/// No call allocates.
package struct SplitQueue: ~Copyable {
    /// Bits of a descriptor's `flags` (2.7.5).
    @usableFromInline
    enum DescriptorFlag {
        @usableFromInline static let next: UInt16 = 1
        @usableFromInline static let write: UInt16 = 2
        @usableFromInline static let indirect: UInt16 = 4
    }

    /// `VIRTQ_AVAIL_F_NO_INTERRUPT` (2.7.6).
    @usableFromInline static let availableNoInterrupt: UInt16 = 1

    /// `VIRTQ_USED_F_NO_NOTIFY` (2.7.8).
    @usableFromInline static let usedNoNotify: UInt16 = 1

    // Offsets within both rings: flags, idx, ring (2.7.6, 2.7.8).
    @usableFromInline static let flagsOffset = 0
    @usableFromInline static let indexOffset = 2
    @usableFromInline static let ringOffset = 4

    @usableFromInline let memory: GuestMemory
    @usableFromInline let descriptors: GuestBuffer
    @usableFromInline let available: GuestBuffer
    @usableFromInline let used: GuestBuffer
    @usableFromInline let queueSize: UInt16
    @usableFromInline let mask: UInt16
    @usableFromInline let hasIndirect: Bool
    @usableFromInline let hasEventIndex: Bool

    @usableFromInline var nextAvailable: UInt16
    @usableFromInline var knownAvailable: UInt16
    @usableFromInline var nextUsed: UInt16
    @usableFromInline var signalledUsed: UInt16
    @usableFromInline var inFlight: UInt16 = 0
    @usableFromInline var scratch: [GuestBuffer]

    /// - Parameters:
    ///   - layout: the queue, found in `memory`.
    ///   - memory: where descriptors point to.
    ///   - features: those negotiated.
    ///   - position: where to go on; the start for a queue that is new.
    package init(
        _ layout: QueueLayout, memory: GuestMemory, features: VirtioFeatures, position: QueuePosition = QueuePosition()
    ) {
        self.memory = memory
        descriptors = layout.descriptors
        available = layout.available
        used = layout.used
        queueSize = layout.size
        mask = layout.size &- 1
        hasIndirect = features.contains(.indirectDescriptors)
        hasEventIndex = features.contains(.eventIndex)
        nextAvailable = position.nextAvailable
        knownAvailable = position.nextAvailable
        nextUsed = position.nextUsed
        signalledUsed = position.nextUsed
        scratch = [GuestBuffer](repeating: layout.descriptors, count: layout.maximumChainLength)
    }

    /// Entries.
    @inlinable
    package var size: Int { Int(queueSize) }

    /// Chains that were taken and not given back yet.
    @inlinable
    package var inFlightCount: Int { Int(inFlight) }

    /// How far the queue has come. Says all there is to say only with nothing in flight.
    package var position: QueuePosition { QueuePosition(nextAvailable: nextAvailable, nextUsed: nextUsed) }

    /// The segments of the chain last taken: the readable ones, then the writable ones. What lies behind them is left over
    /// from earlier chains.
    @inlinable
    package var segments: Span<GuestBuffer> {
        @_lifetime(borrow self)
        get { scratch.span }
    }

    // MARK: Taking

    /// Takes the next chain that the driver made available; nil if there is none. Segments of no bytes are left out.
    ///
    /// - Throws: `QueueError`; the queue must not be used any more.
    /// - Complexity: O(descriptors of the chain).
    @inlinable
    package mutating func pop() throws(QueueError) -> DescriptorChain? {
        if nextAvailable == knownAvailable {
            guard let index = available.loadAcquire16(at: SplitQueue.indexOffset) else { throw .ringNotReadable }
            let waiting = index &- nextAvailable
            if waiting == 0 { return nil }
            guard waiting <= queueSize else { throw .availableIndexJumped(by: waiting) }
            knownAvailable = index
        }
        guard inFlight < queueSize else { throw .tooManyInFlight }
        let entry = SplitQueue.ringOffset &+ Int(nextAvailable & mask) &* 2
        guard let head = available.load(UInt16.self, at: entry) else { throw .ringNotReadable }
        let chain = try SplitQueue.walk(
            from: head, in: descriptors, count: queueSize, hasIndirect: hasIndirect, memory: memory, into: &scratch)
        nextAvailable &+= 1
        inFlight &+= 1
        return chain
    }

    @inlinable
    static func walk(
        from head: UInt16, in descriptors: GuestBuffer, count: UInt16, hasIndirect: Bool, memory: borrowing GuestMemory,
        into scratch: inout [GuestBuffer]
    ) throws(QueueError) -> DescriptorChain {
        var segments = scratch.mutableSpan
        let limit = segments.count
        var table = descriptors
        var entries = Int(count)
        var isIndirect = false
        var index = head
        var steps = 0
        var filled = 0
        var readableCount = 0
        var readableLength = 0
        var length = 0
        var isWriting = false
        while true {
            guard Int(index) < entries else { throw .indexOutOfTable(index) }
            guard steps < limit else { throw .chainTooLong }
            steps &+= 1
            // The descriptor is le64 addr, le32 len, le16 flags, le16 next (2.7.5): two loads, so that each field is read once.
            let offset = Int(index) &* 16
            guard let address = table.load(UInt64.self, at: offset), let rest = table.load(UInt64.self, at: offset &+ 8) else {
                throw .ringNotReadable
            }
            let size = UInt32(truncatingIfNeeded: rest)
            let flags = UInt16(truncatingIfNeeded: rest &>> 32)
            if flags & DescriptorFlag.indirect != 0 {
                guard hasIndirect else { throw .indirectNotNegotiated }
                guard !isIndirect else { throw .nestedIndirect }
                guard flags & DescriptorFlag.next == 0 else { throw .indirectWithNext }
                guard size != 0, size % 16 == 0 else { throw .indirectTableLength(size) }
                guard size / 16 <= UInt32(truncatingIfNeeded: limit) else { throw .chainTooLong }
                guard let found = memory.buffer(at: GuestAddress(address), count: Int(size)) else {
                    throw .notMemory(address: address, length: size)
                }
                table = found
                entries = Int(size / 16)
                isIndirect = true
                index = 0
                // The descriptor that refers to the table holds no data and does not count.
                steps &-= 1
                continue
            }
            if size != 0 {
                guard let buffer = memory.buffer(at: GuestAddress(address), count: Int(size)) else {
                    throw .notMemory(address: address, length: size)
                }
                if flags & DescriptorFlag.write != 0 {
                    if !isWriting {
                        isWriting = true
                        readableCount = filled
                        readableLength = length
                    }
                } else if isWriting {
                    throw .readableAfterWritable
                }
                segments[filled] = buffer
                filled &+= 1
                // At most 32768 times less than 2³²: no overflow of 64 bits.
                length &+= Int(size)
            }
            guard flags & DescriptorFlag.next != 0 else { break }
            index = UInt16(truncatingIfNeeded: rest &>> 48)
        }
        guard length <= Int(UInt32.max) else { throw .chainTooLarge }
        if !isWriting {
            readableCount = filled
            readableLength = length
        }
        return DescriptorChain(
            head: head, readableCount: readableCount, writableCount: filled &- readableCount,
            readableLength: readableLength, writableLength: length &- readableLength)
    }

    // MARK: Giving back

    /// Gives a chain back.
    ///
    /// - Parameters:
    ///   - head: the chain's.
    ///   - length: how many bytes the device wrote, counted from the first writable one on (virtio 1.2, 2.7.8.2).
    @inlinable
    package mutating func push(_ head: UInt16, length: UInt32) {
        let entry = SplitQueue.ringOffset &+ Int(nextUsed & mask) &* 8
        // le32 id, le32 len (2.7.8).
        used.store(UInt64(head) | UInt64(length) &<< 32, at: entry)
        nextUsed &+= 1
        if inFlight > 0 { inFlight &-= 1 }
        used.storeRelease16(nextUsed, at: SplitQueue.indexOffset)
    }

    /// Whether the driver wants to be told of what was given back since this was last asked (2.7.7).
    @inlinable
    package mutating func needsNotification() -> Bool {
        guard nextUsed != signalledUsed else { return false }
        // The used index must be visible before the driver's wish is read, or both sides miss each other.
        guestMemoryFence()
        let previous = signalledUsed
        signalledUsed = nextUsed
        if hasEventIndex {
            guard let event = available.load(UInt16.self, at: SplitQueue.ringOffset &+ Int(queueSize) &* 2) else { return true }
            return SplitQueue.isPassed(event, from: previous, to: nextUsed)
        }
        guard let flags = available.load(UInt16.self, at: SplitQueue.flagsOffset) else { return true }
        return flags & SplitQueue.availableNoInterrupt == 0
    }

    /// Whether an index that went from `previous` to `current` went past `event` (2.7.10).
    @inlinable
    static func isPassed(_ event: UInt16, from previous: UInt16, to current: UInt16) -> Bool {
        current &- event &- 1 < current &- previous
    }

    // MARK: Being notified

    /// Asks the driver for no notifications while the queue is being emptied anyway. It may still send some.
    @inlinable
    package mutating func disableNotifications() {
        // With an event index, one that is left behind has the same effect (2.7.10.2).
        if !hasEventIndex { used.store(SplitQueue.usedNoNotify, at: SplitQueue.flagsOffset) }
    }

    /// Asks the driver for a notification of the next chain.
    ///
    /// - Returns: true if there is one already, for which no notification may come: take it now.
    @inlinable
    package mutating func enableNotifications() -> Bool {
        if hasEventIndex {
            used.store(nextAvailable, at: SplitQueue.ringOffset &+ Int(queueSize) &* 8)
        } else {
            used.store(UInt16(0), at: SplitQueue.flagsOffset)
        }
        // The wish must be visible before the index is looked at again.
        guestMemoryFence()
        return available.loadAcquire16(at: SplitQueue.indexOffset) != nextAvailable
    }
}
