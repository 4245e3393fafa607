internal import CStratoLinux
internal import Glibc
internal import Synchronization

/// A new pseudo terminal; who wants to talk to the guest opens its slave. What the guest says while nobody has is dropped.
package final class PseudoTerminalCharacterBackend: CharacterBackend {
    private struct State {
        var registration: EventLoop.Registration?
        var timer: EventLoop.Timer?
    }

    /// How often the slave is looked at on a host that can't tell when it is opened.
    private static let lookMilliseconds = 1000

    /// The path of the slave.
    package let path: String

    private let loop: EventLoop
    private let logger: Logger
    private let log: LogLimiter
    private let master: OwnedDescriptor
    /// An inotify descriptor; nil on a host that has none left.
    private let watcher: OwnedDescriptor?
    private let slot = ConnectionSlot()
    private let state = Mutex(State())

    /// - Parameters:
    ///   - loop: where the pseudo terminal is watched.
    ///   - logger: told of lost bytes and errors.
    /// - Throws: `LinuxError` if the host has no pseudo terminal left.
    package init(loop: EventLoop, logger: Logger) throws(LinuxError) {
        let operation = "make a pseudo terminal"
        let master = OwnedDescriptor(owning: try LinuxError.check(csl_open_pty_master(), operation))
        let number = try LinuxError.check(csl_pty_number(master.number), operation)
        let path = "/dev/pts/\(number)"
        // The kernel knows whether a slave is open only once one has been; without raw mode it would echo the guest's output
        // back to the guest.
        let slave = OwnedDescriptor(owning: try LinuxError.check(csl_open_pty_slave(master.number), operation))
        try PseudoTerminalCharacterBackend.makeRaw(slave.number)
        _ = consume slave
        let watching = unsafe csl_watch_open(path)
        self.path = path
        self.loop = loop
        self.logger = logger
        self.log = LogLimiter(source: "pty:\(path)", logger: logger)
        self.master = master
        self.watcher = watching < 0 ? nil : OwnedDescriptor(owning: watching)
        if watching >= 0 {
            let registration = try loop.register(watching, for: .readable) { [weak self] _ in self?.slaveWasOpened() }
            state.withLock { $0.registration = registration }
        }
        // Somebody may have opened it before it was watched.
        loop.execute { [weak self] in self?.look() }
    }

    deinit {
        close()
    }

    package func attach(_ receiver: any CharacterReceiver) { slot.attach(receiver, on: loop) }
    package func detach() { slot.receiver.receiver = nil }
    package func write(_ bytes: Span<UInt8>) { slot.connection?.write(bytes) }
    package func resumeInput() { slot.connection?.resumeInput() }
    package var filename: String { "pty:\(path)" }
    package var droppedCount: UInt64 { slot.droppedCount }

    package func close() {
        slot.close()
        let (registration, timer) = state.withLock { state in (state.registration.take(), state.timer.take()) }
        if let registration { loop.unregister(registration) }
        timer?.cancel()
    }

    private var watcherNumber: Int32? {
        switch watcher {
        case .some(let descriptor): descriptor.number
        case .none: nil
        }
    }

    private static func makeRaw(_ number: Int32) throws(LinuxError) {
        var settings = termios()
        // SAFETY: a plain structure of a live variable.
        try LinuxError.checkErrno(unsafe tcgetattr(number, &settings), "read the settings of a pseudo terminal")
        unsafe cfmakeraw(&settings)
        try LinuxError.checkErrno(
            unsafe tcsetattr(number, TCSANOW, &settings), "set a pseudo terminal to raw mode")
    }

    // MARK: On the loop

    private func slaveWasOpened() {
        guard let watcher = watcherNumber else { return }
        // What was opened, and how often, does not matter: the kernel is asked for the state.
        let length = 4096
        unsafe withUnsafeTemporaryAllocation(byteCount: length, alignment: 8) { buffer in
            guard let base = buffer.baseAddress else { return }
            while unsafe csl_read(watcher, 0, base, length) > 0 {}
        }
        look()
    }

    /// Begins a connection if somebody has the slave open.
    private func look() {
        guard !slot.isClosed, slot.connection == nil else { return }
        let ready = csl_poll_now(master.number, 0)
        guard ready >= 0, ready & Int32(POLLHUP) == 0 else {
            if watcherNumber == nil { lookAgainLater() }
            return
        }
        do throws(LinuxError) {
            // The one before may have left it in another mode.
            try PseudoTerminalCharacterBackend.makeRaw(master.number)
            let identifier = slot.makeIdentifier()
            let incoming = HostStream(try master.duplicate(), kind: .nonBlocking)
            let outgoing = HostStream(try master.duplicate(), kind: .nonBlocking)
            let connection = try CharacterConnection(
                incoming, outgoing, loop: loop, slot: slot.receiver, source: filename, logger: logger
            ) { [weak self] in
                self?.loop.execute { [weak self] in self?.endConnection(identifier) }
            }
            if !slot.open(connection, as: identifier) { connection.close() }
        } catch {
            log.log(.error, "\(error)")
            lookAgainLater()
        }
    }

    private func endConnection(_ identifier: UInt64) {
        guard slot.end(identifier) else { return }
        // Somebody may have opened it again before it was seen to be closed.
        look()
    }

    private func lookAgainLater() {
        let timer = loop.schedule(afterMilliseconds: PseudoTerminalCharacterBackend.lookMilliseconds) { [weak self] in
            self?.look()
        }
        state.withLock { $0.timer = timer }
    }
}
