import Foundation
import Glibc
import Testing

extension GuestTests {
    @Suite("Management of a running guest")
    struct ManagementTests {
        private let directory: ScratchDirectory

        init() throws { directory = try ScratchDirectory() }

        @Test("QMP: greeting, negotiation, status, stop, cont and quit, seen by the client and by the guest", .short)
        func lifeCycle() throws {
            var setup = GuestSetup.shell(root: try DiskImage.rootFileSystem(in: directory))
            setup.hasQMP = true
            try GuestMachine.run(setup, in: directory) { guest in
                let monitor = try guest.connectQMP()
                let version = try #require(monitor.greeting["version"] as? [String: Any])
                #expect(version["package"] as? String == "StratoVirt-2.5.0")
                #expect((version["qemu"] as? [String: Any])?["major"] as? Int == 5)
                try guest.waitForShell()
                #expect(try monitor.status() == "running")
                // A guest that never rests: were it to run on, it would show.
                try guest.type("n=0; while :; do echo tick-$n; n=$((n + 1)); done")
                try guest.waitFor("tick-5")
                let thread = try #require(try Self.processorThreads(monitor).first)

                try monitor.execute("stop")
                _ = try monitor.waitForEvent("STOP")
                #expect(try monitor.status() == "paused")
                #expect(guest.serial.settles(for: 1, within: Patience.monitor))
                let ticks = try #require(ProcessStatistics.processorTicks(of: thread, in: guest.process.identifier))
                let count = guest.serial.byteCount
                #expect(!guest.serial.grows(beyond: count, within: 2))
                #expect(ProcessStatistics.processorTicks(of: thread, in: guest.process.identifier) == ticks)

                try monitor.execute("cont")
                _ = try monitor.waitForEvent("RESUME")
                #expect(try monitor.status() == "running")
                #expect(guest.serial.grows(beyond: count, within: Patience.guest))
                // The guest goes on where it was: no line is missing.
                let last = Self.ticks(guest).last ?? 0
                try guest.waitFor("tick-\(last + 50)\r\n")
                let seen = Self.ticks(guest)
                #expect(seen == Array(0..<seen.count))

                try monitor.execute("quit")
                let event = try monitor.waitForEvent("SHUTDOWN")
                #expect(event.reason == "host-qmp-quit")
                #expect(event.isByGuest == false)
                try guest.waitForEnd()
            }
        }

        @Test("A daemon's guest goes on when the command has returned, and its files are gone when it has ended", .full)
        func daemon() throws {
            var setup = GuestSetup.checking("idle", root: try DiskImage.rootFileSystem(in: directory), end: "none")
            let serial = directory.file("serial.log")
            let pidFile = directory.file("pid")
            setup.serial = "file,path=\(serial)"
            setup.hasQMP = true
            setup.options = ["-daemonize", "-pidfile", pidFile]
            try GuestMachine.run(setup, in: directory) { guest in
                try guest.waitForEnd()
                let text = try String(contentsOfFile: pidFile, encoding: .utf8).trimmingCharacters(in: .whitespacesAndNewlines)
                let process = try #require(pid_t(text))
                #expect(process != guest.process.identifier)
                defer { Glibc.kill(process, SIGKILL) }
                let monitor = try QMPConnection(path: guest.qmpSocket)
                try monitor.negotiate()
                #expect(try monitor.status() == "running")
                let deadline = Date(timeIntervalSinceNow: Patience.guest)
                while try !String(contentsOfFile: serial, encoding: .utf8).contains("GUEST-CHECK"), Date() < deadline {
                    usleep(100_000)
                }
                #expect(try String(contentsOfFile: serial, encoding: .utf8).contains("GUEST-CHECK"))
                try monitor.execute("quit")
                #expect(try monitor.waitForEvent("SHUTDOWN").reason == "host-qmp-quit")
                let end = Date(timeIntervalSinceNow: Patience.monitor)
                while Glibc.kill(process, 0) == 0, Date() < end { usleep(20_000) }
                #expect(Glibc.kill(process, 0) != 0, "the daemon still runs")
                #expect(!FileManager.default.fileExists(atPath: pidFile))
                #expect(!FileManager.default.fileExists(atPath: guest.qmpSocket))
            }
        }

        /// The numbers of whole lines `tick-N`, without the last, which may be in the making.
        private static func ticks(_ guest: GuestMachine) -> [Int] {
            let text = guest.serial.text
            guard let end = text.lastIndex(where: \.isNewline) else { return [] }
            return text[..<end].split(whereSeparator: \.isNewline).compactMap { line in
                line.hasPrefix("tick-") ? Int(line.dropFirst(5)) : nil
            }
        }

        private static func processorThreads(_ monitor: QMPConnection) throws -> [Int] {
            let processors = try monitor.execute("query-cpus-fast") as? [[String: Any]]
            return (processors ?? []).compactMap { $0["thread-id"] as? Int }
        }

