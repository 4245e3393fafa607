package import StratoHost
package import StratoKVM
package import StratoMemory
internal import Synchronization

/// A machine's virtual CPUs, each run by a thread of its own, held and let go together.
///
///     start() ──► held ◄──► running
///                   │          │
///                   └──────────┴──► ended (threads joined)
///
/// A thread is in one of two places: inside the guest, or parked. `requestHold` asks for the second and returns at once, so
/// that a device may call it on a virtual CPU's own thread; `hold` waits until every thread is there.
package final class ProcessorGroup: Sendable {
    private enum Goal {
        case held, running, ended
    }

    private struct State {
        var goal = Goal.held
        var parkedCount = 0
        /// Threads that have begun.
        var startedCount = 0
    }

    private let processors: [KVMProcessor]
    private let threads = Mutex<[HostThread]>([])
    private let state = Monitor(State())
    private let ports: Bus
    private let mmio: Bus
    private let limiter: LogLimiter
    private let logger: Logger
    private let onRequest: @Sendable (GuestRequest) -> Void
    private let confinement: ThreadConfinement?

    /// - Parameters:
    ///   - processors: in the order of their numbers, with their state set.
    ///   - ports: devices behind I/O ports.
    ///   - mmio: devices behind memory addresses.
    ///   - logger: where failures of KVM and accesses to nothing go.
    ///   - confinement: what each thread enters; nil for threads that may do everything.
    ///   - onRequest: called on a virtual CPU's thread; it must not block, and must not call `hold` or `end`.
    package init(
        processors: [KVMProcessor], ports: Bus, mmio: Bus, logger: Logger,
        confinement: ThreadConfinement? = nil,
        onRequest: @escaping @Sendable (GuestRequest) -> Void
    ) {
        self.processors = processors
        self.ports = ports
        self.mmio = mmio
        self.logger = logger
        self.onRequest = onRequest
        self.confinement = confinement
        limiter = LogLimiter(source: "vcpu", logger: logger)
    }

    /// Starts the threads, which park.
    ///
    /// - Throws: `LinuxError`; the threads that were started have ended then.
    package func start() throws(LinuxError) {
        do {
            for processor in processors {
                let thread = try HostThread.start(name: "vcpu\(processor.index)", stackSize: 256 << 10) { [self] in
                    serve(processor)
                }
                threads.withLock { $0.append(thread) }
            }
        } catch {
            end()
            throw error
        }
    }

    /// The kernel's identifiers of the threads, 0 for one that is not there. Waits for those that have not begun yet.
    package var threadIDs: [Int32] {
        let started = threads.withLock { $0 }
        // Only the host's scheduler can delay them.
        _ = state.wait(milliseconds: 2000) { $0.startedCount >= started.count ? true : nil }
        return processors.indices.map { $0 < started.count ? started[$0].threadID : 0 }
    }

    /// Lets the virtual CPUs run.
    package func release() {
        state.update { state in
            if state.goal == .held { state.goal = .running }
        }
    }

    /// Asks the virtual CPUs to park, without waiting for it.
    package func requestHold() {
        state.update { state in
            if state.goal == .running { state.goal = .held }
        }
        kick()
    }

    /// Parks the virtual CPUs and waits until all of them are.
    ///
    /// - Parameter milliseconds: how long to wait at most.
    /// - Returns: false if a virtual CPU did not come back in time; it will as soon as it can.
    package func hold(milliseconds: Int = 2000) -> Bool {
        requestHold()
        let count = threads.withLock { $0.count }
        return state.wait(milliseconds: milliseconds) { $0.parkedCount >= count ? true : nil } ?? false
    }

    /// Parks the virtual CPUs, or lets all of them go on if one did not come back in time: those that did must not stand still
    /// meanwhile.
    ///
    /// - Returns: false if they go on.
    func holdOrRelease() -> Bool {
        guard hold() else {
            release()
            return false
        }
        return true
    }

    /// Ends the threads and waits for them.
    package func end() {
        state.update { $0.goal = .ended }
        kick()
        for thread in threads.withLock({ $0 }) { thread.join() }
    }

    private func kick() {
        let started = threads.withLock { $0 }
        for (position, processor) in processors.enumerated() {
            processor.requestExit(of: position < started.count ? started[position] : nil)
        }
    }

    // MARK: A virtual CPU's thread

    private func serve(_ processor: KVMProcessor) {
        state.update { $0.startedCount += 1 }
        do {
            try processor.prepareThread()
        } catch {
            fail(processor, error.description)
        }
        do {
            try confinement?.apply()
        } catch {
            fail(processor, error.description)
            // Whatever else is decided, the guest does not run on a thread without.
            return
        }
        var portView = ports.makeView()
        var mmioView = mmio.makeView()
        while park(processor) {
            runGuest(processor, &portView, &mmioView)
        }
    }

    /// Waits for the goal to be running; false when it is the end.
    private func park(_ processor: KVMProcessor) -> Bool {
        state.update { $0.parkedCount += 1 }
        let isRunning = state.wait { state -> Bool? in
            switch state.goal {
            case .held: return nil
            case .running:
                state.parkedCount -= 1
                return true
            case .ended: return false
            }
        }
        return isRunning
    }

    private var isRunningWanted: Bool { state.read { $0.goal == .running } }

    private func runGuest(_ processor: KVMProcessor, _ portView: inout BusView, _ mmioView: inout BusView) {
        while true {
            let exit: ProcessorExit
            do {
                exit = try processor.run()
            } catch {
                fail(processor, error.description)
                return
            }
            switch exit {
            case .portRead(let port, let width, let count):
                for position in 0..<count {
                    // A port that nobody answers reads as ones, as on a bus that floats.
                    let value = portView.read(UInt64(port), width: width) ?? unclaimed("port", UInt64(port))
                    processor.setPortData(UInt32(truncatingIfNeeded: value), position)
                }
            case .portWrite(let port, let width, let count):
                for position in 0..<count {
                    if !portView.write(UInt64(processor.portData(position)), to: UInt64(port), width: width) {
                        _ = unclaimed("port", UInt64(port))
                    }
                }
            case .mmioRead(let address, let width):
                processor.setMMIOData(mmioView.read(address, width: width) ?? unclaimed("address", address))
            case .mmioWrite(let address, let width, let value):
                if !mmioView.write(value, to: address, width: width) { _ = unclaimed("address", address) }
            case .interrupted:
                // The request is taken back before the goal is read: one that comes in between ends the next run.
                processor.acknowledgeExitRequest()
                guard isRunningWanted else { return }
            case .shutdown:
                // On purpose (`reboot=t`) or not: whoever looks for the reason of a reset has to see which it was.
                limiter.log(.info, "vcpu\(processor.index): triple fault")
                return report(.reset)
            case .systemEvent(let type):
                return report(ProcessorGroup.request(forSystemEvent: type))
            case .halt:
                return fail(processor, "halted outside the interrupt controller")
            case .entryFailed(let reason):
                return fail(processor, "the hardware refused to enter the guest, reason 0x\(String(reason, radix: 16))")
            case .internalError(let subcode):
                return fail(processor, "KVM cannot go on with this guest, internal error \(subcode)")
            case .unexpected(let reason):
                return fail(processor, "unexpected exit \(reason)")
            }
        }
    }

    /// The numbers of KVM_SYSTEM_EVENT_SHUTDOWN, _RESET and _CRASH (api.rst, chapter 5).
    private static func request(forSystemEvent type: UInt32) -> GuestRequest {
        switch type {
        case 1: .powerOff
        case 2: .reset
        case 3: .crashed
        default: .failed("unknown system event \(type)")
        }
    }

    private func unclaimed(_ kind: String, _ number: UInt64) -> UInt64 {
        limiter.log(.debug, "access to \(kind) 0x\(String(number, radix: 16)), where there is no device")
        return .max
    }

    /// Parks the virtual CPUs, since the machine's next state is somebody else's decision, and says why.
    private func report(_ request: GuestRequest) {
        requestHold()
        onRequest(request)
    }

    private func fail(_ processor: KVMProcessor, _ reason: String) {
        logger.info("vcpu\(processor.index): \(processor.registerSummary())")
        report(.failed("virtual CPU \(processor.index): \(reason)"))
    }
}
