internal import Glibc
internal import StratoHost
internal import StratoMemory
internal import Synchronization

/// Lets the kernel carry requests out, without a thread that waits for them.
///
/// What the kernel can't do without waiting goes to threads: bytes that are copied because direct I/O does not take them where
/// they are, discards and zeroed ranges, what lies at the end of a file that is no whole number of sectors long, and
/// whatever came back half done. So does everything where the host does not have the interface.
final class KernelDiskQueue<Interface: DiskInterface & ~Copyable>: DiskQueue {
    /// How long a completion is waited for before it is looked for once more.
    private static var drainMilliseconds: Int32 { 10 }

    private struct State: ~Copyable {
        var interface: Interface?
        /// What `prepare` could do was done.
        var isPrepared = false
        /// Transfers that the kernel has.
        var inFlight = 0
        /// Requests that the kernel has completed, and nobody has taken yet.
        var completed: FixedVector<Int32>
        /// The vectors of runs of several requests, until they were submitted. Made when the first comes.
        var vectors: FixedVector<GuestBuffer>?
    }

    /// What becomes of a run.
    private enum Route {
        case staged
        case threads
        case full
    }

    let requests: DiskRequestTable
    let completionEvent: EventDescriptor?

    private let image: DiskImage
    private let event: EventDescriptor
    private let threads: DiskThreads
    private let merges: Bool
    private let logger: Logger
    private let state: Mutex<State>

    init(_ image: DiskImage, depth: Int, threadLimit: Int, logger: Logger) throws(LinuxError) {
        self.image = image
        self.logger = logger
        requests = DiskRequestTable(count: depth)
        event = try EventDescriptor()
        completionEvent = event
        merges = image.mergesRequests
        threads = DiskThreads(image, requests, event: event, threadLimit: threadLimit)
        state = Mutex(State(completed: FixedVector(capacity: requests.count)))
    }

    deinit {
        close()
    }

    // MARK: The interface

    func prepare(for memory: GuestMemory) {
        state.withLock { state in
            guard !state.isPrepared else { return }
            // The kernel keeps what is registered in the host's memory: all of it is there already, or none is registered.
            prepare(&state, memory.isPreallocated ? memory : nil)
        }
    }

    private func prepare(_ state: inout State, _ memory: GuestMemory?) {
        state.isPrepared = true
        do {
            state.interface = try Interface(image, depth: requests.count, event: event, memory: memory)
        } catch {
            guard !image.hasToldOfEngine.exchange(true, ordering: .relaxed) else { return }
            let line = "image \(image.options.path): threads take over from aio=\(Interface.name): \(error)"
            image.options.isEngineChosen ? logger.warn(line) : logger.info(line)
        }
    }

    // MARK: Service

    func submit(_ indices: Span<Int32>) -> Bool {
        state.withLock { state in
            if !state.isPrepared { prepare(&state, nil) }
            // Whoever drains the queue may not start a thread for what comes back half done, nor carry it out. And without
            // a thread the caller does what is to be done alone, for which the kernel's writes would never end.
            let mayStage = !image.options.isConfined && image.gate == nil || threads.startFirst()
            var position = 0
            while position < indices.count {
                let run = requests.nextRun(indices, &position, merges: merges)
                var route = mayStage ? stage(run, &state) : .threads
                if route == .full {
                    handOver(&state)
                    route = stage(run, &state)
                }
                if route == .staged { continue }
                if !mayStage, image.gate?.isEnteredShared == true {
                    fail(run, EAGAIN, &state)
                } else {
                    threads.start(run.head)
                }
            }
            handOver(&state)
            // Much is done at once where the host has it in memory.
            if Interface.completesEarly { reap(&state) }
            return !state.completed.isEmpty
        }
    }

    private func fail(_ run: DiskRun, _ code: Int32, _ state: inout State) {
        let start = state.completed.count
        requests.appendIndices(ofRun: run.head, to: &state.completed)
        for position in start..<state.completed.count {
            requests.with(state.completed[position]) { $0.result = code }
        }
    }

    /// Stages a run if the kernel can carry it out without waiting.
    private func stage(_ run: DiskRun, _ state: inout State) -> Route {
        guard state.interface != nil else { return .threads }
        guard var transfer = requests.with(run.head, { makeTransfer(run, &$0) }) else { return .threads }
        if transfer.kind != .flush {
            guard takesDirectly(run) else { return .threads }
            guard addVectors(of: run, to: &transfer, &state) else { return .full }
        }
        let gate = transfer.kind == .write ? image.gate : nil
        // A write that is to be alone would have to be waited for.
        if let gate, !gate.enterShared() { return .threads }
        guard state.interface?.stage(transfer) == true else {
            gate?.leaveShared()
            return .full
        }
        state.inFlight += 1
        return .staged
    }

