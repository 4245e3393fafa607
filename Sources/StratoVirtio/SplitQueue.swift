public import StratoMemory

/// A chain of descriptors that was taken from a queue. Its segments are the queue's `segments` until the next `pop`.
@frozen @usableFromInline
package struct DescriptorChain: Sendable {
    // Small enough to be handed around in registers: no count is above 32768, no length 2³² or more.
    @usableFromInline let headIndex: UInt16
    @usableFromInline let readableSegments: UInt16
    @usableFromInline let writableSegments: UInt16
    @usableFromInline let readableBytes: UInt32
    @usableFromInline let writableBytes: UInt32

    @inlinable
    @inline(__always)
    init(
        checked head: UInt16, readableCount: Int, segmentCount: Int, readableLength: Int, length: Int
    ) throws(QueueError) {
        guard length <= Int(UInt32.max) else { throw .chainTooLarge }
        headIndex = head
        readableSegments = UInt16(truncatingIfNeeded: readableCount)
        writableSegments = UInt16(truncatingIfNeeded: segmentCount &- readableCount)
        readableBytes = UInt32(truncatingIfNeeded: readableLength)
        writableBytes = UInt32(truncatingIfNeeded: length &- readableLength)
    }

    /// The index of the first descriptor, by which the chain is given back.
    @inlinable
    package var head: UInt16 { headIndex }

    /// How many segments the device reads; they come first.
    @inlinable
    package var readableCount: Int { Int(readableSegments) }

    /// How many segments the device writes; they follow.
    @inlinable
    package var writableCount: Int { Int(writableSegments) }

    /// All segments.
    @inlinable
    package var segmentCount: Int { Int(readableSegments) &+ Int(writableSegments) }

    /// The bytes that the device reads.
    @inlinable
    package var readableLength: Int { Int(readableBytes) }

    /// The bytes that the device writes; with the readable ones less than 2³².
    @inlinable
    package var writableLength: Int { Int(writableBytes) }
}

