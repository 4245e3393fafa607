internal import StratoDisk
internal import StratoHost
internal import StratoMemory
internal import Synchronization

/// One queue of a block device: takes chains, makes requests of them, and gives them back as they are completed.
///
/// `process` and `complete` come from the event loop; `activate`, `deactivate`, `pause` and `resume` from any thread. The
/// lock is taken once per notification.
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

        init(image: DiskImage, serial: [UInt8], limiter: LogLimiter) {
            path = image.options.path
            isReadOnly = image.options.isReadOnly
            capacity = image.capacity
            self.serial = serial
            self.limiter = limiter
        }
    }

    /// What a request in flight has to do when it is completed.
    private struct Slot {
        var head: UInt16
        /// One byte.
        var status: GuestBuffer
        /// Bytes that the driver gave for writing, the status included.
        var writableLength: Int
        /// Bytes that the device has written, from the first on, if the request succeeds.
        var dataLength: Int
    }

    /// A queue that the driver has handed over.
    private struct Active: ~Copyable {
        var ring: SplitQueue
        let memory: GuestMemory
        let interrupt: any VirtioInterrupt
        let features: VirtioFeatures
        /// By request index.
        var slots: [Slot?]
        /// Requests that are not in flight.
        var free: [Int32]
        /// Requests that are filled in and not submitted yet.
        var batch: [Int32]
        var completed: [Int32]
        var isBroken = false
    }

    private struct State: ~Copyable {
        var active: Active?
        var isPaused = false
        var isWriteback = true
    }

    /// What became of a chain.
    private enum Outcome {
        /// Ends now, with this many bytes written.
        case finished(UInt32)
        /// Its request was appended to the batch.
        case submitted
    }

    /// Requests that are submitted together at most.
    private static let batchSize = 32

    let index: Int
    let kick: EventDescriptor

    // Called once per batch; what each request needs of it stands in the two constants below.
    private let disk: any DiskQueue
    private let requests: [DiskRequest]
    private let completesAtOnce: Bool
    private let shared: Shared
    private let state = Mutex(State())

    init(index: Int, kick: EventDescriptor, disk: any DiskQueue, shared: Shared) {
        self.index = index
        self.kick = kick
        self.disk = disk
        requests = disk.requests
        completesAtOnce = disk.completionEvent == nil
        self.shared = shared
    }

    // MARK: Life cycle

    func activate(_ queue: VirtioActivation.Queue, _ activation: VirtioActivation, isWriteback: Bool) {
        state.withLock { state in
            let depth = requests.count
            var batch: [Int32] = []
            batch.reserveCapacity(BlockQueue.batchSize)
            var completed: [Int32] = []
            completed.reserveCapacity(depth)
            state.active = Active(
                ring: SplitQueue(
                    queue.layout, memory: activation.memory, features: activation.features, position: queue.position),
                memory: activation.memory, interrupt: activation.interrupt, features: activation.features,
                slots: Array(repeating: nil, count: depth), free: (0..<Int32(clamping: depth)).reversed(), batch: batch,
                completed: completed)
            state.isWriteback = isWriteback
        }
        // There may be chains already, of which a driver that was restored tells nothing.
        kick.signal()
    }

    /// Takes the queue back; nothing is in flight afterwards, and what was in flight is never given back to the driver.
    func deactivate() {
        state.withLock { state in
            guard state.active != nil else { return }
            disk.drain()
            var dropped: [Int32] = []
            disk.takeCompletions(into: &dropped)
            state.active = nil
        }
    }

    func pause() {
        state.withLock { state in
            state.isPaused = true
            disk.drain()
            guard var active = state.active.take() else { return }
            reap(&active)
            notify(&active)
            state.active = consume active
        }
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
            guard !state.isPaused, var active = state.active.take() else { return }
            serve(&active, isWriteback: state.isWriteback)
            state.active = consume active
        }
    }

    /// Gives back what the engine has completed.
    func complete() {
        state.withLock { state in
            guard var active = state.active.take() else {
                var dropped: [Int32] = []
                disk.takeCompletions(into: &dropped)
                return
            }
            reap(&active)
            notify(&active)
            state.active = consume active
        }
    }

    private func serve(_ active: inout Active, isWriteback: Bool) {
        guard !active.isBroken else { return }
        // Without FLUSH the driver has no way to make writes durable, so that each one must be (virtio 1.2, 5.2.6.2).
        let isWriteThrough = !active.features.contains(.blockFlush) || !isWriteback
        // A driver that fills the queue as fast as it is emptied must not keep the loop from its other devices.
        var budget = active.ring.size
        do throws(QueueError) {
            repeat {
                active.ring.disableNotifications()
                while budget > 0, let chain = try active.ring.pop() {
                    budget &-= 1
                    switch begin(chain, &active, isWriteThrough: isWriteThrough) {
                    case .finished(let length):
                        active.ring.push(chain.head, length: length)
                    case .submitted:
                        if active.batch.count >= BlockQueue.batchSize { submit(&active) }
                    }
                }
                submit(&active)
            } while budget > 0 && active.ring.enableNotifications()
            if budget == 0 { kick.signal() }
        } catch {
            submit(&active)
            active.isBroken = true
            shared.limiter.log(.warn, "queue \(index) needs a reset: \(error)")
            active.interrupt.deviceNeedsReset()
        }
        notify(&active)
    }

    private func submit(_ active: inout Active) {
        guard !active.batch.isEmpty else { return }
        disk.submit(active.batch)
        active.batch.removeAll(keepingCapacity: true)
        if completesAtOnce { reap(&active) }
    }

    private func reap(_ active: inout Active) {
        disk.takeCompletions(into: &active.completed)
        for request in active.completed {
            let place = Int(request)
            guard active.slots.indices.contains(place), let slot = active.slots[place] else { continue }
            active.slots[place] = nil
            active.free.append(request)
            let result = requests[place].result
            if result != 0 { report(requests[place], result) }
            let status = result == 0 ? BlockProtocol.Status.ok : BlockProtocol.Status.ioError
            let length = finish(slot.status, status, slot.writableLength, dataLength: result == 0 ? slot.dataLength : 0)
            // A queue that broke meanwhile is not touched any more.
            if !active.isBroken { active.ring.push(slot.head, length: length) }
        }
        active.completed.removeAll(keepingCapacity: true)
    }

    private func notify(_ active: inout Active) {
        if !active.isBroken, active.ring.needsNotification() { active.interrupt.queueUsed(index) }
    }

    private func report(_ request: DiskRequest, _ code: Int32) {
        let (operation, offset) = request.with { ($0.operation, $0.offset) }
        let what = "\(operation) at byte \(offset) of \(shared.path)"
        shared.limiter.log(.error, "\(LinuxError(code: code, operation: what))")
    }

    // MARK: Requests

    /// Writes the status byte, and says how many bytes were written from the first on: the status lies behind all data, so
    /// that it counts only if the data before it was written completely.
    private func finish(_ statusByte: GuestBuffer, _ status: UInt8, _ writableLength: Int, dataLength: Int) -> UInt32 {
        statusByte.store(status, at: 0)
        return UInt32(clamping: dataLength == writableLength &- 1 ? writableLength : dataLength)
    }

    /// Makes a request of a chain (virtio 1.2, 5.2.6).
    private func begin(_ chain: DescriptorChain, _ active: inout Active, isWriteThrough: Bool) -> Outcome {
        let readable = 0..<chain.readableCount
        let writable = chain.readableCount..<chain.segmentCount
        // The status is the last byte that the device can write.
        guard chain.writableCount > 0, let last = lastByte(active.ring.segments[writable.upperBound &- 1]) else {
            shared.limiter.log(.warn, "queue \(index): a request without room for its status")
            return .finished(0)
        }
        func end(_ status: UInt8, dataLength: Int = 0) -> Outcome {
            .finished(finish(last, status, chain.writableLength, dataLength: dataLength))
        }
        // Type and reserved, then sector; each is read once, as the guest may change them meanwhile.
        guard let first = active.ring.segments.load(UInt64.self, at: 0, in: readable),
            let sector = active.ring.segments.load(UInt64.self, at: 8, in: readable)
        else {
            shared.limiter.log(.warn, "queue \(index): a request without a whole header")
            return end(BlockProtocol.Status.ioError)
        }
        let type = UInt32(truncatingIfNeeded: first)
        let inputLength = chain.readableLength &- BlockProtocol.headerSize
        let outputLength = chain.writableLength &- 1
        switch type {
        case BlockProtocol.RequestType.read, BlockProtocol.RequestType.write:
            let isWrite = type == BlockProtocol.RequestType.write
            let length = isWrite ? inputLength : outputLength
            guard let offset = offset(ofSector: sector, length: length), !(isWrite && shared.isReadOnly) else {
                return end(BlockProtocol.Status.ioError)
            }
            guard length > 0 else { return end(BlockProtocol.Status.ok) }
            guard let place = active.free.popLast() else { return end(BlockProtocol.Status.ioError) }
            requests[Int(place)].with { request in
                request.operation = isWrite ? .write : .read
                request.offset = offset
                request.isWriteThrough = isWriteThrough
                // Few are left, for which this takes less time than removeAll does.
                while request.segments.popLast() != nil {}
                active.ring.segments.appendParts(
                    from: isWrite ? BlockProtocol.headerSize : 0, length: length, in: isWrite ? readable : writable,
                    to: &request.segments)
            }
            enqueue(place, chain, last, dataLength: isWrite ? 0 : length, &active)
            return .submitted
        case BlockProtocol.RequestType.flush:
            guard let place = active.free.popLast() else { return end(BlockProtocol.Status.ioError) }
            requests[Int(place)].with { request in
                request.operation = .flush
                request.offset = 0
            }
            enqueue(place, chain, last, dataLength: 0, &active)
            return .submitted
        case BlockProtocol.RequestType.getIdentifier:
            let amount = min(outputLength, BlockProtocol.identifierSize)
            active.ring.segments.store(shared.serial, count: amount, in: writable)
            return end(BlockProtocol.Status.ok, dataLength: amount)
        case BlockProtocol.RequestType.discard where active.features.contains(.blockDiscard),
            BlockProtocol.RequestType.writeZeroes where active.features.contains(.blockWriteZeroes):
            return beginRanges(type, chain, last, inputLength, &active, isWriteThrough: isWriteThrough)
        default:
            return end(BlockProtocol.Status.unsupported)
        }
    }

    private func beginRanges(
        _ type: UInt32, _ chain: DescriptorChain, _ last: GuestBuffer, _ length: Int, _ active: inout Active,
        isWriteThrough: Bool
    ) -> Outcome {
        func end(_ status: UInt8) -> Outcome { .finished(finish(last, status, chain.writableLength, dataLength: 0)) }
        let isDiscard = type == BlockProtocol.RequestType.discard
        let count = length / BlockProtocol.rangeSize
        guard length > 0, length % BlockProtocol.rangeSize == 0, count <= BlockProtocol.maximumRanges,
            let place = active.free.last
        else { return end(BlockProtocol.Status.ioError) }
        let refusal: UInt8? = requests[Int(place)].with { request in
            request.operation = isDiscard ? .discard : .writeZeroes
            request.isWriteThrough = isWriteThrough
            request.ranges.removeAll(keepingCapacity: true)
            let readable = 0..<chain.readableCount
            for index in 0..<count {
                let base = BlockProtocol.headerSize &+ index &* BlockProtocol.rangeSize
                guard let sector = active.ring.segments.load(UInt64.self, at: base, in: readable),
                    let rest = active.ring.segments.load(UInt64.self, at: base &+ 8, in: readable)
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
                request.ranges.append(
                    DiskRange(
                        offset: offset, count: UInt64(sectors) &* UInt64(BlockProtocol.sectorSize),
                        mayUnmap: flags & BlockProtocol.rangeUnmap != 0))
            }
            return nil
        }
        if let refusal { return end(refusal) }
        active.free.removeLast()
        enqueue(place, chain, last, dataLength: 0, &active)
        return .submitted
    }

    private func enqueue(
        _ place: Int32, _ chain: DescriptorChain, _ status: GuestBuffer, dataLength: Int, _ active: inout Active
    ) {
        active.slots[Int(place)] = Slot(
            head: chain.head, status: status, writableLength: chain.writableLength, dataLength: dataLength)
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
