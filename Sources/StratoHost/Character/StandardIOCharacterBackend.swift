internal import Glibc
internal import Synchronization

/// The process's standard input and output, or another pair of descriptors that is shared with somebody.
///
/// Nothing of them is changed but the settings of a terminal, which `close` gives back: not their flags, which the shell
/// would find changed too. A terminal's keys go to the guest one by one; Ctrl-a begins what is meant for the monitor.
package final class StandardIOCharacterBackend: CharacterBackend {
    package let filename: String

    private let loop: EventLoop
    private let receiver: ReceiverSlot
    private let terminal: Terminal?
    private let input: CharacterInput?
    private let output: (any CharacterOutput)?
    private let isClosed = Atomic(false)

    /// - Parameters:
    ///   - loop: where input is read, and output flushed that could not be written at once.
    ///   - logger: told of lost bytes and errors.
    ///   - inputNumber: stays the caller's, and stays open.
    ///   - outputNumber: stays the caller's.
    ///   - confinement: of a thread that output needs where it can't be written without waiting.
    ///   - onQuit: called on the loop when a person at the terminal has typed Ctrl-a x; nil leaves Ctrl-a to the guest.
    /// - Throws: `LinuxError` if the descriptors can't be used. One that is closed counts as one that nothing comes from, or
    ///   that nobody reads.
    package convenience init(
        loop: EventLoop, logger: Logger, input inputNumber: Int32 = STDIN_FILENO, output outputNumber: Int32 = STDOUT_FILENO,
        confinement: ThreadConfinement? = nil, onQuit: (@Sendable () -> Void)? = nil
    ) throws(LinuxError) {
        try self.init(
            filename: "stdio", inputNumber, outputNumber, Terminal(descriptor: inputNumber), loop: loop, logger: logger,
            confinement: confinement, onQuit: onQuit)
    }

    /// A backend on a descriptor of somebody else, which is duplicated: read from and written to as far as it is open for it.
    ///
    /// - Throws: `LinuxError` if it is not open.
    package convenience init(
        descriptor: Int32, loop: EventLoop, logger: Logger, confinement: ThreadConfinement? = nil
    ) throws(LinuxError) {
        try LinuxError.checkErrno(Glibc.fcntl(descriptor, F_GETFD), "use descriptor \(descriptor)")
        try self.init(
            filename: "fd:\(descriptor)", descriptor, descriptor, nil, loop: loop, logger: logger, confinement: confinement,
            onQuit: nil)
    }

    private init(
        filename: String, _ inputNumber: Int32, _ outputNumber: Int32, _ terminal: Terminal?, loop: EventLoop,
        logger: Logger, confinement: ThreadConfinement?, onQuit: (@Sendable () -> Void)?
    ) throws(LinuxError) {
        let log = LogLimiter(source: filename, logger: logger)
        let receiver = ReceiverSlot()
        var output: (any CharacterOutput)?
        if let stream = try StandardIOCharacterBackend.stream(outputNumber, O_WRONLY) {
            let context = CharacterOutputContext(
                source: filename, loop: loop, logger: logger, confinement: confinement, onFailure: { _ in })
            output = context.makeOutput(stream)
        }
        var input: CharacterInput?
        if let stream = try StandardIOCharacterBackend.stream(inputNumber, O_RDONLY) {
            try terminal?.makeRaw()
            let console = terminal.map { terminal in
                CharacterInput.Console(
                    terminal: terminal, onKey: StandardIOCharacterBackend.keyHandler(output: output, onQuit: onQuit))
            }
            do throws(LinuxError) {
                input = try CharacterInput(stream, loop: loop, slot: receiver, console: console) { end in
                    if case .failed(let error) = end { log.log(.warn, "no more input: \(error)") }
                }
            } catch {
                terminal?.restore()
                throw error
            }
        }
        self.filename = filename
        self.loop = loop
        self.receiver = receiver
        self.terminal = terminal
        self.input = input
        self.output = output
    }

    deinit {
        close()
    }

    private static func keyHandler(
        output: (any CharacterOutput)?, onQuit: (@Sendable () -> Void)?
    ) -> (@Sendable (EscapeFilter.Key) -> Void)? {
        guard let onQuit else { return nil }
        return { key in
            switch key {
            case .quit: onQuit()
            case .help: output?.write(Array(EscapeFilter.help.utf8).span)
            case .guest, .none: break
            }
        }
    }

    /// The stream, or nil if the descriptor is closed or not open for this.
    private static func stream(_ number: Int32, _ access: Int32) throws(LinuxError) -> HostStream? {
        do throws(LinuxError) {
            return try HostStream(of: number, access: access)
        } catch {
            guard error.code == EBADF else { throw error }
            return nil
        }
    }

    package func attach(_ receiver: any CharacterReceiver) {
        self.receiver.receiver = receiver
        loop.execute { [weak self] in
            guard let self else { return }
            self.receiver.receiver?.connectionChanged(isOpen: true)
            self.input?.restart()
        }
    }

    package func detach() { receiver.receiver = nil }
    package func write(_ bytes: Span<UInt8>) { output?.write(bytes) }
    package func resumeInput() { input?.resume() }
    package var droppedCount: UInt64 { output?.droppedCount ?? 0 }

    package func close() {
        // Once: the terminal's descriptor may be another file afterwards.
        guard !isClosed.exchange(true, ordering: .acquiringAndReleasing) else { return }
        detach()
        input?.close()
        output?.close(isWaiting: true)
        terminal?.restore()
    }
}
