internal import Glibc
internal import StratoHost
internal import StratoQMP
internal import StratoVMM
internal import Synchronization

/// One process that serves one machine: from a checked command line to the exit status.
///
/// The main thread runs the loop that serves clients, character devices and signals; the machine is built beside it on a
/// thread of its own, so that clients are answered meanwhile.
final class MachineProcess: Sendable {
    /// How long after its start the machine is left alone, before memory that only the start needed is given back: the first
    /// instructions of the guest would have to wait until what they use is mapped again.
    private static let settlingMilliseconds = 250

    /// The same again, each time after four times as long, up to this: a guest's own start, too, uses what is not used again.
    private static let lastSettlingMilliseconds = 16_000

    /// How long clients have to read what they are sent at the end.
    private static let flushMilliseconds = 500

    private struct Outcome {
        var status: Int32 = 0
        var failure: String?
    }

    private let log: LogFile
    private let logger: Logger
    private let loop: EventLoop
    private let controller: MachineController
    private let server: QMPServer
    private let outcome = Mutex(Outcome())
    private let daemon: Mutex<Daemon?>
    /// Whether the main thread is confined; nil until that is known.
    private let isConfined = Monitor<Bool?>(nil)

    private init(
        _ commandLine: ParsedCommandLine, _ startTime: MonotonicClock.Instant, log: LogFile, logger: Logger,
        daemon: consuming Daemon?
    )
        throws(CommandLineError)
    {
        do {
            loop = try EventLoop(name: "main")
        } catch {
            throw CommandLineError("\(error)")
        }
        self.log = log
        self.logger = logger
        self.daemon = Mutex(daemon)
        controller = MachineController(commandLine.configuration, loop: loop, logger: logger, startTime: startTime)
        server = QMPServer(machine: controller, loop: loop, logger: logger)
    }

    /// Serves the machine until it has ended, and gives back what the process made.
    ///
    /// - Returns: the exit status.
    /// - Throws: what keeps the machine from being started.
    static func run(_ commandLine: ParsedCommandLine, _ startTime: MonotonicClock.Instant) throws(CommandLineError) -> Int32 {
        var commandLine = commandLine
        let hasLandlock = try checkLandlock(commandLine)
        if !hasLandlock { commandLine.configuration.reachableDirectories = nil }
        let (level, levelWarning) = logLevel(for: commandLine.log)
        let daemon = try commandLine.isDaemon ? makeDaemon() : nil
        let signals: TerminationSignals
        do {
            signals = try TerminationSignals()
        } catch {
            throw CommandLineError("\(error)")
        }
        let log = try LogFile(commandLine.log)
        let logger = Logger(sink: log, level: level)
        for warning in commandLine.warnings + [levelWarning].compactMap({ $0 }) {
            logger.warn(warning)
        }
        if usesTerminal(commandLine.configuration) { TerminalGuard.arm() }
        // After the terminal's guard, whose place at this signal it takes.
        if commandLine.configuration.confinesThreads { try RefusedCalls.tell(log) }
        let pidFile: PIDFile? = if let path = commandLine.pidFile { try PIDFile(creating: path) } else { nil }
        let result: Result<Int32, CommandLineError>
        do {
            let process = try MachineProcess(commandLine, startTime, log: log, logger: logger, daemon: daemon)
            result = .success(try process.serve(commandLine, signals))
        } catch {
            result = .failure(error)
        }
        do {
            try pidFile?.remove()
        } catch {
            logger.warn("-pidfile: \(error)")
        }
        return try result.get()
    }

    // MARK: Preparation

    /// Whether the kernel has what keeps threads from files.
    ///
    /// - Throws: if it has not, and it was asked for.
    private static func checkLandlock(_ commandLine: ParsedCommandLine) throws(CommandLineError) -> Bool {
        guard !LandlockRuleset.isAvailable else { return true }
        guard !commandLine.demandsLandlock else {
            throw CommandLineError("-landlock", "this kernel has no Landlock, or was started without; leave the option out")
        }
        return false
    }

    private static func makeDaemon() throws(CommandLineError) -> Daemon {
        do {
            return try Daemon()
        } catch {
            throw CommandLineError("-daemonize", "\(error)")
        }
    }

    private static func logLevel(for destination: LogDestination) -> (level: LogLevel, warning: String?) {
        guard destination != .warnings else { return (.warn, nil) }
        guard let name = HostProcess.environment("STRATOVIRT_LOG_LEVEL") else { return (.info, nil) }
        if let level = LogLevel(name: name) { return (level, nil) }
        let known = LogLevel.allCases.map { String(decoding: $0.label.utf8.map(Spelling.lowercased), as: UTF8.self) }
        return (
            .info,
            "STRATOVIRT_LOG_LEVEL is \(Spelling.quoted(name)); it can be \(Spelling.alternatives(known)), and counts as info"
        )
    }

