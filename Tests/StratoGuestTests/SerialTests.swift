import Foundation
import Glibc
import Testing

extension GuestTests {
    @Suite("Serial port")
    struct SerialTests {
        private let directory: ScratchDirectory

        init() throws { directory = try ScratchDirectory() }

        @Test("What is typed reaches the guest as it was, and what it prints comes back as it was", .full)
        func bothWays() throws {
            let root = try DiskImage.rootFileSystem(in: directory)
            try GuestMachine.run(GuestSetup.checking("echo-console", root: root), in: directory) { guest in
                try guest.waitFor("GUEST-CHECK echo-console ready")
                let line = String((33...126).map { Character(UnicodeScalar(UInt8($0))) }).replacingOccurrences(of: "\\", with: "")
                try guest.type(line)
                let report = try guest.finishChecks()
                #expect(report.results("echo-console").last?.text == "echo-console line=\(line)")
            }
        }

        @Test("A guest boots without anybody at its input, and with its end", .full, arguments: [true, false])
        func endOfInput(_ isClosed: Bool) throws {
            let root = try DiskImage.rootFileSystem(in: directory)
            try GuestMachine.run(GuestSetup.checking("up", root: root), in: directory) { guest in
                if isClosed { guest.process.closeInput() }
                _ = try guest.finishChecks()
            }
        }

        @Test("A megabyte of input at a guest that does not read it is not taken, and no memory grows by it", .full)
        func floodAtStoppedGuest() throws {
            var setup = GuestSetup.shell(root: try DiskImage.rootFileSystem(in: directory))
            setup.hasQMP = true
            try GuestMachine.run(setup, in: directory) { guest in
                let monitor = try guest.connectQMP()
                try guest.waitForShell()
                try monitor.execute("stop")
                let before = try ProcessStatistics.allocatedBesideGuest(guest.process.identifier)
                let flood = [UInt8](repeating: UInt8(ascii: "\n"), count: 1 << 20)
                let taken = guest.process.offer(flood, within: 2)
                // A pipe holds 64 KiB; what the monitor keeps of it is a small part of that.
                #expect(taken <= 80 << 10, "\(taken) bytes were taken")
                let after = try ProcessStatistics.allocatedBesideGuest(guest.process.identifier)
                #expect(after <= before + 96, "\(before) KiB became \(after)")
                #expect(try monitor.status() == "paused")
                try monitor.execute("cont")
                // The shell answers each of the lines with its prompt.
                try guest.waitForShell()
                try monitor.execute("quit")
                try guest.waitForEnd()
            }
        }

        @Test("A running guest is flooded with input: it goes on, all is taken, and the monitor does not grow", .full)
        func floodAtRunningGuest() throws {
            var setup = GuestSetup.shell(root: try DiskImage.rootFileSystem(in: directory))
            setup.hasQMP = true
            try GuestMachine.run(setup, in: directory) { guest in
                let monitor = try guest.connectQMP()
                try guest.waitForShell()
                // Without a line that tells the sender to wait, what the guest has no room for is lost, as on real ports.
                try guest.type("(while sleep 1; do echo al'ive'; done) & stty -echo raw; cat >/dev/null")
                try guest.waitFor("alive")
                let before = try ProcessStatistics.allocatedBesideGuest(guest.process.identifier)
                // Linux's driver gives up after 128 KiB in one interrupt, and takes the rest in the next.
                let flood = [UInt8](repeating: UInt8(ascii: "x"), count: 384 << 10)
                let taken = guest.process.offer(flood, within: Patience.guest)
                #expect(taken == flood.count)
                let after = try ProcessStatistics.allocatedBesideGuest(guest.process.identifier)
                #expect(after <= before + 96, "\(before) KiB became \(after)")
                let count = guest.serial.byteCount
                #expect(guest.serial.grows(beyond: count, within: Patience.guest))
                #expect(try monitor.status() == "running")
                try monitor.execute("quit")
                try guest.waitForEnd()
            }
        }

        @Test("A file takes the guest's output, and nothing is read from standard input", .full)
        func file() throws {
            let output = directory.file("serial.log")
            var setup = GuestSetup.checking("up", root: try DiskImage.rootFileSystem(in: directory))
            setup.serial = "file,path=\(output)"
            try GuestMachine.run(setup, in: directory) { guest in
                try guest.waitForEnd(within: Patience.guest)
                #expect(guest.serial.text.isEmpty)
                #expect(GuestCheckReport(try String(contentsOfFile: output, encoding: .utf8)).hasPassed)
            }
        }

        @Test("A pseudo terminal is told by QMP, and whoever opens it talks to the guest", .full)
        func pseudoTerminal() throws {
            var setup = GuestSetup.shell(root: try DiskImage.rootFileSystem(in: directory))
            setup.serial = "pty"
            setup.hasQMP = true
            try GuestMachine.run(setup, in: directory) { guest in
                let monitor = try guest.connectQMP()
                let devices = try #require(try monitor.execute("query-chardev") as? [[String: Any]])
                let name = try #require(devices.compactMap { $0["filename"] as? String }.first { $0.hasPrefix("pty:") })
                try talk(by: SerialClient(terminal: String(name.dropFirst(4))))
                try monitor.execute("quit")
                try guest.waitForEnd()
            }
        }

        @Test("A socket takes one client after the other, and is gone with the monitor", .full)
        func socket() throws {
            let path = directory.file("serial.sock")
            var setup = GuestSetup.shell(root: try DiskImage.rootFileSystem(in: directory))
            setup.serial = "socket,path=\(path),server,nowait"
            setup.hasQMP = true
            try GuestMachine.run(setup, in: directory) { guest in
                let monitor = try guest.connectQMP()
                // The machine is there once this is answered, and so is its socket.
                #expect(try monitor.execute("query-chardev") is [Any])
                for _ in 1...2 { try talk(by: SerialClient(socket: path)) }
                try monitor.execute("quit")
                try guest.waitForEnd()
                #expect(!FileManager.default.fileExists(atPath: path))
            }
        }

        private func talk(by client: SerialClient) throws {
            // What the guest said before may have gone to nobody: a new line gets a new prompt.
            try client.type("")
            try client.waitFor("# ")
            try client.type("echo heard-$((20 + 22))")
            try client.waitFor("heard-42")
        }
    }
}
