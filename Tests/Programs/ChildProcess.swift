import CStratoLinux
import Foundation
import Glibc

/// A program that was started, what it writes, and how it ended.
final class ChildProcess: @unchecked Sendable {
    /// What standard input and output of the program are.
    enum Terminal: Sendable {
        case pipes
        /// A pseudo terminal that controls the program's session.
        case pseudoTerminal
    }

    enum End: Sendable, Equatable, CustomStringConvertible {
        case exited(Int32)
        case signalled(Int32)

        var description: String {
            switch self {
            case .exited(let status): "exit status \(status)"
            case .signalled(let number): "signal \(number)"
            }
        }
    }

    let identifier: pid_t
    let output: Transcript
    let errors: Transcript
    let commandLine: String

    private let condition = NSCondition()
    // Guarded by `condition`.
    private var end: End?
    private var input: Int32
    /// Keeps the settings of a pseudo terminal readable after the program has ended.
    private let terminal: Int32

    /// Starts a program.
    ///
    /// - Parameters:
    ///   - path: a file, or a name that is looked for in PATH.
    ///   - arguments: without the program's own name.
    ///   - environment: added to this process's own.
    ///   - kind: where standard input and output lead.
    /// - Throws: `GuestFailure` if it cannot be started.
    init(_ path: String, _ arguments: [String], environment: [String: String] = [:], terminal kind: Terminal = .pipes) throws {
        // A program that has ended tells it by the result of a write.
        signal(SIGPIPE, SIG_IGN)
        ChildProcess.starting.lock()
        defer { ChildProcess.starting.unlock() }
        commandLine = ([path] + arguments).map(ChildProcess.quoted).joined(separator: " ")

        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var defaults = sigset_t()
        sigemptyset(&defaults)
        sigaddset(&defaults, SIGPIPE)
        posix_spawnattr_setsigdefault(&attributes, &defaults)
        var mask = sigset_t()
        sigemptyset(&mask)
        posix_spawnattr_setsigmask(&attributes, &mask)
        var flags = Int32(POSIX_SPAWN_SETSIGDEF) | Int32(POSIX_SPAWN_SETSIGMASK)

        let errorPipe = try ChildProcess.makePipe()
        let outputEnd: Int32
        var childEnds = [errorPipe.write]
        switch kind {
        case .pipes:
            let inputPipe = try ChildProcess.makePipe()
            let outputPipe = try ChildProcess.makePipe()
            posix_spawn_file_actions_adddup2(&actions, inputPipe.read, STDIN_FILENO)
            posix_spawn_file_actions_adddup2(&actions, outputPipe.write, STDOUT_FILENO)
            childEnds += [inputPipe.read, outputPipe.write]
            input = inputPipe.write
            outputEnd = outputPipe.read
            terminal = -1
        case .pseudoTerminal:
            let (main, other, name) = try ChildProcess.openPseudoTerminal()
            // The first terminal that the leader of a new session opens becomes its controlling one.
            flags |= ChildProcess.startsSession
            posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, name, O_RDWR, 0)
            posix_spawn_file_actions_adddup2(&actions, STDIN_FILENO, STDOUT_FILENO)
            terminal = other
            input = dup(main)
            ChildProcess.keepFromChildren(input)
            outputEnd = main
        }
        posix_spawn_file_actions_adddup2(&actions, errorPipe.write, STDERR_FILENO)
        posix_spawnattr_setflags(&attributes, Int16(flags))