    /// The transfer that a run amounts to, without its vectors; nil if the kernel can't do it, or would have to wait.
    private func makeTransfer(_ run: DiskRun, _ request: inout DiskRequest) -> DiskTransfer? {
        switch request.operation {
        case .flush:
            return DiskTransfer(.flush, tag: run.head)
        case .read:
            // Past its end the file has nothing to read.
            guard isTransferable(run, request.offset), request.offset + UInt64(run.length) <= image.contentSize else {
                return nil
            }
            return DiskTransfer(.read, offset: request.offset, tag: run.head)
        case .write:
            guard isTransferable(run, request.offset), !image.options.isReadOnly, image.options.zeroDetection == .off else {
                return nil
            }
            return DiskTransfer(.write, offset: request.offset, isDurable: request.isWriteThrough, tag: run.head)
        case .discard, .writeZeroes:
            return nil
        }
    }

    /// What is not is for the executor to refuse, or to do in pieces.
    private func isTransferable(_ run: DiskRun, _ offset: UInt64) -> Bool {
        run.length > 0 && run.segmentCount <= DiskRun.segmentLimit && image.isAligned(offset)
            && image.isInside(offset, UInt64(run.length))
    }

    private func takesDirectly(_ run: DiskRun) -> Bool {
        guard image.options.isDirect else { return true }
        var index = run.head
        while index >= 0 {
            let next: Int32? = requests.with(index) { image.takesDirectly($0.segments) ? $0.next : nil }
            guard let next else { return false }
            index = next
        }
        return true
    }

    /// Shows the kernel where a run's bytes are; false if there is no room for it.
    private func addVectors(of run: DiskRun, to transfer: inout DiskTransfer, _ state: inout State) -> Bool {
        transfer.vectorCount = run.segmentCount
        guard run.requestCount > 1 else {
            // SAFETY: the request's segments stay where they are while it is in flight.
            unsafe transfer.vectors = requests.with(run.head) { unsafe $0.vectors }
            return true
        }
        var vectors = state.vectors.take() ?? FixedVector(capacity: DiskRun.segmentLimit)
        let start = vectors.count
        let hasRoom = run.segmentCount <= vectors.capacity - start
        if hasRoom {
            var index = run.head
            while index >= 0 {
                index = requests.with(index) { request in
                    vectors.append(request.segments)
                    return request.next
                }
            }
            // SAFETY: the vectors stay where they are until `handOver`, by when the kernel has read them. A guest buffer is
            // laid out as an iovec.
            unsafe transfer.vectors = UnsafeRawPointer(vectors.address + start)
        }
        state.vectors = consume vectors
        return hasRoom
    }

    /// Gives the kernel what was staged, and the threads what it does not take.
    private func handOver(_ state: inout State) {
        state.interface?.submit()
        while let head = state.interface?.unstage() {
            leave(head, &state)
            threads.start(head)
        }
        state.vectors?.removeAll()
    }

    /// A transfer is not the kernel's any more.
    private func leave(_ head: Int32, _ state: inout State) {
        state.inFlight -= 1
        if let gate = image.gate, requests.with(head, { $0.operation }) == .write { gate.leaveShared() }
    }

    private func reap(_ state: inout State) {
        while let (head, result) = state.interface?.next() {
            leave(head, &state)
            let (isFlush, expected, next) = requests.with(head) { request in
                let isFlush = request.operation == .flush
                return (isFlush, isFlush ? 0 : request.runLength, request.next)
            }
            if result < 0, next < 0, !KernelDiskQueue.isWorthAnotherTry(result) {
                let code = Int32(clamping: 0 - result)
                requests.with(head) { $0.result = isFlush ? image.flushResult(code) : code }
            } else if isFlush, result == 0 {
                requests.with(head) { $0.result = image.flushResult(0) }
            } else if result != expected {
                // A part was transferred, or one of several requests failed: carried out again, step by step, it is found
                // out what the matter is.
                threads.start(head)
                continue
            }
            requests.appendIndices(ofRun: head, to: &state.completed)
        }
    }

    /// Whether a result says more of the interface than of the disk.
    private static func isWorthAnotherTry(_ result: Int) -> Bool {
        switch Int32(clamping: 0 - result) {
        case EAGAIN, EINTR, EINVAL, EOPNOTSUPP, ECANCELED, ENOMEM: true
        default: false
        }
    }

    func takeCompletions(into indices: inout FixedVector<Int32>) {
        event.consume()
        state.withLock { state in
            reap(&state)
            indices.append(state.completed.span)
            state.completed.removeAll()
        }
        threads.takeCompletions(into: &indices)
    }

    func drainKernel() {
        state.withLock { drain(&$0) }
    }

    func drain() {
        drainKernel()
        // After the kernel, as what it has not finished goes there.
        threads.drain()
    }

    private func drain(_ state: inout State) {
        while state.inFlight > 0 {
            reap(&state)
            guard state.inFlight > 0 else { return }
            // The device's own thread may have taken the signal.
            event.wait(milliseconds: KernelDiskQueue.drainMilliseconds)
            // One that stays would have the next wait not wait at all.
            event.consume()
        }
    }

    func close() {
        state.withLock { state in
            drain(&state)
            state.interface?.close()
            state.interface = nil
        }
        threads.close()
    }
}
