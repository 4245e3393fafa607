internal import StratoHost
@_exported public import StratoVMM
internal import Synchronization

/// A virtual machine in this process.
///
/// A machine is described by a `VirtualMachineConfiguration`, made from it, started once and ended once. It may be used from
/// any task; blocking work is done on threads of its own, never on Swift's cooperative pool. When it ends, every descriptor,
/// thread, mapping and file that its guest had is given back, and one idle thread stays; that ends, as the machine does if it
/// still runs, when the last reference goes.
///
/// ```swift
/// var configuration = VirtualMachineConfiguration()
/// configuration.bootLoader = LinuxBootLoader(kernel: "/boot/vmlinuz", commandLine: "console=ttyS0")
/// configuration.serialPort = SerialPortConfiguration(backend: .standardIO)
/// let machine = try VirtualMachine(configuration)
/// try await machine.start()
/// print(await machine.ending)
/// ```
public final class VirtualMachine: Sendable {
    /// Where a machine is in its life.
    public enum State: String, Sendable, Hashable {
        /// Not started yet.
        case stopped
        /// Being built.
        case starting
        /// Its virtual CPUs run.
        case running
        /// Its virtual CPUs are held.
        case paused
        /// It is over, and cannot be started again.
        case ended
    }

    /// How a machine ended.
    public enum Ending: Sendable, Hashable {
        /// The guest powered off.
        case guestShutdown
        /// The guest asked for a reset, and the machine ends on one.
        case guestReset
        /// The guest crashed.
        case guestPanic
        /// The embedding program ended it.
        case stopped
        /// The machine could not go on; the log says why.
        case failed
    }

    /// Something that happened to a machine.
    public enum Event: Sendable, Hashable {
        /// The virtual CPUs were held.
        case paused
        /// The virtual CPUs run: after the start, unless the machine starts paused, and after each pause.
        case resumed
        /// The machine started anew.
        case reset
        /// The guest was asked to power off.
        case powerDownRequested
        /// The last event.
        case ended(Ending)
    }

    private struct Life {
        var isStarted = false
        var isBuilt = false
        var ending: Ending?
        var waiters: [CheckedContinuation<Ending, Never>] = []
        /// By a number of each, so that one that nobody reads any more can be taken away.
        var streams: [UInt64: AsyncStream<Event>.Continuation] = [:]
        var nextStream: UInt64 = 0
    }

    /// What the machine is made of.
    public let configuration: VirtualMachineConfiguration

    private let controller: MachineController
    private let thread: EventLoopThread
    private let life: LifeBox

    private final class LifeBox: Sendable {
        let state = Mutex(Life())
    }

    /// Checks a configuration and makes a machine from it, which is not started.
    ///
    /// - Parameters:
    ///   - configuration: described whole; what it lacks cannot be added later.
    ///   - log: called with each line of the machine's log, from any of its threads, with
    ///     `confinesThreads` from one that is not confined; nil drops them.
    /// - Throws: `VirtualMachineError`, listing every problem of the configuration.
    public init(
        _ configuration: VirtualMachineConfiguration, log: (@Sendable (String) -> Void)? = nil
    ) throws(VirtualMachineError) {
        do {
            try configuration.validate()
        } catch {
            throw VirtualMachineError(.invalidConfiguration, "\(error)")
        }
        do {
            thread = try EventLoopThread(name: "machine")
        } catch {
            throw VirtualMachineError(.hostFailure, "\(error)")
        }
        self.configuration = configuration
        // What the program does with a line is not to be done on a thread that may ask so little of the kernel.
        let logLoop = configuration.confinesThreads ? thread.loop : nil
        let logger = log.map { Logger(sink: ClosureSink($0, loop: logLoop), level: .info) } ?? .silent
        controller = MachineController(configuration, loop: thread.loop, logger: logger)
        let life = LifeBox()
        self.life = life
        let startsPaused = configuration.startsPaused
        controller.observe { event in VirtualMachine.handle(event, life, startsPaused: startsPaused) }
    }

    deinit {
        let controller = controller
        let thread = thread
        // A deinit must not wait, and may run on the very thread that is to end.
        controller.shutDown(.hostSignal)
        thread.loop.execute { thread.loop.stop() }
    }

    // MARK: Life cycle

    /// Where the machine is now.
    public var state: State {
        let isStarted = life.state.withLock { $0.isStarted }
        return switch controller.status {
        case .preparing: isStarted ? .starting : .stopped
        case .prelaunch, .paused: .paused
        case .running: .running
        case .ended: .ended
        }
    }

    /// Builds the machine and lets it run, or paused where the configuration says so.
    ///
    /// A task that is cancelled meanwhile ends the machine.
    ///
    /// - Throws: `VirtualMachineError` if the host lacks what the machine needs, or the machine was started or ended before;
    ///   `CancellationError` if the task was cancelled.
    public func start() async throws {
        let isFirst = life.state.withLock { life in
            defer { life.isStarted = true }
            return !life.isStarted
        }
        guard isFirst else { throw VirtualMachineError(.invalidState, "the machine was started before") }
        let controller = controller
        try await withTaskCancellationHandler {
            do {
                try await build()
            } catch {
                // Its task was cancelled: that is why the machine was ended, and all there is to say.
                try Task.checkCancellation()
                throw error
            }
            try Task.checkCancellation()
        } onCancel: {
            controller.shutDown(.hostSignal)
        }
    }

