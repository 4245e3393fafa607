internal import StratoHost
internal import Synchronization

/// Carries requests out on threads that are started when they are first needed.
final class ThreadedDiskQueue: DiskQueue {
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

    private struct State {
        /// A ring of the requests that no thread has taken yet.
        var pending: [Int32]
        var pendingStart = 0
        var pendingCount = 0
        var completed: [Int32]
        /// Parked threads; the one that parked last is woken first, so that a light load keeps one thread busy.
        var idle: [Worker]
        var threadCount = 0
        var isClosing = false

        mutating func enqueue(_ index: Int32) {
            pending[(pendingStart &+ pendingCount) % pending.count] = index
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

    /// What the threads share. They don't keep the queue itself alive, whose end ends them.
    private final class Core: Sendable {
        let image: DiskImage
        let requests: [DiskRequest]
        let event: EventDescriptor
        let state: Mutex<State>
        let inFlight = Monitor(0)

        init(_ image: DiskImage, depth: Int, threadLimit: Int) throws(LinuxError) {
            self.image = image
            event = try EventDescriptor()
            requests = (0..<depth).map { _ in DiskRequest() }
            var completed: [Int32] = []
            completed.reserveCapacity(depth)
            var idle: [Worker] = []
            idle.reserveCapacity(threadLimit)
            state = Mutex(State(pending: [Int32](repeating: 0, count: depth), completed: completed, idle: idle))
        }

        func run(_ worker: Worker) {
            var executor = DiskExecutor(image)
            while true {
                let step: Step = state.withLock { state in
                    if let index = state.dequeue() { return .execute(index) }
                    if state.isClosing { return .end }
                    state.idle.append(worker)
                    return .park
                }
                switch step {
                case .execute(let index): execute(index, &executor)
                case .park: worker.park()
                case .end: return
                }
            }
        }

        func execute(_ index: Int32, _ executor: inout DiskExecutor) {
            executor.execute(requests[Int(index)])
            let isFirst = state.withLock { state in
                state.completed.append(index)
                return state.completed.count == 1
            }
            if isFirst { event.signal() }
            inFlight.update { $0 &-= 1 }
        }
    }

    private let core: Core
    private let threadLimit: Int
    private let threads = Mutex<[HostThread]>([])

    init(_ image: DiskImage, depth: Int, threadLimit: Int) throws(LinuxError) {
        self.threadLimit = max(1, threadLimit)
        core = try Core(image, depth: max(1, depth), threadLimit: max(1, threadLimit))
    }

    deinit {
        close()
    }

    var requests: [DiskRequest] { core.requests }

    var completionEvent: EventDescriptor? { core.event }

    func submit(_ indices: [Int32]) {
        guard !indices.isEmpty else { return }
        core.inFlight.update { $0 &+= indices.count }
        for index in indices {
            let (worker, startsThread): (Worker?, Bool) = core.state.withLock { state in
                state.enqueue(index)
                if let worker = state.idle.popLast() { return (worker, false) }
                guard state.threadCount < threadLimit else { return (nil, false) }
                state.threadCount &+= 1
                return (nil, true)
            }
            if let worker { worker.wake() }
            if startsThread { startThread() }
        }
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
            while let index = core.state.withLock({ $0.dequeue() }) {
                core.execute(index, &executor)
            }
        }
    }

    func takeCompletions(into indices: inout [Int32]) {
        core.event.consume()
        core.state.withLock { state in
            for index in state.completed { indices.append(index) }
            state.completed.removeAll(keepingCapacity: true)
        }
    }

    func drain() {
        core.inFlight.wait { $0 == 0 ? () : nil }
    }

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