        var variables = ProcessInfo.processInfo.environment
        variables.merge(environment) { $1 }
        var child: pid_t = 0
        let code = ChildProcess.withCStrings([path] + arguments) { argv in
            ChildProcess.withCStrings(variables.map { "\($0)=\($1)" }) { envp in
                posix_spawnp(&child, path, &actions, &attributes, argv, envp)
            }
        }
        for descriptor in childEnds { close(descriptor) }
        identifier = child
        output = Transcript(reading: outputEnd, name: "output")
        errors = Transcript(reading: errorPipe.read, name: "errors")
        guard code == 0 else {
            close(input)
            throw GuestFailure("\(path) cannot be started: \(String(cString: strerror(code)))")
        }
        Thread.detachNewThread { [self] in reap() }
    }

    private func reap() {
        var status: Int32 = 0
        while waitpid(identifier, &status, 0) < 0, errno == EINTR {}
        condition.withLock {
            let signalNumber = status & 0x7F
            end = signalNumber == 0 ? .exited(status >> 8 & 0xFF) : .signalled(signalNumber)
            condition.broadcast()
        }
    }

    deinit {
        close(input)
        if terminal >= 0 { close(terminal) }
    }

    // MARK: Life

    var isRunning: Bool { condition.withLock { end == nil } }

    /// How it ended, nil while it runs.
    var ended: End? { condition.withLock { end } }

    /// Sends a signal, unless the program has ended.
    func send(signal number: Int32) {
        // It cannot be reaped meanwhile by another thread whose number would then be somebody else's: ended is told first.
        condition.withLock { if end == nil { kill(identifier, number) } }
    }

    /// Waits for the end, and for everything that was written before it.
    ///
    /// - Returns: nil if the time was over before.
    func waitForEnd(within seconds: TimeInterval) -> End? {
        let result = condition.withLock { () -> End? in
            let deadline = Date(timeIntervalSinceNow: seconds)
            while end == nil, condition.wait(until: deadline) {}
            return end
        }
        if result != nil, terminal < 0 {
            // A grandchild may hold the pipes; what this program wrote is read by then.
            _ = output.ends(within: 5)
            _ = errors.ends(within: 5)
        }
        return result
    }

    // MARK: Input

    /// Writes all of a text to standard input.
    ///
    /// - Throws: `GuestFailure` if the program does not read it in time.
    func write(_ text: String, within seconds: TimeInterval = Patience.monitor) throws {
        let bytes = Array(text.utf8)
        let count = offer(bytes, within: seconds)
        guard count == bytes.count else {
            throw GuestFailure("only \(count) of \(bytes.count) bytes of input were taken")
        }
    }

    /// Writes as much to standard input as is taken; gives up once nothing more has been taken for `seconds`.
    ///
    /// - Returns: how many bytes were taken.
    func offer(_ bytes: [UInt8], within seconds: TimeInterval) -> Int {
        let descriptor = condition.withLock { input }
        let flags = fcntl(descriptor, F_GETFL)
        _ = fcntl(descriptor, F_SETFL, flags | O_NONBLOCK)
        defer { _ = fcntl(descriptor, F_SETFL, flags) }
        var written = 0
        while written < bytes.count {
            var poller = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            guard poll(&poller, 1, Int32(seconds * 1000)) > 0 else { break }
            let count = bytes.withUnsafeBytes { buffer in
                Glibc.write(descriptor, buffer.baseAddress?.advanced(by: written), buffer.count - written)
            }
            if count < 0, errno == EAGAIN || errno == EINTR { continue }
            guard count > 0 else { break }
            written += count
        }
        return written
    }

    /// Closes standard input: the program reads its end.
    func closeInput() {
        condition.withLock {
            close(input)
            input = open("/dev/null", O_WRONLY | O_CLOEXEC)
        }
    }

    /// The settings of the pseudo terminal, nil where there is none.
    var terminalSettings: termios? {
        guard terminal >= 0 else { return nil }
        var settings = termios()
        return tcgetattr(terminal, &settings) == 0 ? settings : nil
    }

    // MARK: Making

    /// POSIX_SPAWN_SETSID of <spawn.h>.
    private static let startsSession: Int32 = 0x80

    /// Descriptors are made before they are marked as ours alone: no other child may be started in between.
    private static let starting = NSLock()

    private static func makePipe() throws -> (read: Int32, write: Int32) {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw GuestFailure("no pipe: \(String(cString: strerror(errno)))") }
        for end in ends { keepFromChildren(end) }
        return (ends[0], ends[1])
    }

    private static func openPseudoTerminal() throws -> (main: Int32, terminal: Int32, name: String) {
        var (main, terminal) = (Int32(-1), Int32(-1))
        guard openpty(&main, &terminal, nil, nil, nil) == 0, let name = ttyname(terminal) else {
            throw GuestFailure("no pseudo terminal: \(String(cString: strerror(errno)))")
        }
        keepFromChildren(main)
        keepFromChildren(terminal)
        return (main, terminal, String(cString: name))
    }

    private static func keepFromChildren(_ descriptor: Int32) {
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
    }

    private static func withCStrings<R>(_ strings: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> R) -> R {
        let pointers = strings.map { strdup($0) }
        defer { for pointer in pointers { free(pointer) } }
        return body(pointers + [nil])
    }

    /// A word as a shell takes it, so that a command line in a message can be pasted.
    static func quoted(_ word: String) -> String {
        let plain = word.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_./=:,+@%".contains($0)) }
        guard word.isEmpty || !plain else { return word }
        return "'" + word.replacingOccurrences(of: "'", with: "'\\''") + "'"
    }
}
