internal import StratoDisk
internal import StratoHost
internal import StratoMemory
internal import Synchronization

/// One queue of a block device: takes chains, makes requests of them, and gives them back as they are completed.
///
/// `process` and `complete` come from the event loop; the others from any thread. The lock is taken once per notification,
/// and never held while something in flight is waited for: the loop has other queues to serve, whose completions that may
/// depend on.
final class BlockQueue: Sendable {
    /// What all queues of a device have in common. Constant.
    struct Shared: Sendable {
        let path: String
        let isReadOnly: Bool
        /// In bytes.
        let capacity: UInt64
        /// Exactly 20 bytes.
        let serial: [UInt8]
        let limiter: LogLimiter
        /// Nil where requests are not limited in number.
        let bucket: LeakyBucket?

        init(image: DiskImage, serial: [UInt8], limiter: LogLimiter, bucket: LeakyBucket? = nil) {
            path = image.options.path
            isReadOnly = image.options.isReadOnly
            capacity = image.capacity
            self.serial = serial
            self.limiter = limiter
            self.bucket = bucket
        }
    }

    /// What a request in flight has to do when it is completed.
    private struct Slot: BitwiseCopyable {
        var head: UInt16
        var isInFlight: Bool
        /// Bytes that the device has written, from the first on, if the request succeeds, and if not.
        var length: UInt32
        var failureLength: UInt32
        /// One byte.
        var status: GuestBuffer
    }

    /// A queue that the driver has handed over.
    private struct Active: ~Copyable {
        var ring: SplitQueue
        let memory: GuestMemory
        let interrupt: any VirtioInterrupt
        let features: VirtioFeatures
        /// By request index.
        var slots: FixedVector<Slot>
        /// Requests that are not in flight.
        var free: FixedVector<Int32>
        /// Requests that are filled in and not submitted yet.
        var batch: FixedVector<Int32>
        var completed: FixedVector<Int32>
        var isBroken = false

        init(_ ring: consuming SplitQueue, _ activation: VirtioActivation, unused: GuestBuffer, depth: Int) {
            self.ring = ring
            memory = activation.memory
            interrupt = activation.interrupt
            features = activation.features
            slots = FixedVector(
                repeating: Slot(head: 0, isInFlight: false, length: 0, failureLength: 0, status: unused), count: depth)
            free = FixedVector(capacity: depth)
            for index in (0..<Int32(clamping: depth)).reversed() { free.append(index) }
            batch = FixedVector(capacity: BlockQueue.batchSize)
            completed = FixedVector(capacity: depth)
        }
    }

    private struct State: ~Copyable {
        var active: Active?
        var isPaused = false
        /// How many wait for what is in flight: nothing is taken and nothing given back meanwhile.
        var drainCount = 0
        var isWriteback = true
        /// Until when a timer looks after the chains that a full bucket holds up, in microseconds.
        var retryTime: Int64 = 0
    }

    /// Requests that are submitted together at most.
    private static let batchSize = 32

    let index: Int
    let kick: EventDescriptor

    // Called once per batch; what each request needs of it stands in the two constants below.
    private let disk: any DiskQueue
    private let requests: DiskRequestTable
    private let shared: Shared
    /// Signals the kick, so many milliseconds from now.
    private let kickLater: @Sendable (Int) -> Void
    /// Told by `process` of how many requests it has taken.
    private let noteRound: @Sendable (Int) -> Void
    private let state = Mutex(State())

    init(
        index: Int, kick: EventDescriptor, disk: any DiskQueue, shared: Shared,
        noteRound: @escaping @Sendable (Int) -> Void = { _ in },
        kickLater: @escaping @Sendable (Int) -> Void = { _ in }
    ) {
        self.index = index
        self.kick = kick
        self.disk = disk
        requests = disk.requests
        self.shared = shared
        self.noteRound = noteRound
        self.kickLater = kickLater
    }

    // MARK: Life cycle

    func prepare(for memory: GuestMemory) {
        disk.prepare(for: memory)
    }

    func activate(_ queue: VirtioActivation.Queue, _ activation: VirtioActivation, isWriteback: Bool) {
        disk.prepare(for: activation.memory)
        state.withLock { state in
            let ring = SplitQueue(
                queue.layout, memory: activation.memory, features: activation.features, position: queue.position)
            state.active = Active(ring, activation, unused: queue.layout.used, depth: requests.count)
            state.isWriteback = isWriteback
        }
        // There may be chains already, of which a driver that was restored tells nothing.
        kick.signal()
    }

    /// Takes the queue back; nothing is in flight afterwards, and what was in flight is never given back to the driver.
    func deactivate() {
        BlockQueue.deactivate([self])
    }

