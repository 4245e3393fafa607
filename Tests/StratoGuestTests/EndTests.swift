import CStratoLinux
import Foundation
import Glibc
import Testing

/// One way for a machine to end.
struct EndCase: Sendable, CustomTestStringConvertible {
    enum Trigger: Sendable {
        /// What the guest does once its checks are through: `guest_end=`.
        case guest(String)
        case signal(Int32)
        case command(String)
        /// A command that asks a guest which waits for its power button.
        case powerButton
    }

    let name: String
    let trigger: Trigger
    var words: [String] = []
    let reason: String
    let isByGuest: Bool
    var status: Int32 = 0

    var testDescription: String { name }

    /// Reasons are QEMU's: `ShutdownCause` of its QMP reference.
    static let all =
        byGuest + [
            EndCase(name: "SIGTERM", trigger: .signal(SIGTERM), reason: "host-signal", isByGuest: false),
            EndCase(name: "SIGINT", trigger: .signal(SIGINT), reason: "host-signal", isByGuest: false),
            EndCase(name: "SIGHUP", trigger: .signal(SIGHUP), reason: "host-signal", isByGuest: false),
            EndCase(name: "quit", trigger: .command("quit"), reason: "host-qmp-quit", isByGuest: false),
        ]
}

extension GuestTests {
    @Suite("Every way to end")
    struct EndTests {
        private let directory: ScratchDirectory

        init() throws { directory = try ScratchDirectory() }

        @Test(
            "Each way to end has its reason in the SHUTDOWN event, its exit status, and leaves no socket",
            .full, arguments: EndCase.all)
        func ends(_ end: EndCase) throws {
            let check: String
            var guestEnd = "none"
            switch end.trigger {
            case .guest(let how): (check, guestEnd) = ("up", how)
            case .powerButton: (check, guestEnd) = ("wait-power-button", "poweroff")
            case .signal, .command: check = "idle"
            }
            var setup = GuestSetup.checking(check, root: try DiskImage.rootFileSystem(in: directory), end: guestEnd)
            setup.hasQMP = true
            setup.words += end.words
            try GuestMachine.run(setup, in: directory) { guest in
                let monitor = try guest.connectQMP()
                switch end.trigger {
                case .guest: break
                case .powerButton:
                    try guest.waitFor("GUEST-CHECK wait-power-button ready")
                    try monitor.execute("system_powerdown")
                    _ = try monitor.waitForEvent("POWERDOWN")
                case .signal(let number):
                    try guest.waitFor("GUEST-CHECK idle begin")
                    guest.process.send(signal: number)
                case .command(let command):
                    try guest.waitFor("GUEST-CHECK idle begin")
                    try monitor.execute(command)
                }
                let event = try monitor.waitForEvent("SHUTDOWN", within: Patience.guest)
                #expect(event.reason == end.reason)
                #expect(event.isByGuest == end.isByGuest)
                try guest.waitForEnd(.exited(end.status))
                monitor.drain()
                #expect(monitor.events.last?.name == "SHUTDOWN")
                #expect(!FileManager.default.fileExists(atPath: guest.qmpSocket))
            }
        }

        @Test("`system_reset` starts the guest anew: the same kernel boots again, and the disk keeps what was flushed", .full)
        func systemReset() throws {
            var setup = GuestSetup.shell(root: try DiskImage.rootFileSystem(in: directory))
            setup.hasQMP = true
            setup.processors = "2"
            try GuestMachine.run(setup, in: directory) { guest in
                let monitor = try guest.connectQMP()
                try guest.waitForShell()
                try guest.type("echo kept >/kept && sync && echo synced-$((1 + 1))")
                try guest.waitFor("synced-2")
                try guest.waitForShell()
                try monitor.execute("system_reset")
                let event = try monitor.waitForEvent("RESET")
                #expect(event.isByGuest == false)
                #expect(event.reason == "host-qmp-system-reset")
                try guest.waitForShell()
                try guest.type("cat /kept; cut -d. -f1 /proc/uptime | sed 's/^/uptime=/'; grep -c ^processor /proc/cpuinfo")
                try guest.waitFor("kept\r\n")
                try guest.waitFor("uptime=")
                try guest.waitFor("2\r\n")
                #expect(try monitor.status() == "running")
                try monitor.execute("quit")
                #expect(try monitor.waitForEvent("SHUTDOWN").reason == "host-qmp-quit")
                try guest.waitForEnd()
            }
        }

        @Test("A guest that is started anew many times leaves the monitor as it was", .full)
        func manyResets() throws {
            var setup = GuestSetup.shell(root: try DiskImage.rootFileSystem(in: directory))
            setup.hasQMP = true
            try GuestMachine.run(setup, in: directory) { guest in
                let monitor = try guest.connectQMP()
                try guest.waitForShell()
                func descriptors() throws -> Int {
                    try FileManager.default.contentsOfDirectory(atPath: "/proc/\(guest.process.identifier)/fd").count
                }
                let before = try descriptors()
                for _ in 1...5 {
                    try monitor.execute("system_reset")
                    _ = try monitor.waitForEvent("RESET")
                    try guest.waitForShell()
                }
                #expect(try descriptors() == before)
                try monitor.execute("quit")
                try guest.waitForEnd()
            }
        }

        @Test(
            "A terminal is raw while the guest runs, has its settings back after the guest's end, and Ctrl-a x ends the machine",
            .full)
        func terminal() throws {
            var setup = GuestSetup.shell(root: try DiskImage.rootFileSystem(in: directory))
            setup.terminal = .pseudoTerminal
            try GuestMachine.run(setup, in: directory) { guest in
                try guest.waitForShell()
                let raw = try #require(guest.process.terminalSettings)
                #expect(raw.c_lflag & tcflag_t(ICANON | ECHO | ISIG) == 0)
                // Ctrl-c is the guest's.
                // While the shell itself reads, the character would be one of its line.
                try guest.type("sh -c 'echo asleep-$((1 + 1)); exec sleep 1000'")
                try guest.waitFor("asleep-2")
                try guest.process.write("\u{3}")
                try guest.waitForShell()
                try guest.process.write("\u{1}x")
                try guest.waitForEnd()
                let restored = try #require(guest.process.terminalSettings)
                #expect(restored.c_lflag & tcflag_t(ICANON | ECHO | ISIG) == tcflag_t(ICANON | ECHO | ISIG))
                #expect(restored.c_iflag & tcflag_t(ICRNL) != 0)
            }
        }

        @Test("A terminal has its settings back after SIGTERM", .full)
        func terminalAfterSignal() throws {
            var setup = GuestSetup.shell(root: try DiskImage.rootFileSystem(in: directory))
            setup.terminal = .pseudoTerminal
            try GuestMachine.run(setup, in: directory) { guest in
                try guest.waitForShell()
                guest.process.send(signal: SIGTERM)
                try guest.waitForEnd()
                let restored = try #require(guest.process.terminalSettings)
                #expect(restored.c_lflag & tcflag_t(ICANON | ECHO | ISIG) == tcflag_t(ICANON | ECHO | ISIG))
            }
        }
    }
}