    private static func usesTerminal(_ configuration: VirtualMachineConfiguration) -> Bool {
        configuration.serialPort?.backend == .standardIO
            || configuration.characterDevices.contains { $0.backend == .standardIO }
    }

    // MARK: Service

    private func serve(_ commandLine: ParsedCommandLine, _ signals: TerminationSignals) throws(CommandLineError) -> Int32 {
        controller.observe { [self] event in
            guard case .shutdown(let reason) = event else { return }
            logger.info("the machine has ended: \(reason.rawValue)")
            outcome.withLock { $0.status = reason.exitStatus }
            // Behind whatever else this event makes the loop do.
            loop.execute { [self] in leave() }
        }
        let builder: HostThread
        do {
            try listen(commandLine.monitors)
            builder = try startBuilder(signals)
        } catch {
            // Nothing runs yet; the loop's last round takes the sockets away.
            leave()
            loop.stop()
            loop.run()
            throw error
        }
        do {
            try controller.confineControlThread(removing: commandLine.filesOfProcess)
            isConfined.update { $0 = true }
        } catch {
            isConfined.update { $0 = false }
            outcome.withLock { $0.failure = error.description }
            controller.shutDown(.hostError)
        }
        loop.run()
        builder.join()
        let result = outcome.withLock { $0 }
        if let failure = result.failure { throw CommandLineError(failure) }
        return result.status
    }

    private func listen(_ monitors: [MonitorEndpoint]) throws(CommandLineError) {
        for monitor in monitors {
            do {
                let actual = try server.listen(at: monitor.address)
                logger.info("QMP clients are served at \(actual)")
            } catch {
                throw CommandLineError("-qmp", "\(error)")
            }
        }
    }

    private func startBuilder(_ signals: TerminationSignals) throws(CommandLineError) -> HostThread {
        do {
            try signals.watch(on: loop) { [self] name in
                logger.info("\(name): the machine is ended")
                controller.shutDown(.hostSignal)
            }
            return try HostThread.start(name: "start") { [self] in start() }
        } catch {
            throw CommandLineError("\(error)")
        }
    }

    /// The path of a pseudo terminal is nowhere to be found otherwise, unless by a client.
    private func showTerminals() {
        for device in controller.characterDevices where device.filename.hasPrefix("pty:") {
            LogFile.writeToStandardError("stratovirt: \(device.label) is \(device.filename.dropFirst(4))\n")
        }
    }

    /// Lets clients read what they were sent, then ends the loop.
    private func leave() {
        server.shutDown(flushMilliseconds: Self.flushMilliseconds) { [self] in loop.stop() }
    }

    private func start() {
        do {
            // No guest runs beside a main thread that may do anything.
            try controller.start { [self] in isConfined.wait { $0 } }
        } catch {
            // Its end, of which clients are told as of any other, makes the loop stop.
            outcome.withLock { $0.failure = error.description }
            return
        }
        guard controller.status != .ended else {
            if let daemon = daemon.withLock({ $0.take() }) { tellOfEnd(before: daemon) }
            return
        }
        showTerminals()
        releaseStartMemory(after: Self.settlingMilliseconds)
        guard let daemon = daemon.withLock({ $0.take() }) else { return }
        do {
            try daemon.hasStarted()
        } catch {
            logger.error("-daemonize: \(error)")
        }
    }

    /// The first process ends with 1 then: whoever started it has to read why.
    private func tellOfEnd(before daemon: consuming Daemon) {
        let reason = CommandLineError("-daemonize", "the machine was ended before it had started")
        LogFile.writeToStandardError(LogFile.plainLine(.error, reason.description))
        _ = consume daemon
    }

    private func releaseStartMemory(after milliseconds: Int) {
        loop.schedule(afterMilliseconds: milliseconds) { [weak self] in
            HostProcess.releaseStartMemory()
            guard milliseconds < Self.lastSettlingMilliseconds else { return }
            self?.releaseStartMemory(after: milliseconds * 4)
        }
    }
}

extension MonitorEndpoint {
    fileprivate var address: ListeningSocket.Address {
        switch self {
        case .unixSocket(let path): .unix(path: path)
        case .tcpSocket(let host, let port): .tcp(host: host, port: port)
        }
    }
}
