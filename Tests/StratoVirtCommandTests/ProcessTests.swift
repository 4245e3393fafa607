import CStratoLinux
import Foundation
import StratoHost
import Synchronization
import Testing

@testable import StratoVirtCommand

@Suite("The process")
struct ProcessTests {
    /// A directory of its own for one test.
    private final class Directory {
        let url: URL

        init() throws {
            url = FileManager.default.temporaryDirectory.appendingPathComponent("stratovirt-\(UUID().uuidString)")
            try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        }

        deinit { try? FileManager.default.removeItem(at: url) }

        func path(_ name: String) -> String { url.appendingPathComponent(name).path }
    }

    // MARK: Process id

    @Test("A pid file has the process's number, is its owner's alone, and goes with it")
    func pidFile() throws {
        let directory = try Directory()
        let path = directory.path("pid")
        let file = try PIDFile(creating: path)
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "\(getpid())\n")
        #expect(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int == 0o600)
        try file.remove()
        #expect(!FileManager.default.fileExists(atPath: path))
        try file.remove()
    }

    @Test("A file, or a link to nowhere, that stands in the pid file's place is left alone")
    func pidFileInTheWay() throws {
        let directory = try Directory()
        let path = directory.path("pid")
        try "1\n".write(toFile: path, atomically: false, encoding: .utf8)
        #expect(
            throws: CommandLineError("-pidfile", "'\(path)' exists; if the process it names has ended, remove it")
        ) { try PIDFile(creating: path) }
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "1\n")
        let link = directory.path("link")
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: directory.path("nowhere"))
        #expect(throws: CommandLineError.self) { try PIDFile(creating: link) }
        #expect(!FileManager.default.fileExists(atPath: directory.path("nowhere")))
        #expect(throws: CommandLineError.self) { try PIDFile(creating: directory.path("missing/pid")) }
    }

    @Test("The pid file of a process that runs is left alone, whatever stands in it")
    func pidFileInUse() throws {
        let directory = try Directory()
        let path = directory.path("pid")
        let file = try PIDFile(creating: path)
        for text in ["\(getpid())\n", "", "2147483647\n"] {
            try Data(text.utf8).write(to: URL(fileURLWithPath: path), options: [])
            #expect(
                throws: CommandLineError(
                    "-pidfile", "'\(path)' is in use by a machine that runs; end that one, or name another file")
            ) { try PIDFile(creating: path) }
            #expect(try String(contentsOfFile: path, encoding: .utf8) == text)
        }
        try file.remove()
        #expect(!FileManager.default.fileExists(atPath: path))
    }

    @Test("A pid file that a killed process left behind, whole or empty, is taken over")
    func pidFileLeftBehind() throws {
        let directory = try Directory()
        let path = directory.path("pid")
        // No process has the highest number that there can be, as the kernel's own limit is lower (proc(5), "pid_max").
        for text in ["2147483647\n", "", "\(getpid())\n"] {
            try Data(text.utf8).write(to: URL(fileURLWithPath: path), options: [])
            chmod(path, 0o644)
            let file = try PIDFile(creating: path)
            #expect(try String(contentsOfFile: path, encoding: .utf8) == "\(getpid())\n")
            #expect(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int == 0o600)
            try file.remove()
            #expect(!FileManager.default.fileExists(atPath: path))
        }
    }

    @Test("A file that no killed process left in the pid file's place is left alone")
    func pidFileOfOthers() throws {
        let directory = try Directory()
        let path = directory.path("pid")
        for text in [
            "\(getppid())\n", "2147483647", "2147483648\n", "2147483647\n\n", "-5\n", "0\n", " 2147483647\n", "x\n", "\0",
            "2147483647 and more\n", "00002147483647\n",
        ] {
            try Data(text.utf8).write(to: URL(fileURLWithPath: path), options: [])
            #expect(throws: CommandLineError.self, "\(text)") { try PIDFile(creating: path) }
            #expect(try String(contentsOfFile: path, encoding: .utf8) == text)
        }
        // Somebody else has a name for it.
        try Data("2147483647\n".utf8).write(to: URL(fileURLWithPath: path), options: [])
        try FileManager.default.linkItem(atPath: path, toPath: directory.path("other"))
        #expect(throws: CommandLineError.self) { try PIDFile(creating: path) }
        // A FIFO is not waited for.
        #expect(mkfifo(directory.path("fifo"), 0o600) == 0)
        #expect(throws: CommandLineError.self) { try PIDFile(creating: directory.path("fifo")) }
    }

    @Test("The end of a process leaves a file alone that has come into its pid file's place")
    func pidFileReplaced() throws {
        let directory = try Directory()
        let path = directory.path("pid")
        let file = try PIDFile(creating: path)
        try FileManager.default.removeItem(atPath: path)
        try "1\n".write(toFile: path, atomically: false, encoding: .utf8)
        try file.remove()
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "1\n")
    }

    // MARK: Log

    @Test("A log file is appended to, one line per message, in the form that clients read")
    func logFile() throws {
        let directory = try Directory()
        let path = directory.path("log")
        try "before\n".write(toFile: path, atomically: false, encoding: .utf8)
        let logger = Logger(sink: try LogFile(.file(path)), level: .info)
        logger.info("the machine runs")
        logger.debug("left out")
        logger.warn("two\nlines, \u{1B}[31mred\tß")
        let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n", omittingEmptySubsequences: false)
        try #require(lines.count == 4)
        #expect(lines[0] == "before")
        #expect(
            lines[1].wholeMatch(
                of: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z: \[\d+\]\[\d+\]:INFO: the machine runs/) != nil)
        #expect(lines[1].contains("[\(getpid())]["))
        #expect(lines[2].hasSuffix(":WARN: two\\x0alines, \\x1b[31mred\tß"))
        #expect(lines[3].isEmpty)
        #expect(throws: CommandLineError.self) { try LogFile(.file(directory.path("missing/log"))) }
    }

    @Test("A line is cut to what a pipe takes whole, never within a character", arguments: 4060..<4100)
    func longLines(_ length: Int) {
        let line = LogFile.plainLine(.error, String(repeating: "a", count: length) + String(repeating: "é", count: 100))
        #expect(line.utf8.count <= 4096)
        #expect(line.hasSuffix("...\n"))
        #expect(!line.contains("\u{FFFD}"))
        #expect(LogFile.plainLine(.warn, String(repeating: "\n", count: 5000)).utf8.count <= 4096)
    }

    @Test("Without -D, messages look like those of the command line")
    func plainLines() {
        #expect(LogFile.plainLine(.error, "no") == "stratovirt: no\n")
        #expect(LogFile.plainLine(.warn, "well") == "stratovirt: warning: well\n")
    }

    @Test("Time stamps are those of the calendar, over four centuries and a leap year's every day")
    func timestamps() {
        let formatter = ISO8601DateFormatter()
        let days =
            stride(from: 0, to: 146_097 * 2, by: 97).map { $0 } + Array(19_700..<20_100) + [10_956, 11_016, 47_540, 47_541]
        for day in days {
            let seconds = day * 86_400 + day % 86_400
            let expected = formatter.string(from: Date(timeIntervalSince1970: TimeInterval(seconds))).dropLast() + ".000042Z"
            let text = String(decoding: LogFile.timestamp(Int64(seconds) * 1_000_000 + 42), as: UTF8.self)
            #expect(text == expected)
        }
        #expect(String(decoding: LogFile.timestamp(.min), as: UTF8.self) == "1970-01-01T00:00:00.000000Z")
    }

    @Test("Log levels are named in any case, and nothing else is one")
    func levels() {
        #expect(
            ["error", "Warn", "INFO", "debug", "trace"].map { LogLevel(name: $0) } == [.error, .warn, .info, .debug, .trace])
        #expect(["", "warning", "info "].map { LogLevel(name: $0) } == [nil, nil, nil])
    }

    @Test("A standard error that nobody reads stops nobody, and what was left out is counted")
    func blockedStandardError() async {
        await #expect(processExitsWith: .exitCode(0)) {
            var ends: [Int32] = [0, 0]
            guard pipe(&ends) == 0, dup2(ends[1], STDERR_FILENO) >= 0 else { _exit(10) }
            let log = try LogFile(.warnings)
            for _ in 0..<100_000 { log.write(.error, "a line that fills the pipe after some time") }
            var received: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 65_536)
            while isReadable(ends[0]) { received.append(contentsOf: buffer[..<max(0, read(ends[0], &buffer, buffer.count))]) }
            log.write(.error, "the last line")
            while isReadable(ends[0]) { received.append(contentsOf: buffer[..<max(0, read(ends[0], &buffer, buffer.count))]) }
            let lines = String(decoding: received, as: UTF8.self).split(separator: "\n")
            let notice = lines.dropLast().last?.split(separator: " ") ?? []
            guard lines.last == "stratovirt: the last line" else { _exit(11) }
            guard notice.dropFirst(2).first.flatMap({ Int($0) }) == 100_000 - (lines.count - 2) else { _exit(12) }
            _exit(0)
        }
    }

    // MARK: Daemon

    @Test("The first process of a daemon ends with 0 once the machine has started")
    func daemonStarts() async {
        await #expect(processExitsWith: .exitCode(0)) {
            let parent = getpid()
            let daemon = try Daemon()
            guard getpid() != parent, getsid(0) != getpid() else { _exit(2) }
            try daemon.hasStarted()
            _exit(3)
        }
    }

    @Test("The first process of a daemon ends with 1 if the start fails")
    func daemonFails() async {
        await #expect(processExitsWith: .exitCode(1)) {
            let daemon = try Daemon()
            _ = consume daemon
            _exit(0)
        }
    }

    @Test("A daemon has no standard input, output and error")
    func daemonDetaches() async throws {
        let directory = try Directory()
        let path = directory.path("result")
        setenv("STRATOVIRT_TEST_RESULT", path, 1)
        await #expect(processExitsWith: .exitCode(0)) {
            let path = HostProcess.environment("STRATOVIRT_TEST_RESULT") ?? ""
            let daemon = try Daemon()
            // Before the first process ends, so that the file is there when the test looks.
            let result = try OwnedDescriptor(opening: path, flags: O_WRONLY | O_CREAT, mode: 0o600)
            var before = stat()
            guard fstat(STDERR_FILENO, &before) == 0 else { _exit(2) }
            let lock = try OwnedDescriptor(opening: path + ".done", flags: O_WRONLY | O_CREAT, mode: 0o600)
            try daemon.hasStarted()
            var null = stat()
            guard stat("/dev/null", &null) == 0 else { _exit(2) }
            let isDetached = (0...2).allSatisfy { number in
                var status = stat()
                return fstat(Int32(number), &status) == 0 && status.st_rdev == null.st_rdev
            }
            try HostProcess.write(isDetached ? "detached\n" : "attached\n", to: result.number)
            _ = lock
            _exit(0)
        }
        // The daemon goes on for a moment after its first process has ended.
        var text = ""
        for _ in 0..<500 where text.isEmpty {
            text = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
            if text.isEmpty { try await Task.sleep(for: .milliseconds(20)) }
        }
        #expect(text == "detached\n")
    }

    // MARK: Signals

    @Test("SIGTERM, SIGINT and SIGHUP reach the loop by name and in order of their numbers, also from before it ran")
    func signals() async {
        await #expect(processExitsWith: .exitCode(0)) {
            let signals = try TerminationSignals()
            let loop = try EventLoop(name: "test")
            let names = Mutex<[String]>([])
            // To this thread: the process of an exit test has others, which do not block them.
            for number in [SIGTERM, SIGINT, SIGHUP, SIGPIPE] { pthread_kill(pthread_self(), number) }
            try signals.watch(on: loop) { name in
                let count = names.withLock {
                    $0.append(name)
                    return $0.count
                }
                if count == 3 { loop.stop() }
            }
            loop.run()
            _exit(names.withLock { $0 } == ["SIGHUP", "SIGINT", "SIGTERM"] ? 0 : 10)
        }
    }

    @Test("No other signal ends the process, but those of faults and SIGQUIT")
    func harmlessSignals() async {
        await #expect(processExitsWith: .exitCode(0)) {
            _ = try TerminationSignals()
            let fatal = [SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS, SIGQUIT]
            let stopping = [SIGTSTP, SIGTTIN, SIGTTOU]
            // The C library keeps two numbers between the classic and the real-time signals for itself.
            for number in Array(Int32(1)..<32) + Array(34..<65) where !(fatal + stopping).contains(number) {
                pthread_kill(pthread_self(), number)
            }
            _exit(0)
        }
    }

    // MARK: Terminal

    @Test("The terminal gets its settings back")
    func terminal() async {
        await #expect(processExitsWith: .exitCode(0)) {
            guard putTerminalOnStandardInput() else { _exit(10) }
            var before = termios()
            guard tcgetattr(STDIN_FILENO, &before) == 0 else { _exit(12) }
            TerminalGuard.restore()
            TerminalGuard.arm()
            var raw = before
            cfmakeraw(&raw)
            guard tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0 else { _exit(13) }
            TerminalGuard.restore()
            var after = termios()
            guard tcgetattr(STDIN_FILENO, &after) == 0 else { _exit(14) }
            let isSame =
                before.c_lflag == after.c_lflag && before.c_iflag == after.c_iflag && before.c_oflag == after.c_oflag
                && before.c_cflag == after.c_cflag
            _exit(isSame ? 0 : 15)
        }
    }

    @Test("A fatal signal ends the process by that signal, also with the terminal guarded")
    func fatalSignal() async {
        await #expect(processExitsWith: .signal(SIGABRT)) {
            guard putTerminalOnStandardInput() else { _exit(10) }
            TerminalGuard.arm()
            abort()
        }
    }
}

private func isReadable(_ descriptor: Int32) -> Bool {
    var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    return poll(&entry, 1, 0) > 0
}

/// A pseudo terminal, whose master stays open as long as the process.
private func putTerminalOnStandardInput() -> Bool {
    // TIOCSPTLCK and TIOCGPTN of ioctl_tty(2), which are macros that Swift does not see.
    let unlock: UInt = 0x4004_5431
    let getNumber: UInt = 0x8004_5430
    let master = open("/dev/ptmx", O_RDWR | O_NOCTTY)
    var locked: Int32 = 0
    var number: Int32 = 0
    guard master >= 0, ioctl(master, unlock, &locked) == 0, ioctl(master, getNumber, &number) == 0 else { return false }
    let slave = open("/dev/pts/\(number)", O_RDWR | O_NOCTTY)
    return slave >= 0 && dup2(slave, STDIN_FILENO) == STDIN_FILENO
}
