internal import CStratoLinux
internal import Glibc
internal import Synchronization

/// One thread's loop over descriptors, timers and work handed in by others.
///
/// Descriptors are level-triggered. Every handler, timer and piece of work runs on the thread that called `run`, one at a
/// time; everything may be called from every thread, and from inside a handler, unless it says otherwise.
package final class EventLoop: Sendable {
    /// What a descriptor is watched for, and what it turned out to be ready for.
    package struct Interest: OptionSet, Sendable, Hashable {
        package let rawValue: UInt32

        package init(rawValue: UInt32) {
            self.rawValue = rawValue
        }

        package static let readable = Interest(rawValue: EPOLLIN.rawValue)
        package static let writable = Interest(rawValue: EPOLLOUT.rawValue)
        /// The other side is gone. It is told wherever anything is watched for, and may be watched for alone.
        package static let hangUp = Interest(rawValue: EPOLLHUP.rawValue)
        /// The descriptor is in error. It is told wherever anything is watched for.
        package static let error = Interest(rawValue: EPOLLERR.rawValue)
    }

    /// A descriptor that is watched: what `modify` and `unregister` are told.
    package final class Registration: Sendable {
        let descriptor: Int32
        /// Tells this registration from every other that the loop ever had.
        let tag: UInt64
        let handler: @Sendable (Interest) -> Void
        let gate = Gate()

        init(descriptor: Int32, tag: UInt64, handler: @escaping @Sendable (Interest) -> Void) {
            self.descriptor = descriptor
            self.tag = tag
            self.handler = handler
        }
    }

    /// Work that is due once, later.
    package final class Timer: Sendable {
        /// A type of its own, as the end of an optional function in a mutex has the runtime look that type up by its name.
        struct Work: Sendable {
            var body: (@Sendable () -> Void)?
        }

        let deadline: UInt64
        let tag: UInt64
        let work: Mutex<Work>
        let gate = Gate()
        private let queue: TimerQueue

        init(deadline: UInt64, tag: UInt64, queue: TimerQueue, work: @escaping @Sendable () -> Void) {
            self.deadline = deadline
            self.tag = tag
            self.queue = queue
            self.work = Mutex(Work(body: work))
        }

        /// Forgets the work if it has not begun. After the call it is not running and will not run, except where the call
        /// comes from that work itself.
        package func cancel() {
            queue.remove(self)
            gate.close()
            work.withLock { $0.body = nil }
        }

        func fire() {
            gate.pass {
                guard let work = work.withLock({ $0.body.take() }) else { return }
                work()
            }
        }
    }

    /// Lets the loop's thread through until it is closed; closing waits for whoever is inside.
    final class Gate: Sendable {
        private let passage = Mutex(())
        private let isClosed = Atomic(false)
        private let occupant = Atomic<UInt>(0)

        func pass(_ body: () -> Void) {
            passage.withLock { _ in
                guard !isClosed.load(ordering: .acquiring) else { return }
                occupant.store(pthread_self(), ordering: .relaxed)
                body()
                occupant.store(0, ordering: .relaxed)
            }
        }

        func close() {
            isClosed.store(true, ordering: .releasing)
            // The occupant is this thread only if this thread wrote it, so that no ordering is needed to tell.
            guard occupant.load(ordering: .relaxed) != pthread_self() else { return }
            passage.withLock { _ in }
        }
    }

    /// The timers to come, latest first.
    final class TimerQueue: Sendable {
        private struct State {
            var timers: [Timer] = []
            var nextTag: UInt64 = 0
        }

        private let state = Mutex(State())

        private static func isLater(_ left: Timer, than right: (deadline: UInt64, tag: UInt64)) -> Bool {
            (left.deadline, left.tag) > (right.deadline, right.tag)
        }

        /// Where a timer stands, or would stand.
        private static func index(of key: (deadline: UInt64, tag: UInt64), in timers: [Timer]) -> Int {
            var low = 0
            var high = timers.count
            while low < high {
                let middle = (low + high) / 2
                if isLater(timers[middle], than: key) { low = middle + 1 } else { high = middle }
            }
            return low
        }

        /// The timer, and whether it is now the first that is due.
        func add(deadline: UInt64, _ work: @escaping @Sendable () -> Void) -> (timer: Timer, isFirst: Bool) {
            state.withLock { state in
                let timer = Timer(deadline: deadline, tag: state.nextTag, queue: self, work: work)
                state.nextTag &+= 1
                let index = TimerQueue.index(of: (deadline, timer.tag), in: state.timers)
                state.timers.insert(timer, at: index)
                return (timer, index == state.timers.count - 1)
            }
        }

        func remove(_ timer: Timer) {
            state.withLock { state in
                let index = TimerQueue.index(of: (timer.deadline, timer.tag), in: state.timers)
                if index < state.timers.count, state.timers[index] === timer { state.timers.remove(at: index) }
            }
        }

        func removeAll() {
            let timers = state.withLock { state in
                defer { state.timers = [] }
                return state.timers
            }
            // Released here, outside of the lock: what the work holds may cancel timers as it goes.
            _ = consume timers
        }

        var firstDeadline: UInt64? { state.withLock { $0.timers.last?.deadline } }

        /// Takes out one timer that is due, of those that were made before `limit`.
        func takeDue(at now: UInt64, before limit: UInt64) -> Timer? {
            state.withLock { state in
                guard let last = state.timers.last, last.deadline <= now, last.tag < limit else { return nil }
                return state.timers.removeLast()
            }
        }

        var nextTag: UInt64 { state.withLock { $0.nextTag } }
    }

    private struct Slot {
        let registration: Registration
        var interest: Interest
        /// False once the kernel has forgotten the descriptor by itself, as it was closed too early.
        var isKnownToKernel: Bool
    }

    /// What is watched, by tag. Tags are handed out in ascending order, so that the array is sorted.
    private struct SlotTable {
        private(set) var slots: [Slot] = []

        private func position(of tag: UInt64) -> Int? {
            var low = 0
            var high = slots.count
            while low < high {
                let middle = low + (high - low) / 2
                let found = slots[middle].registration.tag
                if found == tag { return middle }
                if found < tag { low = middle + 1 } else { high = middle }
            }
            return nil
        }

        subscript(tag: UInt64) -> Slot? { position(of: tag).map { slots[$0] } }

        /// Adds a slot whose tag is the highest so far.
        mutating func append(_ slot: Slot) {
            slots.append(slot)
        }

        mutating func update(_ slot: Slot) {
            guard let position = position(of: slot.registration.tag) else { return }
            slots[position] = slot
        }

        mutating func remove(_ tag: UInt64) -> Slot? {
            position(of: tag).map { slots.remove(at: $0) }
        }

        /// What is left of registrations of a descriptor that was closed too early must not take a new one away.
        mutating func forget(_ descriptor: Int32) {
            for position in slots.indices where slots[position].registration.descriptor == descriptor {
                slots[position].isKnownToKernel = false
            }
        }
    }

    private struct State {
        var slots = SlotTable()
        var nextTag: UInt64 = 1
        var work: [@Sendable () -> Void] = []
        var hasEnded = false

        mutating func takeWork() -> [@Sendable () -> Void] {
            defer { work = [] }
            return work
        }
    }

    private static let wakeTag: UInt64 = 0
    private static let batchSize = 64

    /// What the loop is for; it stands in errors.
    package let name: String
    /// Of the thread that runs the loop.
    let wakeups = ThreadWakeups()

    private let epoll: OwnedDescriptor
    private let wake: EventDescriptor
    private let timers = TimerQueue()
    private let state = Mutex(State())
    private let isStopping = Atomic(false)
    private let kernelID = Atomic<Int32>(0)
    private let runner = Atomic<UInt>(0)

    /// - Throws: `LinuxError` if there are no descriptors left.
    package init(name: String) throws(LinuxError) {
        self.name = name
        let epoll = OwnedDescriptor(owning: try LinuxError.check(csl_epoll_create(), "make the event loop \(name)"))
        let wake = try EventDescriptor()
        try LinuxError.check(
            csl_epoll_ctl(epoll.number, EPOLL_CTL_ADD, wake.number, EPOLLIN.rawValue, EventLoop.wakeTag),
            "make the event loop \(name)")
        self.epoll = epoll
        self.wake = wake
    }

    deinit {
        timers.removeAll()
    }

    /// The kernel's identifier of the thread inside `run`, 0 while there is none.
    package var threadID: Int32 { kernelID.load(ordering: .acquiring) }

    /// True on the thread inside `run`.
    package var isCurrent: Bool { runner.load(ordering: .relaxed) == pthread_self() }

    // MARK: Descriptors

    /// Watches a descriptor, which stays the caller's and must not be closed before `unregister`.
    ///
    /// - Parameters:
    ///   - descriptor: anything that can be polled; a regular file can't.
    ///   - interest: `readable`, `writable`, both, `hangUp` alone, or nothing yet.
    ///   - handler: called on the loop's thread with what the descriptor is ready for, again and again for as long as it is.
    /// - Returns: what `modify` and `unregister` are told; the watching goes on if it is not kept.
    /// - Throws: `LinuxError`: EPERM for what can't be polled, EEXIST for what is watched already.
    package func register(
        _ descriptor: Int32, for interest: Interest, _ handler: @escaping @Sendable (Interest) -> Void
    ) throws(LinuxError) -> Registration {
        try state.withLock { state throws(LinuxError) in
            let registration = Registration(descriptor: descriptor, tag: state.nextTag, handler: handler)
            // Added even if nothing is watched yet, so that a descriptor that can't be polled is told at once.
            try LinuxError.check(
                csl_epoll_ctl(epoll.number, EPOLL_CTL_ADD, descriptor, interest.rawValue, registration.tag),
                "watch descriptor \(descriptor) in \(name)")
            if interest.isEmpty {
                _ = csl_epoll_ctl(epoll.number, EPOLL_CTL_DEL, descriptor, 0, 0)
            }
            // The kernel takes a number a second time only after the first was closed under us.
            state.slots.forget(descriptor)
            state.nextTag &+= 1
            state.slots.append(
                Slot(registration: registration, interest: interest, isKnownToKernel: !interest.isEmpty))
            return registration
        }
    }

    /// Changes what a descriptor is watched for. Watched for nothing it is left alone altogether: not even that it hung up
    /// is told.
    ///
    /// - Throws: `LinuxError`: ENOENT for a registration that has ended.
    package func modify(_ registration: Registration, for interest: Interest) throws(LinuxError) {
        try state.withLock { state throws(LinuxError) in
            let operation = "watch descriptor \(registration.descriptor) in \(name)"
            guard var slot = state.slots[registration.tag] else {
                throw LinuxError(code: ENOENT, operation: operation)
            }
            guard slot.interest != interest else { return }
            let wanted = interest.rawValue
            switch (slot.isKnownToKernel, !interest.isEmpty) {
            case (true, true):
                try LinuxError.check(
                    csl_epoll_ctl(epoll.number, EPOLL_CTL_MOD, registration.descriptor, wanted, registration.tag), operation)
            case (true, false):
                try LinuxError.check(csl_epoll_ctl(epoll.number, EPOLL_CTL_DEL, registration.descriptor, 0, 0), operation)
            case (false, true):
                try LinuxError.check(
                    csl_epoll_ctl(epoll.number, EPOLL_CTL_ADD, registration.descriptor, wanted, registration.tag), operation)
            case (false, false):
                break
            }
            slot.isKnownToKernel = !interest.isEmpty
            slot.interest = interest
            state.slots.update(slot)
        }
    }

    /// Ends a registration. Once this has returned, on whatever thread, the handler is not running and will not run,
    /// except where the call comes from inside that handler. A second call does nothing more.
    ///
    /// The handler may be awaited here: do not hold a lock that it takes.
    package func unregister(_ registration: Registration) {
        let slot: Slot? = state.withLock { state in
            guard let slot = state.slots.remove(registration.tag) else { return nil }
            if slot.isKnownToKernel {
                // Fails only for a descriptor that was closed before, which the kernel has forgotten by then.
                _ = csl_epoll_ctl(epoll.number, EPOLL_CTL_DEL, registration.descriptor, 0, 0)
            }
            return slot
        }
        _ = consume slot
        registration.gate.close()
    }

    // MARK: Work

    /// Runs work on the loop's thread soon, in the order of the calls.
    ///
    /// - Returns: false if the loop has ended, and the work will not run.
    @discardableResult
    package func execute(_ work: @escaping @Sendable () -> Void) -> Bool {
        let (isAccepted, isFirst) = state.withLock { state in
            guard !state.hasEnded else { return (false, false) }
            state.work.append(work)
            return (true, state.work.count == 1)
        }
        if isFirst { wake.signal() }
        return isAccepted
    }

    /// Runs work on the loop's thread and waits for its result. On that thread, and after the loop has ended, the work runs
    /// at once where it is.
    ///
    /// Waits for as long as nobody calls `run`: do not hold a lock that something on the loop takes.
    package func runBlocking<Result: Sendable>(_ work: @escaping @Sendable () -> Result) -> Result {
        guard !isCurrent else { return work() }
        let outcome = Monitor<Result?>(nil)
        let isAccepted = execute {
            let result = work()
            outcome.update { $0 = result }
        }
        return isAccepted ? outcome.wait(until: { $0 }) : work()
    }

    /// Runs work once, later, on the loop's thread; of those due at the same instant, in the order of the calls.
    ///
    /// - Parameters:
    ///   - milliseconds: from now, not before; less than 0 counts as 0.
    ///   - work: forgotten if the loop ends first.
    /// - Returns: what cancels it. It need not be kept.
    @discardableResult
    package func schedule(afterMilliseconds milliseconds: Int, _ work: @escaping @Sendable () -> Void) -> Timer {
        let delay = UInt64(clamping: milliseconds).multipliedReportingOverflow(by: 1_000_000)
        let deadline = csl_monotonic_nanoseconds().addingReportingOverflow(delay.overflow ? .max : delay.partialValue)
        let (timer, isFirst) = timers.add(deadline: deadline.overflow ? .max : deadline.partialValue, work)
        if isFirst, !isCurrent { wake.signal() }
        return timer
    }

    // MARK: Moderation

    /// Takes note of a round of one whom the loop serves, to find out whether its thread is better woken late (sched(7),
    /// SCHED_BATCH). On the loop's thread only.
    ///
    /// - Parameter count: requests that were served together; 0 for a round that found none.
    package func noteRound(serving count: Int) {
        if wakeups.served(count) { keepTime() }
    }

    private func keepTime() {
        schedule(afterMilliseconds: ThreadWakeups.clockMilliseconds) { [self] in
            if wakeups.timePassed() { keepTime() }
        }
    }

    // MARK: Running

    /// Serves until `stop`, on the calling thread; work that was accepted by then is still done. To be called once.
    package func run() {
        // A pipe without a reader is an error of that pipe's writer, never the end of the process.
        var signals = sigset_t()
        unsafe csl_block_broken_pipe(&signals)
        defer { unsafe csl_unblock_broken_pipe(&signals) }
        runner.store(pthread_self(), ordering: .relaxed)
        kernelID.store(csl_gettid(), ordering: .releasing)
        // SAFETY: epoll_wait fills at most the capacity it is told, and only those it filled are read.
        unsafe withUnsafeTemporaryAllocation(of: epoll_event.self, capacity: EventLoop.batchSize) { events in
            guard let base = events.baseAddress else { return }
            unsafe base.initialize(repeating: epoll_event(), count: events.count)
            while !isStopping.load(ordering: .acquiring) {
                let count = unsafe csl_epoll_wait(epoll.number, base, Int32(events.count), timeout())
                if count < 0 {
                    // Anything but an interruption means that the epoll descriptor is not ours any more.
                    guard count == -EINTR else { break }
                    continue
                }
                var isWoken = false
                for index in 0..<Int(count) {
                    let event = unsafe events[index]
                    let tag = unsafe event.data.u64
                    if tag == EventLoop.wakeTag {
                        isWoken = true
                    } else {
                        dispatch(tag, Interest(rawValue: unsafe event.events))
                    }
                }
                fireTimers()
                if isWoken {
                    wake.consume()
                    for work in state.withLock({ $0.takeWork() }) { work() }
                }
            }
        }
        let remaining = state.withLock { state in
            state.hasEnded = true
            return state.takeWork()
        }
        for work in remaining { work() }
        timers.removeAll()
        kernelID.store(0, ordering: .releasing)
        runner.store(0, ordering: .relaxed)
    }

    /// Makes `run` return, soon, or at once if it has yet to be called.
    package func stop() {
        isStopping.store(true, ordering: .releasing)
        wake.signal()
    }

    private func dispatch(_ tag: UInt64, _ ready: Interest) {
        // An event of this batch whose registration has ended meanwhile finds nothing, as tags are not used again; one that
        // is not watched for any more is left out.
        guard let slot = state.withLock({ $0.slots[tag] }), !slot.interest.isEmpty else { return }
        let wanted = ready.intersection(slot.interest.union([.hangUp, .error]))
        guard !wanted.isEmpty else { return }
        slot.registration.gate.pass { slot.registration.handler(wanted) }
    }

    private func fireTimers() {
        guard let first = timers.firstDeadline else { return }
        let now = csl_monotonic_nanoseconds()
        guard first <= now else { return }
        // A timer that a timer makes waits for the next round, so that descriptors have their turn.
        let limit = timers.nextTag
        while let timer = timers.takeDue(at: now, before: limit) { timer.fire() }
    }

    /// Milliseconds until the first timer, rounded up so that it is due by then; -1 for no end.
    private func timeout() -> Int32 {
        guard let deadline = timers.firstDeadline else { return -1 }
        let now = csl_monotonic_nanoseconds()
        guard deadline > now else { return 0 }
        let milliseconds = (deadline &- now) / 1_000_000
        return Int32(clamping: milliseconds &+ 1)
    }
}