    /// Takes all of a device's queues back, as `deactivate` does for one.
    static func deactivate(_ queues: [BlockQueue]) {
        drain(queues) { queue, state in
            queue.dropCompletions()
            state.active = nil
        }
    }

    /// Takes nothing any more until `resume`; what was in flight has been given back.
    func pause() {
        BlockQueue.pause([self])
    }

    /// Pauses all of a device's queues.
    static func pause(_ queues: [BlockQueue]) {
        drain(queues) { queue, state in
            state.isPaused = true
            guard var active = state.active.take() else { return }
            queue.reap(&active)
            queue.notify(&active)
            state.active = consume active
        }
    }

    /// Waits until nothing of the queues is in flight, and does something with each before it can go on.
    private static func drain(_ queues: [BlockQueue], _ body: (BlockQueue, inout State) -> Void) {
        for queue in queues {
            queue.state.withLock { $0.drainCount += 1 }
            queue.disk.drainKernel()
        }
        for queue in queues {
            queue.disk.drain()
            queue.state.withLock { state in
                state.drainCount -= 1
                body(queue, &state)
            }
        }
    }

    private func dropCompletions() {
        var dropped = FixedVector<Int32>(capacity: requests.count)
        disk.takeCompletions(into: &dropped)
    }

    func resume() {
        state.withLock { $0.isPaused = false }
        kick.signal()
    }

    func setWriteback(_ isWriteback: Bool) {
        state.withLock { $0.isWriteback = isWriteback }
    }

    /// Ends what serves the requests. The last call.
    func close() {
        disk.close()
    }

    var position: QueuePosition? {
        state.withLock { state in
            guard let active = state.active.take() else { return nil }
            let position = active.ring.position
            state.active = consume active
            return position
        }
    }

    // MARK: Serving

    /// Takes what the driver has made available.
    func process() {
        state.withLock { state in
            guard !state.isPaused, state.drainCount == 0, var active = state.active.take() else { return }
            let (count, isHeldUp) = serve(&active, isWriteback: state.isWriteback)
            state.active = consume active
            noteRound(count)
            if isHeldUp { tryAgainLater(&state) }
        }
    }

    /// Gives back what the engine has completed.
    func complete() {
        state.withLock { state in
            guard state.drainCount == 0 else {
                // Whoever drains takes them.
                disk.completionEvent?.consume()
                return
            }
            guard var active = state.active.take() else {
                dropCompletions()
                return
            }
            reap(&active)
            notify(&active)
            state.active = consume active
        }
    }

    /// - Returns: how many chains were taken, and true if others were left where they are because the bucket is full.
    private func serve(_ active: inout Active, isWriteback: Bool) -> (count: Int, isHeldUp: Bool) {
        guard !active.isBroken else { return (0, false) }
        // Without FLUSH the driver has no way to make writes durable, so that each one must be (virtio 1.2, 5.2.6.2).
        let isWriteThrough = !active.features.contains(.blockFlush) || !isWriteback
        // A driver that fills the queue as fast as it is emptied must not keep the loop from its other devices.
        let share = active.ring.size
        var budget = shared.bucket?.take(upTo: share) ?? share
        let granted = budget
        let isLimited = granted < share
        do throws(QueueError) {
            repeat {
                active.ring.disableNotifications()
                while budget > 0, let chain = try active.ring.pop() {
                    budget &-= 1
                    if let length = begin(chain, &active, isWriteThrough: isWriteThrough) {
                        active.ring.push(chain.head, length: length)
                    } else if active.batch.count >= BlockQueue.batchSize {
                        submit(&active)
                    }
                }
                submit(&active)
            } while budget > 0 && active.ring.enableNotifications()
            if budget == 0, !isLimited { kick.signal() }
        } catch {
            submit(&active)
            active.isBroken = true
            shared.limiter.log(.warn, "queue \(index) needs a reset: \(error)")
            active.interrupt.deviceNeedsReset()
        }
        shared.bucket?.giveBack(budget)
        notify(&active)
        return (granted &- budget, isLimited && budget == 0 && !active.isBroken)
    }

    /// Sees to it that chains that a full bucket holds up are looked at again, by one timer however often the driver kicks.
    private func tryAgainLater(_ state: inout State) {
        guard let bucket = shared.bucket else { return }
        let now = MonotonicClock.now.microseconds
        guard now >= state.retryTime else { return }
        let milliseconds = bucket.waitMilliseconds
        state.retryTime = now &+ Int64(milliseconds) &* 1000
        kickLater(milliseconds)
    }

    private func submit(_ active: inout Active) {
        guard !active.batch.isEmpty else { return }
        let isCompleted = disk.submit(active.batch.span)
        active.batch.removeAll()
        if isCompleted { reap(&active) }
    }