    private func build() async throws {
        let controller = controller
        let life = life
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
            do {
                _ = try HostThread.start(name: "machine-build") {
                    do {
                        try controller.start()
                    } catch {
                        continuation.resume(throwing: VirtualMachineError(.hostFailure, "\(error)"))
                        return
                    }
                    // A guest may have ended already: what counts is that the machine was there.
                    guard life.state.withLock({ $0.isBuilt }) else {
                        let message = "the machine was ended before it was started"
                        continuation.resume(throwing: VirtualMachineError(.invalidState, message))
                        return
                    }
                    continuation.resume()
                }
            } catch {
                controller.shutDown(.hostError)
                continuation.resume(throwing: VirtualMachineError(.hostFailure, "\(error)"))
            }
        }
    }

    /// Holds the virtual CPUs and finishes what the devices have in flight.
    ///
    /// - Throws: `VirtualMachineError` if the machine does not run.
    public func pause() async throws {
        try await control { controller throws(MachineControlError) in try controller.pause() }
    }

    /// Lets the virtual CPUs go on.
    ///
    /// - Throws: `VirtualMachineError` if the machine is not there.
    public func resume() async throws {
        try await control { controller throws(MachineControlError) in try controller.resume() }
    }

    /// Starts the machine anew, as a reset button does.
    ///
    /// - Throws: `VirtualMachineError` if the machine is not there.
    public func reset() async throws {
        try await control { controller throws(MachineControlError) in try controller.reset() }
    }

    /// Asks the guest to power off, as a power button does. What it does is the guest's decision; see `ending`.
    ///
    /// - Throws: `VirtualMachineError` if the guest has no power button.
    public func requestStop() async throws {
        try await control { controller throws(MachineControlError) in try controller.requestPowerDown() }
    }

    /// Ends the machine at once, whatever the guest does, and waits until it is over.
    public func stop() async {
        controller.shutDown(.hostSignal)
        _ = await ending
    }

    /// How the machine ended; waits for it.
    public var ending: Ending {
        get async {
            await withCheckedContinuation { continuation in
                let ending: Ending? = life.state.withLock { life in
                    if life.ending == nil { life.waiters.append(continuation) }
                    return life.ending
                }
                if let ending { continuation.resume(returning: ending) }
            }
        }
    }

    /// What happens to the machine from now on, up to its end. Each call gives a sequence of its own.
    public var events: AsyncStream<Event> {
        let (stream, continuation) = AsyncStream.makeStream(of: Event.self, bufferingPolicy: .bufferingNewest(1024))
        let (ending, number) = life.state.withLock { life in
            let number = life.nextStream
            life.nextStream &+= 1
            if life.ending == nil { life.streams[number] = continuation }
            return (life.ending, number)
        }
        if let ending {
            continuation.yield(.ended(ending))
            continuation.finish()
        } else {
            continuation.onTermination = { [life] _ in
                // Let go of outside of the lock: the last reference to a stream's buffer may be this one.
                _ = life.state.withLock { $0.streams.removeValue(forKey: number) }
            }
        }
        return stream
    }

    // MARK: Inside

    private func control(
        _ body: @escaping @Sendable (MachineController) throws(MachineControlError) -> Void
    ) async throws {
        guard life.state.withLock({ $0.isStarted }) else {
            throw VirtualMachineError(.invalidState, "the machine has not been started")
        }
        let controller = controller
        let loop = thread.loop
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
            let isTaken = loop.execute {
                do {
                    try body(controller)
                    continuation.resume()
                } catch {
                    continuation.resume(throwing: VirtualMachineError(.invalidState, "\(error)"))
                }
            }
            if !isTaken {
                continuation.resume(throwing: VirtualMachineError(.invalidState, "the machine has ended"))
            }
        }
    }

    private static func handle(_ event: MachineEvent, _ box: LifeBox, startsPaused: Bool) {
        let translated: Event
        switch event {
        case .built:
            box.state.withLock { $0.isBuilt = true }
            guard !startsPaused else { return }
            translated = .resumed
        case .stopped: translated = .paused
        case .resumed: translated = .resumed
        case .reset: translated = .reset
        case .powerDownRequested: translated = .powerDownRequested
        case .shutdown(let reason):
            let ending = Ending(reason)
            let (waiters, streams) = box.state.withLock { life in
                life.ending = ending
                defer { (life.waiters, life.streams) = ([], [:]) }
                return (life.waiters, Array(life.streams.values))
            }
            for waiter in waiters { waiter.resume(returning: ending) }
            for stream in streams {
                stream.yield(.ended(ending))
                stream.finish()
            }
            return
        }
        for stream in box.state.withLock({ Array($0.streams.values) }) { stream.yield(translated) }
    }
}

extension VirtualMachine.Ending {
    init(_ reason: ShutdownReason) {
        self =
            switch reason {
            case .guestShutdown: .guestShutdown
            case .guestReset: .guestReset
            case .guestPanic: .guestPanic
            case .hostQMPQuit, .hostQMPReset, .hostSignal: .stopped
            case .hostError: .failed
            }
    }
}

private final class ClosureSink: LogSink {
    private let body: @Sendable (String) -> Void
    /// Whose thread calls the body; nil for the thread that writes.
    private let loop: EventLoop?

    init(_ body: @escaping @Sendable (String) -> Void, loop: EventLoop?) {
        self.body = body
        self.loop = loop
    }

    func write(_ level: LogLevel, _ message: String) {
        let line = "\(level.label): \(message)"
        guard let loop else { return body(line) }
        loop.execute { [body] in body(line) }
    }
}