        @Test("What QMP tells of processors, disks and serial port is what the guest was given", .full)
        func queries() throws {
            var setup = GuestSetup.checking("idle", root: try DiskImage.rootFileSystem(in: directory))
            setup.hasQMP = true
            setup.processors = "4,sockets=2,cores=2,threads=1"
            setup.options = ["-name", "guest-under-test"]
            try GuestMachine.run(setup, in: directory) { guest in
                let monitor = try guest.connectQMP()
                try guest.waitFor("GUEST-CHECK idle begin")
                let threads = try Self.processorThreads(monitor)
                #expect(Set(threads).count == 4)
                for thread in threads {
                    #expect(ProcessStatistics.processorTicks(of: thread, in: guest.process.identifier) != nil)
                }
                let name = try monitor.execute("query-name") as? [String: Any]
                #expect(name?["name"] as? String == "guest-under-test")
                let kvm = try monitor.execute("query-kvm") as? [String: Any]
                #expect(kvm?["enabled"] as? Bool == true)
                #expect(try (monitor.execute("query-block") as? [[String: Any]])?.count == 1)
                #expect(try (monitor.execute("query-chardev") as? [[String: Any]])?.isEmpty == false)
                let text = try monitor.execute("human-monitor-command", ["command-line": "info status"]) as? String
                #expect(text?.contains("running") == true)
                #expect(throws: QMPFailure.self) { try monitor.execute("no-such-command") }
                try monitor.execute("quit")
                try guest.waitForEnd()
            }
        }

        @Test("Two clients drive one guest, each is told every event, and one that goes away is not missed", .full)
        func twoClients() throws {
            var setup = GuestSetup.checking("idle", root: try DiskImage.rootFileSystem(in: directory))
            setup.hasQMP = true
            try GuestMachine.run(setup, in: directory) { guest in
                let first = try guest.connectQMP()
                do {
                    let second = try guest.connectQMP()
                    try guest.waitFor("GUEST-CHECK idle begin")
                    try second.execute("stop")
                    _ = try second.waitForEvent("STOP")
                    _ = try first.waitForEvent("STOP")
                }
                try first.execute("cont")
                _ = try first.waitForEvent("RESUME")
                try first.execute("quit")
                #expect(try first.waitForEvent("SHUTDOWN").reason == "host-qmp-quit")
                try guest.waitForEnd()
            }
        }

        @Test("Stop and cont, twenty times while a guest writes: every byte on the disk is right", .full, arguments: ["1", "2"])
        func stopAndContinueUnderLoad(_ processors: String) throws {
            let root = try DiskImage.rootFileSystem(in: directory)
            let data = try DiskImage.empty(in: directory, name: "data", mebibytes: 24)
            var setup = GuestSetup.checking("up", "disk-write", "disk-read", root: root)
            setup.disks.append(GuestDisk(image: data))
            setup.words += ["guest_disk=vdb", "guest_mb=24"]
            setup.processors = processors
            setup.hasQMP = true
            try GuestMachine.run(setup, in: directory) { guest in
                let monitor = try guest.connectQMP()
                try guest.waitFor("GUEST-CHECK up")
                for _ in 1...20 {
                    try monitor.execute("stop")
                    _ = try monitor.waitForEvent("STOP")
                    #expect(try monitor.status() == "paused")
                    try monitor.execute("cont")
                    _ = try monitor.waitForEvent("RESUME")
                }
                let report = try guest.finishChecks()
                let written = try #require(report.result("disk-write")?["sha256"])
                #expect(report.result("disk-read")?["sha256"] == written)
                #expect(try data.checksum() == written)
            }
        }

        @Test("A guest under load is held while it is stopped: not a byte of the disk changes", .full)
        func nothingIsWrittenWhileStopped() throws {
            let root = try DiskImage.rootFileSystem(in: directory)
            let data = try DiskImage.empty(in: directory, name: "data", mebibytes: 8)
            var setup = GuestSetup.checking("write-forever", root: root)
            setup.disks.append(GuestDisk(image: data))
            setup.words += ["guest_disk=vdb"]
            setup.hasQMP = true
            try GuestMachine.run(setup, in: directory) { guest in
                let monitor = try guest.connectQMP()
                try guest.waitFor("write-forever record=3")
                try monitor.execute("stop")
                _ = try monitor.waitForEvent("STOP")
                let before = try data.checksum()
                #expect(guest.serial.settles(for: 1, within: Patience.monitor))
                #expect(try data.checksum() == before)
                try monitor.execute("cont")
                let last = GuestCheckReport(guest.serial.text).results("write-forever").last?.integer("record") ?? 0
                try guest.waitFor("write-forever record=\(last + 3)")
                try monitor.execute("quit")
                try guest.waitForEnd()
                #expect(try data.checksum() != before)
            }
        }

        private static let noClient: Comment = "STRATOVIRT_QMP_PYTHON names no Python with qemu.qmp"

        @Test(
            "QEMU's own client, the PyPI package qemu.qmp, drives a running guest", .short,
            .enabled(if: GuestEnvironment.pythonWithQMP != nil || GuestEnvironment.isUnattended, noClient),
            .enabled(if: GuestArchitecture.hasACPI, "a microVM of this architecture has no power button"))
        func independentClient() throws {
            let python = try #require(GuestEnvironment.pythonWithQMP, Self.noClient)
            var setup = GuestSetup.checking("wait-power-button", root: try DiskImage.rootFileSystem(in: directory))
            setup.hasQMP = true
            try GuestMachine.run(setup, in: directory) { guest in
                try guest.waitFor("GUEST-CHECK wait-power-button ready")
                let script = GuestEnvironment.sourceRoot + "/Lab/drive-with-qemu-qmp"
                let output = try HostTool.check(python, [script, guest.qmpSocket])
                let lines = output.split(separator: "\n").map(String.init)
                #expect(
                    lines == [
                        "status running", "stop STOP", "status paused", "cont RESUME", "status running",
                        "error CommandNotFound", "system_powerdown POWERDOWN", "end guest-shutdown",
                    ])
                _ = try guest.finishChecks()
            }
        }
    }
}