    private func reap(_ active: inout Active) {
        disk.takeCompletions(into: &active.completed)
        for position in 0..<active.completed.count {
            let request = active.completed[position]
            let slot = active.slots[Int(request)]
            guard slot.isInFlight else { continue }
            active.slots[Int(request)].isInFlight = false
            active.free.append(request)
            let result = requests.result(of: request)
            var length = slot.length
            if result == 0 {
                slot.status.store(BlockProtocol.Status.ok, at: 0)
            } else {
                report(request, result)
                slot.status.store(BlockProtocol.Status.ioError, at: 0)
                length = slot.failureLength
            }
            // A queue that broke meanwhile is not touched any more.
            if !active.isBroken { active.ring.put(slot.head, length: length) }
        }
        active.completed.removeAll()
        if !active.isBroken { active.ring.publish() }
    }

    private func notify(_ active: inout Active) {
        if !active.isBroken, active.ring.needsNotification() { active.interrupt.queueUsed(index) }
    }

    private func report(_ request: Int32, _ code: Int32) {
        let (operation, offset) = requests.with(request) { ($0.operation, $0.offset) }
        let what = "\(operation) at byte \(offset) of \(shared.path)"
        shared.limiter.log(.error, "\(LinuxError(code: code, operation: what))")
    }

    // MARK: Requests

    /// Writes the status byte, and says how many bytes were written from the first on.
    private func finish(_ statusByte: GuestBuffer, _ status: UInt8, _ writableLength: UInt32, dataLength: UInt32) -> UInt32 {
        statusByte.store(status, at: 0)
        return usedLength(writableLength, dataLength: dataLength)
    }

    /// The status lies behind all data, so that it counts only if the data before it was written completely.
    private func usedLength(_ writableLength: UInt32, dataLength: UInt32) -> UInt32 {
        dataLength == writableLength &- 1 ? writableLength : dataLength
    }

    /// Makes a request of a chain (virtio 1.2, 5.2.6), and puts it into the batch.
    ///
    /// - Returns: how many bytes were written to a chain that has ended already, nil for one that was put into the batch.
    @inline(__always)
    private func begin(_ chain: DescriptorChain, _ active: inout Active, isWriteThrough: Bool) -> UInt32? {
        let readable = 0..<chain.readableCount
        let writable = chain.readableCount..<chain.segmentCount
        // The status is the last byte that the device can write.
        guard chain.writableCount > 0, let status = lastByte(active.ring.segments[writable.upperBound &- 1]) else {
            shared.limiter.log(.warn, "queue \(index): a request without room for its status")
            return 0
        }
        let writableLength = UInt32(truncatingIfNeeded: chain.writableLength)
        // Type and reserved, then sector; each is read once, as the guest may change them meanwhile.
        guard let (first, sector) = active.ring.segments.loadPair(in: readable) else {
            shared.limiter.log(.warn, "queue \(index): a request without a whole header")
            return finish(status, BlockProtocol.Status.ioError, writableLength, dataLength: 0)
        }
        let type = UInt32(truncatingIfNeeded: first)
        guard type == BlockProtocol.RequestType.read || type == BlockProtocol.RequestType.write else {
            return beginOther(type, chain, status, &active, isWriteThrough: isWriteThrough)
        }
        let isWrite = type == BlockProtocol.RequestType.write
        let length = isWrite ? chain.readableLength &- BlockProtocol.headerSize : chain.writableLength &- 1
        guard let offset = offset(ofSector: sector, length: length), !(isWrite && shared.isReadOnly) else {
            return finish(status, BlockProtocol.Status.ioError, writableLength, dataLength: 0)
        }
        guard length > 0 else { return finish(status, BlockProtocol.Status.ok, writableLength, dataLength: 0) }
        guard let place = active.free.popLast() else {
            return finish(status, BlockProtocol.Status.ioError, writableLength, dataLength: 0)
        }
        requests.with(place) { request in
            request.operation = isWrite ? .write : .read
            request.offset = offset
            request.isWriteThrough = isWriteThrough
            request.removeSegments()
            active.ring.segments.forEachPart(
                from: isWrite ? BlockProtocol.headerSize : 0, length: length, in: isWrite ? readable : writable
            ) { request.append($0) }
        }
        enqueue(place, chain, status, dataLength: isWrite ? 0 : length, &active)
        return nil
    }