/// The device's side of a split virtqueue (virtio 1.2, 2.7).
///
/// The rings were looked up once and don't move. Everything that the driver writes is read once per use, so that a change
/// afterwards changes nothing; every loop ends after as many steps as the queue is long. An error means that the driver
/// broke the rules: the device stops touching the queue and asks for a reset. Not thread-safe: one owner at a time.
///
/// No call allocates.
@usableFromInline
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
    @usableFromInline var scratch: FixedVector<GuestBuffer>

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
        scratch = FixedVector(repeating: layout.descriptors, count: layout.maximumChainLength)
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
            from: head, in: descriptors, hasIndirect: hasIndirect, memory: memory, into: &scratch)
        nextAvailable &+= 1
        inFlight &+= 1
        return chain
    }

    /// A descriptor, read once: le64 addr, le32 len, le16 flags, le16 next (2.7.5).
    @usableFromInline
    struct Descriptor {
        @usableFromInline let address: UInt64
        @usableFromInline let rest: UInt64

        /// - Parameters:
        ///   - index: its place.
        ///   - table: exactly as long as the descriptors that it holds.
        /// - Throws: `QueueError.indexOutOfTable`.
        @inlinable
        @inline(__always)
        init(at index: UInt16, in table: GuestBuffer) throws(QueueError) {
            guard let (address, rest) = table.loadPair(index) else { throw .indexOutOfTable(index) }
            self.address = address
            self.rest = rest
        }

        @inlinable var length: UInt32 { UInt32(truncatingIfNeeded: rest) }
        @inlinable var flags: UInt16 { UInt16(truncatingIfNeeded: rest &>> 32) }
        @inlinable var next: UInt16 { UInt16(truncatingIfNeeded: rest &>> 48) }
        @inlinable var isWritable: Bool { flags & DescriptorFlag.write != 0 }
        @inlinable var hasNext: Bool { flags & DescriptorFlag.next != 0 }
        /// What decides how it is dealt with: a part that is read (0) or written, an indirect table, or both of the latter.
        @inlinable var kind: UInt16 { flags & (DescriptorFlag.write | DescriptorFlag.indirect) }
        @inlinable var isIndirect: Bool { flags & DescriptorFlag.indirect != 0 }

        @inlinable
        @inline(__always)
        func buffer(in memory: borrowing GuestMemory) throws(QueueError) -> GuestBuffer {
            guard let buffer = memory.buffer(at: GuestAddress(address), count: Int(length)) else {
                throw .notMemory(address: address, length: length)
            }
            return buffer
        }
    }

    /// The table that an indirect descriptor refers to.
    @inline(never)
    @usableFromInline
    static func indirectTable(
        _ descriptor: Descriptor, hasIndirect: Bool, isNested: Bool, memory: borrowing GuestMemory, limit: Int
    ) throws(QueueError) -> GuestBuffer {
        guard hasIndirect else { throw .indirectNotNegotiated }
        guard !isNested else { throw .nestedIndirect }
        guard !descriptor.hasNext else { throw .indirectWithNext }
        guard descriptor.length != 0, descriptor.length % 16 == 0 else { throw .indirectTableLength(descriptor.length) }
        guard Int(descriptor.length) / 16 <= limit else { throw .chainTooLong }
        return try descriptor.buffer(in: memory)
    }

    /// Walks a chain as drivers make it: a table of the queue's or an indirect one, and in it readable descriptors, then
    /// writable ones. Whatever else there is is left to `walkAnything`, which begins anew.
    ///
    /// Every turn fills one more segment, so that the scratch's end also ends a loop.
    @inlinable
    @inline(__always)
    static func walk(
        from head: UInt16, in descriptors: GuestBuffer, hasIndirect: Bool, memory: borrowing GuestMemory,
        into scratch: inout FixedVector<GuestBuffer>
    ) throws(QueueError) -> DescriptorChain {
        var table = descriptors
        var descriptor = try Descriptor(at: head, in: table)
        if descriptor.isIndirect {
            table = try indirectTable(
                descriptor, hasIndirect: hasIndirect, isNested: false, memory: memory, limit: scratch.count)
            descriptor = try Descriptor(at: 0, in: table)
        }
        var filled = 0
        // At most 32768 times less than 2³²: no overflow of 64 bits.
        var length = 0
        while descriptor.kind == 0, descriptor.length != 0, filled < scratch.count {
            scratch[filled] = try descriptor.buffer(in: memory)
            filled &+= 1
            length &+= Int(descriptor.length)
            guard descriptor.hasNext else {
                return try DescriptorChain(
                    checked: head, readableCount: filled, segmentCount: filled, readableLength: length, length: length)
            }
            descriptor = try Descriptor(at: descriptor.next, in: table)
        }
        let readableCount = filled
        let readableLength = length
        while descriptor.kind == DescriptorFlag.write, descriptor.length != 0, filled < scratch.count {
            scratch[filled] = try descriptor.buffer(in: memory)
            filled &+= 1
            length &+= Int(descriptor.length)
            guard descriptor.hasNext else {
                return try DescriptorChain(
                    checked: head, readableCount: readableCount, segmentCount: filled, readableLength: readableLength,
                    length: length)
            }
            descriptor = try Descriptor(at: descriptor.next, in: table)
        }
        return try walkAnything(from: head, in: descriptors, hasIndirect: hasIndirect, memory: memory, into: &scratch)
    }

    /// Walks a chain of any form once: descriptors of no bytes, and all that is wrong.
    @inline(never)
    @usableFromInline
    static func walkAnything(
        from head: UInt16, in descriptors: GuestBuffer, hasIndirect: Bool, memory: borrowing GuestMemory,
        into scratch: inout FixedVector<GuestBuffer>
    ) throws(QueueError) -> DescriptorChain {
        var segments = scratch.mutableSpan
        var table = descriptors
        var isIndirect = false
        var emptyCount = 0
        var filled = 0
        // At most 32768 times less than 2³²: no overflow of 64 bits.
        var length = 0
        // Negative as long as nothing writable has come.
        var readableCount = -1
        var readableLength = 0
        var descriptor = try Descriptor(at: head, in: table)
        while true {
            if descriptor.isIndirect {
                table = try indirectTable(
                    descriptor, hasIndirect: hasIndirect, isNested: isIndirect, memory: memory, limit: segments.count)
                isIndirect = true
                descriptor = try Descriptor(at: 0, in: table)
                continue
            }
            if descriptor.isWritable {
                if readableCount < 0 {
                    readableCount = filled
                    readableLength = length
                }
            } else if readableCount >= 0, descriptor.length != 0 {
                throw .readableAfterWritable
            }
            if descriptor.length != 0 {
                guard filled < segments.count else { throw .chainTooLong }
                segments[filled] = try descriptor.buffer(in: memory)
                filled &+= 1
                length &+= Int(descriptor.length)
            } else {
                emptyCount &+= 1
                guard emptyCount <= segments.count else { throw .chainTooLong }
            }
            guard descriptor.hasNext else { break }
            descriptor = try Descriptor(at: descriptor.next, in: table)
        }
        if readableCount < 0 {
            readableCount = filled
            readableLength = length
        }
        return try DescriptorChain(
            checked: head, readableCount: readableCount, segmentCount: filled, readableLength: readableLength, length: length)
    }

    // MARK: Giving back

    /// Gives a chain back.
    ///
    /// - Parameters:
    ///   - head: the chain's.
    ///   - length: how many bytes the device wrote, counted from the first writable one on (virtio 1.2, 2.7.8.2).
    @inlinable
    package mutating func push(_ head: UInt16, length: UInt32) {
        put(head, length: length)
        publish()
    }

    /// Gives a chain back, of which the driver hears by the next `publish` or `push`.
    @inlinable
    package mutating func put(_ head: UInt16, length: UInt32) {
        let entry = SplitQueue.ringOffset &+ Int(nextUsed & mask) &* 8
        // le32 id, le32 len (2.7.8).
        used.store(UInt64(head) | UInt64(length) &<< 32, at: entry)
        nextUsed &+= 1
        if inFlight > 0 { inFlight &-= 1 }
    }

    /// Shows the driver what `put` gave back.
    @inlinable
    package func publish() {
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
