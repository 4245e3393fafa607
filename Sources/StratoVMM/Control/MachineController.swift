internal import StratoDisk
package import StratoHost
internal import StratoKVM
internal import StratoMachine
internal import StratoMemory
internal import StratoVirtio
internal import Synchronization

/// One machine's life: built from a configuration, run, held, started anew and ended.
///
/// Lock order: `life`, then a device's own locks. A virtual CPU's thread takes neither: what a guest asks for is handed to
/// the control loop. Observers are called with `life` held, so that they see events in order; they must not call back.
package final class MachineController: MachineControl {
    private struct Life {
        var machine: AssembledMachine?
        var isEnded = false
    }

    package let configuration: VirtualMachineConfiguration
    private let loop: EventLoop
    private let logger: Logger
    private let startTime: MonotonicClock.Instant
    private let life = Mutex(Life())
    private let currentStatus = Mutex(MachineStatus.preparing)
    private let observers = Mutex<[@Sendable (MachineEvent) -> Void]>([])
    private let hasFailed = Atomic(false)

    /// - Parameters:
    ///   - configuration: what to build; it has been validated.
    ///   - loop: runs what the guest asks for, and the character backends.
    ///   - logger: for the machine and its devices.
    ///   - startTime: what boot markers are counted from.
    package init(
        _ configuration: VirtualMachineConfiguration, loop: EventLoop, logger: Logger,
        startTime: MonotonicClock.Instant = MonotonicClock.now
    ) {
        self.startTime = startTime
        self.configuration = configuration
        self.loop = loop
        self.logger = logger
    }

    // MARK: Start

    /// Builds the machine, and lets it run unless it is to start paused.
    ///
    /// May be called on any thread but the loop's, once. Until it returns, `status` is `preparing`. A machine that was ended
    /// meanwhile is not built.
    ///
    /// - Parameter mayRun: asked once the machine is built, before its first instruction; false leaves it paused.
    /// - Throws: `MachineControlError` in one line; nothing of the machine is left then, and it has ended.
    package func start(mayRun: () -> Bool = { true }) throws(MachineControlError) {
        try life.withLock { life throws(MachineControlError) in
            guard !life.isEnded else { return }
            guard configuration.machine.kind != .none else {
                // Only questions about the monitor itself are answered.
                setStatus(.prelaunch)
                emit(.built)
                return
            }
            let machine: AssembledMachine
            do throws(MachineControlError) {
                machine = try AssembledMachine(
                    configuration, loop: loop, logger: logger, startTime: startTime,
                    onRequest: { [weak self] request in self?.guestRequested(request) },
                    onQuit: { [weak self] in self?.shutDown(.hostSignal) })
            } catch {
                life.isEnded = true
                setStatus(.ended)
                emit(.shutdown(.hostError))
                throw error
            }
            life.machine = machine
            if !mayRun() || configuration.startsPaused {
                setStatus(.prelaunch)
            } else {
                machine.release()
                setStatus(.running)
            }
            emit(.built)
        }
    }

    /// Confines the calling thread to what the control loop needs, if the configuration wants threads confined. To be called
    /// on the loop's own thread, after `start` has begun on another: no thread can be started from here any more.
    ///
    /// - Parameter removable: paths of files that the thread removes at its end.
    /// - Throws: `MachineControlError` if the kernel does not take the rules.
    package func confineControlThread(removing removable: [String]) throws(MachineControlError) {
        let ruleset: LandlockRuleset?
        do {
            ruleset = try configuration.reachableDirectories.map { directories throws(LinuxError) in
                try LandlockRuleset(reaching: directories, removing: removable)
            }
        } catch {
            throw MachineControlError("-landlock: \(error)")
        }
        do {
            try ThreadConfinement(filter: configuration.confinesThreads ? ThreadFilters.main : nil, ruleset: ruleset).apply()
        } catch {
            throw MachineControlError("\(error)")
        }
    }

    // MARK: MachineControl

    package var status: MachineStatus { currentStatus.withLock { $0 } }

    package func observe(_ observer: @escaping @Sendable (MachineEvent) -> Void) {
        observers.withLock { $0.append(observer) }
    }

    package func pause() throws(MachineControlError) {
        try withMachine { machine throws(MachineControlError) in
            guard status == .running else { return }
            guard machine.hold() else {
                throw MachineControlError("a virtual CPU did not stop within two seconds; the machine runs on")
            }
            setStatus(.paused)
            emit(.stopped)
        }
    }

    package func resume() throws(MachineControlError) {
        try withMachine { machine throws(MachineControlError) in
            guard status == .paused || status == .prelaunch else { return }
            machine.release()
            setStatus(.running)
            emit(.resumed)
        }
    }

    package func reset() throws(MachineControlError) {
        try withMachine { machine throws(MachineControlError) in
            guard machine.hold() else {
                throw MachineControlError("a virtual CPU did not stop within two seconds; the machine was not reset")
            }
            try resetHeld(machine, byGuest: false)
        }
    }

    package func requestPowerDown() throws(MachineControlError) {
        try withMachine { machine throws(MachineControlError) in
            guard machine.pressPowerButton() else {
                throw MachineControlError("this machine has no power button")
            }
            emit(.powerDownRequested)
        }
    }

    package func registerSummaries() throws(MachineControlError) -> [String] {
        var summaries: [String] = []
        try withMachine { machine throws(MachineControlError) in
            guard machine.hold() else {
                throw MachineControlError("a virtual CPU did not stop within two seconds; its registers cannot be read")
            }
            summaries = machine.registerSummaries()
            if status == .running { machine.release() }
        }
        return summaries
    }

    package func shutDown(_ reason: ShutdownReason) {
        loop.execute { [self] in end(reason) }
    }

    package var processors: [ProcessorInfo] {
        guard configuration.machine.kind != .none else { return [] }
        let threads = life.withLock { $0.machine?.processorThreadIDs ?? [] }
        let layout = configuration.processors.layout.visible
        return (0..<configuration.processors.count).map { index in
            let position = layout.position(of: index)
            return ProcessorInfo(
                index: index, socket: position.socket, die: position.die, cluster: position.cluster, core: position.core,
                thread: position.thread, threadID: index < threads.count ? threads[index] : 0)
        }
    }

    package var blockDevices: [BlockDeviceInfo] { life.withLock { $0.machine?.blockDevices ?? [] } }

    package var pciFunctions: [PCIFunctionInfo] { life.withLock { $0.machine?.pciFunctions ?? [] } }

    package var characterDevices: [CharacterDeviceInfo] { life.withLock { $0.machine?.characterDevices ?? [] } }

    package var ioThreads: [IOThreadInfo] { life.withLock { $0.machine?.ioThreads ?? [] } }

    // MARK: Inside

    private func withMachine(
        _ body: (AssembledMachine) throws(MachineControlError) -> Void
    ) throws(MachineControlError) {
        try life.withLock { life throws(MachineControlError) in
            guard let machine = life.machine, !life.isEnded else {
                throw MachineControlError(absence(life))
            }
            try body(machine)
        }
    }

    private func absence(_ life: borrowing Life) -> String {
        if life.isEnded { return "the machine has ended" }
        return configuration.machine.kind == .none ? "there is no machine (-machine none)" : "the machine is still being built"
    }

    /// Called on a virtual CPU's thread, which is parked when this returns.
    private func guestRequested(_ request: GuestRequest) {
        loop.execute { [weak self] in
            guard let self else { return }
            switch request {
            case .powerOff: end(.guestShutdown)
            // A microVM ends with its guest: a reboot is how a kernel without ACPI says that it is done.
            case .reset where configuration.machine.kind == .microVM: end(.guestReset)
            case .reset: resetByGuest()
            case .crashed: end(.guestPanic)
            case .refused(let reason):
                logger.error(reason)
                end(.hostError)
            case .failed(let reason): fail(reason)
            }
        }
    }

    private func resetByGuest() {
        life.withLock { life in
            guard let machine = life.machine, !life.isEnded else { return }
            guard machine.hold() else {
                return fail("a virtual CPU did not stop within two seconds for the reset that the guest asked for")
            }
            // A failure has ended the machine, and nobody waits for an answer.
            try? resetHeld(machine, byGuest: true)
        }
    }

    /// Resets a held machine and lets it go on; the machine ends if that fails.
    private func resetHeld(_ machine: AssembledMachine, byGuest: Bool) throws(MachineControlError) {
        do {
            try machine.reset()
        } catch {
            fail("the machine could not be reset: \(error)")
            throw MachineControlError("\(error)")
        }
        emit(.reset(guest: byGuest))
        // A client may have paused the machine before a guest's request came here.
        if status == .running { machine.release() }
    }

    private func fail(_ reason: String) {
        // What one virtual CPU fails for, others do as well before the machine has ended: one line tells it.
        guard !hasFailed.exchange(true, ordering: .relaxed) else { return }
        if let limit = KVMEnvironment.limit {
            logger.error("\(reason) (\(limit); a Linux guest needs a host whose processor can)")
        } else {
            logger.error(reason)
        }
        loop.execute { [weak self] in self?.end(.hostError) }
    }

    private func end(_ reason: ShutdownReason) {
        life.withLock { life in
            guard !life.isEnded else { return }
            life.isEnded = true
            life.machine?.shutDown()
            life.machine = nil
            setStatus(.ended)
            emit(.shutdown(reason))
        }
    }

    private func setStatus(_ status: MachineStatus) {
        currentStatus.withLock { $0 = status }
    }

    private func emit(_ event: MachineEvent) {
        for observer in observers.withLock({ $0 }) { observer(event) }
    }
}