    @inline(never)
    private func beginOther(
        _ type: UInt32, _ chain: DescriptorChain, _ status: GuestBuffer, _ active: inout Active, isWriteThrough: Bool
    ) -> UInt32? {
        let writableLength = UInt32(truncatingIfNeeded: chain.writableLength)
        switch type {
        case BlockProtocol.RequestType.flush:
            guard let place = active.free.popLast() else {
                return finish(status, BlockProtocol.Status.ioError, writableLength, dataLength: 0)
            }
            requests.with(place) { request in
                request.operation = .flush
                request.offset = 0
            }
            enqueue(place, chain, status, dataLength: 0, &active)
            return nil
        case BlockProtocol.RequestType.getIdentifier:
            let amount = min(chain.writableLength &- 1, BlockProtocol.identifierSize)
            active.ring.segments.store(shared.serial, count: amount, in: chain.readableCount..<chain.segmentCount)
            return finish(
                status, BlockProtocol.Status.ok, writableLength, dataLength: UInt32(truncatingIfNeeded: amount))
        case BlockProtocol.RequestType.discard where active.features.contains(.blockDiscard),
            BlockProtocol.RequestType.writeZeroes where active.features.contains(.blockWriteZeroes):
            return beginRanges(type, chain, status, &active, isWriteThrough: isWriteThrough)
        default:
            return finish(status, BlockProtocol.Status.unsupported, writableLength, dataLength: 0)
        }
    }

    private func beginRanges(
        _ type: UInt32, _ chain: DescriptorChain, _ status: GuestBuffer, _ active: inout Active, isWriteThrough: Bool
    ) -> UInt32? {
        let length = chain.readableLength &- BlockProtocol.headerSize
        let isDiscard = type == BlockProtocol.RequestType.discard
        let count = length / BlockProtocol.rangeSize
        let refusal: UInt8?
        if length > 0, length % BlockProtocol.rangeSize == 0, count <= BlockProtocol.maximumRanges,
            let place = active.free.popLast()
        {
            refusal = requests.with(place) { request in
                request.operation = isDiscard ? .discard : .writeZeroes
                request.isWriteThrough = isWriteThrough
                return addRanges(count, isDiscard: isDiscard, chain, active.ring.segments, to: &request)
            }
            if refusal == nil {
                enqueue(place, chain, status, dataLength: 0, &active)
                return nil
            }
            active.free.append(place)
        } else {
            refusal = BlockProtocol.Status.ioError
        }
        return finish(
            status, refusal ?? BlockProtocol.Status.ioError, UInt32(truncatingIfNeeded: chain.writableLength), dataLength: 0)
    }

    /// - Returns: the status of a request that is refused.
    private func addRanges(
        _ count: Int, isDiscard: Bool, _ chain: DescriptorChain, _ segments: Span<GuestBuffer>, to request: inout DiskRequest
    ) -> UInt8? {
        let readable = 0..<chain.readableCount
        request.removeRanges()
        for index in 0..<count {
            let base = BlockProtocol.headerSize &+ index &* BlockProtocol.rangeSize
            guard let sector = segments.load(UInt64.self, at: base, in: readable),
                let rest = segments.load(UInt64.self, at: base &+ 8, in: readable)
            else { return BlockProtocol.Status.ioError }
            let sectors = UInt32(truncatingIfNeeded: rest)
            let flags = UInt32(truncatingIfNeeded: rest &>> 32)
            // Unknown flags, and the unmap flag of a discard, are unsupported (virtio 1.2, 5.2.6.2).
            guard flags & ~BlockProtocol.rangeUnmap == 0, !(isDiscard && flags != 0) else {
                return BlockProtocol.Status.unsupported
            }
            guard sectors <= BlockProtocol.maximumRangeSectors,
                let offset = offset(ofSector: sector, length: Int(sectors) &* BlockProtocol.sectorSize)
            else { return BlockProtocol.Status.ioError }
            if index == 0 { request.offset = offset }
            request.append(
                DiskRange(
                    offset: offset, count: UInt64(sectors) &* UInt64(BlockProtocol.sectorSize),
                    mayUnmap: flags & BlockProtocol.rangeUnmap != 0))
        }
        return nil
    }

    private func enqueue(
        _ place: Int32, _ chain: DescriptorChain, _ status: GuestBuffer, dataLength: Int, _ active: inout Active
    ) {
        let writableLength = UInt32(truncatingIfNeeded: chain.writableLength)
        active.slots[Int(place)] = Slot(
            head: chain.head, isInFlight: true,
            length: usedLength(writableLength, dataLength: UInt32(truncatingIfNeeded: dataLength)),
            failureLength: usedLength(writableLength, dataLength: 0), status: status)
        active.batch.append(place)
    }

    /// The byte offset of a request that is whole sectors long and inside the disk; nil for any other.
    private func offset(ofSector sector: UInt64, length: Int) -> UInt64? {
        let size = UInt64(BlockProtocol.sectorSize)
        let capacity = shared.capacity
        guard length >= 0, length % BlockProtocol.sectorSize == 0, sector <= capacity / size else { return nil }
        let offset = sector &* size
        return UInt64(length) <= capacity &- offset ? offset : nil
    }

    private func lastByte(_ segment: GuestBuffer) -> GuestBuffer? {
        segment.slice(from: segment.count &- 1, count: 1)
    }
}
