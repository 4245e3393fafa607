internal import StratoHost
internal import StratoMemory
internal import Synchronization

/// Threads that carry runs of requests out, started when they are first needed.
final class DiskThreads: Sendable {
    /// Where one thread waits for work.
    private final class Worker: Sendable {
        let isWoken = Monitor(false)

        func wake() { isWoken.update { $0 = true } }

        func park() {
            isWoken.wait { (isWoken: inout Bool) -> Void? in
                guard isWoken else { return nil }
                isWoken = false
                return ()
            }
        }
    }

    private enum Step {
        case execute(Int32)
        case park
        case end
    }

    private struct State: ~Copyable {
        /// A ring of the runs that no thread has taken yet, by their heads.
        var pending: FixedVector<Int32>
        var pendingStart = 0
        var pendingCount = 0
        var completed: FixedVector<Int32>
        /// Parked threads; the one that parked last is woken first, so that a light load keeps one thread busy.
        var idle: [Worker]
        var threadCount = 0
        var isClosing = false

        mutating func enqueue(_ head: Int32) {
            pending[(pendingStart &+ pendingCount) % pending.count] = head
            pendingCount &+= 1
        }

        mutating func dequeue() -> Int32? {
            guard pendingCount > 0 else { return nil }
            defer {
                pendingStart = (pendingStart &+ 1) % pending.count
                pendingCount &-= 1
            }
            return pending[pendingStart]
        }
    }

    /// What the threads share. They don't keep the pool itself alive, whose end ends them.
    private final class Core: Sendable {
        let image: DiskImage
        let requests: DiskRequestTable
        let event: EventDescriptor
        let state: Mutex<State>
        /// Runs.
        let inFlight = Monitor(0)

        init(_ image: DiskImage, _ requests: DiskRequestTable, _ event: EventDescriptor, threadLimit: Int) {
            self.image = image
            self.requests = requests
            self.event = event
            var idle: [Worker] = []
            idle.reserveCapacity(threadLimit)
            state = Mutex(
                State(
                    pending: FixedVector(repeating: 0, count: requests.count),
                    completed: FixedVector(capacity: requests.count), idle: idle))
        }

        func run(_ worker: Worker) {
            var executor = DiskExecutor(image)
            while true {
                let step: Step = state.withLock { state in
                    if let head = state.dequeue() { return .execute(head) }
                    if state.isClosing { return .end }
                    state.idle.append(worker)
                    return .park
                }
                switch step {
                case .execute(let head): execute(head, &executor)
                case .park: worker.park()
                case .end: return
                }
            }
        }

        func execute(_ head: Int32, _ executor: inout DiskExecutor) {
            executor.execute(run: head, of: requests)
            let isFirst = state.withLock { state in
                defer { requests.appendIndices(ofRun: head, to: &state.completed) }
                return state.completed.isEmpty
            }
            if isFirst { event.signal() }
            inFlight.update { $0 &-= 1 }
        }
    }

    private let core: Core
    private let threadLimit: Int
    private let threads = Mutex<[HostThread]>([])
    private let hasThreads = Atomic(false)

    /// - Parameters:
    ///   - image: what the requests are for.
    ///   - requests: those that runs are made of.
    ///   - event: signalled when there are completions to take.
    ///   - threadLimit: the most threads.
    init(_ image: DiskImage, _ requests: DiskRequestTable, event: EventDescriptor, threadLimit: Int) {
        self.threadLimit = max(1, threadLimit)
        core = Core(image, requests, event, threadLimit: max(1, threadLimit))
    }

    deinit {
        close()
    }

    /// Has a run carried out, which was made by `nextRun`.
    func start(_ head: Int32) {
        core.inFlight.update { $0 &+= 1 }
        let (worker, startsThread): (Worker?, Bool) = core.state.withLock { state in
            state.enqueue(head)
            if let worker = state.idle.popLast() { return (worker, false) }
            guard state.threadCount < threadLimit else { return (nil, false) }
            state.threadCount &+= 1
            return (nil, true)
        }
        if let worker { worker.wake() }
        if startsThread { startThread() }
    }

    /// Starts a thread if there is none, for a caller after whom nobody may be allowed to. Not at the same time as
    /// `start`.
    ///
    /// - Returns: false if there is none, as none could be started.
    func startFirst() -> Bool {
        if hasThreads.load(ordering: .relaxed) { return true }
        let isFirst = core.state.withLock { state in
            guard state.threadCount == 0 else { return false }
            state.threadCount = 1
            return true
        }
        if isFirst { startThread() }
        let isStarted = core.state.withLock { $0.threadCount > 0 }
        hasThreads.store(isStarted, ordering: .relaxed)
        return isStarted
    }

    private func startThread() {
        let worker = Worker()
        do {
            let thread = try HostThread.start(name: "disk") { [core] in core.run(worker) }
            threads.withLock { $0.append(thread) }
        } catch {
            // Without a single thread nobody would serve what is pending: the caller does it then.
            let isServed = core.state.withLock { state in
                state.threadCount &-= 1
                return state.threadCount > 0
            }
            guard !isServed else { return }
            var executor = DiskExecutor(core.image)
            while let head = core.state.withLock({ $0.dequeue() }) {
                core.execute(head, &executor)
            }
        }
    }

    /// Appends the requests that have been completed since the last call. The event is the caller's to consume before.
    func takeCompletions(into indices: inout FixedVector<Int32>) {
        core.state.withLock { state in
            indices.append(state.completed.span)
            state.completed.removeAll()
        }
    }

    /// Waits until no thread has anything to do.
    func drain() {
        core.inFlight.wait { $0 == 0 ? () : nil }
    }

    /// Drains, and ends the threads. The last call.
    func close() {
        drain()
        let idle = core.state.withLock { state in
            state.isClosing = true
            defer { state.idle.removeAll() }
            return state.idle
        }
        for worker in idle { worker.wake() }
        let ending = threads.withLock { threads in
            defer { threads.removeAll() }
            return threads
        }
        for thread in ending { thread.join() }
    }
}
