import CStratoLinux
import Foundation
import Glibc
import Testing

extension BuiltExecutable {
    /// The executable is there, and a KVM that runs guests of a few instructions.
    static let canRunGuests = stripped != nil && access("/dev/kvm", R_OK | W_OK) == 0
    static let needsGuests: Comment = "needs /dev/kvm, and an executable named by STRATOVIRT_BINARY"

    /// A complete run repeats more often what happens at moments that chance chooses.
    static let isComplete = ProcessInfo.processInfo.environment["STRATOVIRT_TEST_MODE"] == "full"
}

/// A directory with all that one machine's command line names, so that the same line can be started again and again.
final class MonitorPlace {
    let path: String
    /// The executable's arguments.
    var arguments: [String] = []

    /// - Parameter kernel: what the guest does.
    init(kernel: [UInt8]) throws {
        // On a real file system, where direct I/O works.
        path = NSTemporaryDirectory() + "strato-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        try Data(kernel).write(to: URL(fileURLWithPath: file("kernel")))
        try Data(count: 1 << 20).write(to: URL(fileURLWithPath: file("disk")))
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func file(_ name: String) -> String { "\(path)/\(name)" }

    var socket: String { file("qmp") }
    var pidFile: String { file("pid") }

    /// A small microVM with a disk and a QMP socket.
    func machine(memory: String = "128m", disk: String = "direct=off", serial: String = "stdio") -> [String] {
        [
            "-machine", "microvm", "-m", memory, "-kernel", file("kernel"), "-serial", serial,
            "-drive", "file=\(file("disk")),id=disk,\(disk)", "-device", "virtio-blk-device,drive=disk",
            "-qmp", "unix:\(socket),server,nowait",
        ]
    }

    func start(terminal: ChildProcess.Terminal = .pipes) throws -> ChildProcess {
        let binary = try #require(BuiltExecutable.stripped)
        return try ChildProcess(binary, arguments, terminal: terminal)
    }

    /// Starts the executable behind some words of a shell, which is replaced by it.
    func start(behind words: String, terminal: ChildProcess.Terminal = .pipes) throws -> ChildProcess {
        let binary = try #require(BuiltExecutable.stripped)
        return try ChildProcess("/bin/sh", ["-c", "\(words); exec \"$0\" \"$@\"", binary] + arguments, terminal: terminal)
    }

    /// The paths of files that only a process that runs has.
    var leftovers: [String] {
        [socket, pidFile].filter { path in
            var status = stat()
            return lstat(path, &status) == 0
        }
    }

    /// Waits until the pid file has a process's number; nil if that takes too long.
    ///
    /// - Parameter old: the number that a process before left in it.
    func daemon(otherThan old: pid_t? = nil) -> pid_t? {
        for _ in 0..<6000 {
            let text = (try? String(contentsOfFile: pidFile, encoding: .utf8)) ?? ""
            if text.hasSuffix("\n"), let number = pid_t(text.dropLast()), number != old { return number }
            usleep(5000)
        }
        return nil
    }

    /// The settings that a pseudo terminal begins with.
    static let freshTerminal: termios? = {
        var (main, terminal) = (Int32(-1), Int32(-1))
        guard openpty(&main, &terminal, nil, nil, nil) == 0 else { return nil }
        defer {
            close(main)
            close(terminal)
        }
        var settings = termios()
        return tcgetattr(terminal, &settings) == 0 ? settings : nil
    }()

    /// Whether a program has left its pseudo terminal as it was.
    static func isTerminalInOrder(of process: ChildProcess) -> Bool {
        guard let fresh = freshTerminal, let now = process.terminalSettings else { return false }
        return fresh.c_iflag == now.c_iflag && fresh.c_oflag == now.c_oflag && fresh.c_cflag == now.c_cflag
            && fresh.c_lflag == now.c_lflag
    }

    /// Whether a process of which nobody here is the parent has ended: it is gone, or nobody has asked for its status.
    static func hasEnded(_ process: pid_t) -> Bool {
        if kill(process, 0) < 0 { return errno == ESRCH }
        // A file of no size, which some versions of Foundation take for an empty one unless it is read to its end.
        guard let status = try? FileHandle(forReadingAtPath: "/proc/\(process)/stat")?.readToEnd() else { return true }
        // The state follows the name in parentheses (proc(5)).
        let state = String(decoding: status, as: UTF8.self).split(separator: ")").last?.first { $0 != " " }
        return state == "Z" || state == "X"
    }

    static func waitForEnd(of process: pid_t) -> Bool {
        for _ in 0..<12_000 {
            if hasEnded(process) { return true }
            usleep(5000)
        }
        return false
    }
}

/// What a guest of a few instructions says on its serial port once it runs.
let guestGreeting = "!"
