import Foundation
import Glibc
import Testing

/// How a disk's requests reach its file.
struct DiskMode: Sendable, CustomTestStringConvertible {
    let options: [String]
    var deviceOptions: [String] = []
    var monitorOptions: [String] = []

    var testDescription: String { (options + deviceOptions).joined(separator: ",") }

    static let all = [
        DiskMode(options: ["direct=off", "aio=off"]),
        DiskMode(options: ["direct=off", "aio=threads"]),
        DiskMode(options: ["direct=on", "aio=threads"]),
        DiskMode(options: ["direct=on", "aio=native"]),
        DiskMode(options: ["direct=on", "aio=io_uring"]),
        DiskMode(options: ["direct=off", "aio=io_uring"]),
        DiskMode(options: ["direct=off"], deviceOptions: ["num-queues=2", "queue-size=64"]),
        DiskMode(
            options: ["direct=off", "aio=threads"], deviceOptions: ["iothread=disks", "num-queues=4"],
            monitorOptions: ["-object", "iothread,id=disks"]),
        DiskMode(
            options: ["direct=on", "aio=io_uring"], deviceOptions: ["iothread=disks", "num-queues=4"],
            monitorOptions: ["-object", "iothread,id=disks", "-mem-prealloc"]),
    ]
}

extension GuestTests {
    @Suite("Disks")
    struct DiskTests {
        private let directory: ScratchDirectory

        init() throws { directory = try ScratchDirectory() }

        @Test("What a guest wrote to its file system is on the host after a clean power-off, checksum by checksum", .short)
        func cleanPowerOff() throws {
            let root = try DiskImage.rootFileSystem(in: directory)
            try GuestMachine.run(GuestSetup.checking("disk-write", "disk-read", root: root), in: directory) { guest in
                let report = try guest.finishChecks()
                let written = try #require(report.result("disk-write")?["sha256"])
                #expect(report.result("disk-read")?["sha256"] == written)
                let file = try root.extract("/guest-check.data", to: directory)
                #expect(try file.checksum() == written)
                #expect(try root.fileSystemErrors(replaysJournal: false) == nil)
            }
        }

        @Test(
            "What a guest was told is flushed survives a kill of the monitor, all of it: raw disk",
            .full, arguments: DiskMode.all.prefix(6))
        func killedMonitorRawDisk(_ mode: DiskMode) throws {
            let root = try DiskImage.rootFileSystem(in: directory)
            let data = try DiskImage.empty(in: directory, name: "data", mebibytes: 8)
            var setup = GuestSetup.checking("write-forever", root: root)
            setup.disks.append(GuestDisk(image: data, options: mode.options, deviceOptions: mode.deviceOptions))
            setup.words += ["guest_disk=vdb"]
            let announced = try killAfterRecords(setup)
            try expectRecords(announced, in: data)
        }

        @Test("What a guest was told is flushed survives a kill of the monitor, all of it: file system", .full)
        func killedMonitorFileSystem() throws {
            let root = try DiskImage.rootFileSystem(in: directory)
            let announced = try killAfterRecords(GuestSetup.checking("write-forever", root: root))
            #expect(try root.fileSystemErrors(replaysJournal: true) == nil)
            try expectRecords(announced, in: try root.extract("/guest-check.data", to: directory))
        }

        /// Kills the monitor in the middle of the guest's writing.
        ///
        /// - Returns: the last record that the guest announced as flushed.
        private func killAfterRecords(_ setup: GuestSetup) throws -> Int {
            var announced = -1
            try GuestMachine.run(setup, in: directory) { guest in
                try guest.waitFor("write-forever record=40")
                guest.kill()
                let report = GuestCheckReport(guest.serial.text)
                #expect(report.failures.isEmpty)
                // The last line may have been cut.
                let complete = report.results("write-forever").compactMap { $0.integer("record") }
                announced = complete.dropLast().last ?? -1
            }
            #expect(announced >= 39)
            return announced
        }

        private func expectRecords(_ last: Int, in image: DiskImage) throws {
            let found = try image.read(at: 0, count: (last + 1) * 16)
            let expected = (0...last).map { String(format: "record %08d\n", $0) }.joined()
            #expect(String(decoding: found, as: UTF8.self) == expected)
        }

        @Test("A read-only disk tells the guest so, refuses writes, and its file stays as it was", .full)
        func readOnly() throws {
            let root = try DiskImage.rootFileSystem(in: directory)
            let data = try DiskImage.patterned(in: directory, name: "data", mebibytes: 4, seed: 7)
            let before = try data.checksum()
            // A file that this user could write is the harder case.
            var setup = GuestSetup.checking("disk-readonly", "disk-sum", root: root)
            setup.disks.append(GuestDisk(image: data, isReadOnly: true))
            setup.words += ["guest_disk=vdb"]
            try GuestMachine.run(setup, in: directory) { guest in
                let report = try guest.finishChecks()
                #expect(report.result("disk-readonly")?["ro"] == "1")
                #expect(report.result("disk-sum")?["sha256"] == before)
            }
            #expect(try data.checksum() == before)
        }

        @Test(
            "A block device of the host serves as a file does, with its own size", .full,
            .enabled(if: canMakeBlockDevices, "only root makes loop devices"))
        func blockDevice() throws {
            let root = try DiskImage.rootFileSystem(in: directory)
            let image = try DiskImage.patterned(in: directory, name: "data", mebibytes: 4, seed: 11)
            // In the words that busybox knows as well.
            let device = DiskImage(path: try HostTool.check("losetup", ["-f"]).trimmingCharacters(in: .newlines))
            _ = try HostTool.check("losetup", [device.path, image.path])
            defer { _ = try? HostTool.run("losetup", ["-d", device.path]) }
            let before = try device.checksum()
            var setup = GuestSetup.checking("disk-info", "disk-sum", "disk-write", root: root)
            setup.disks.append(GuestDisk(image: device, options: ["direct=on", "discard=unmap"]))
            setup.words += ["guest_disk=vdb", "guest_mb=4"]
            try GuestMachine.run(setup, in: directory) { guest in
                let report = try guest.finishChecks()
                #expect(report.results("disk-info").last?.integer("sectors") == 4 << 11)
                #expect(report.result("disk-sum")?["sha256"] == before)
                #expect(try report.result("disk-write")?["sha256"] == device.checksum())
            }
        }

        @Test(
            "Disks appear in the order of the command line, four at most, each with its own contents, size and serial number",
            .full)
        func order() throws {
            let root = try DiskImage.rootFileSystem(in: directory)
            var setup = GuestSetup.checking("disk-info", "disk-sum", root: root)
            let sizes = [1, 3, 5]
            for (index, size) in sizes.enumerated() {
                let image = try DiskImage.patterned(in: directory, name: "data\(index)", mebibytes: size, seed: UInt64(index))
                setup.disks.append(GuestDisk(image: image, deviceOptions: ["serial=number-\(index)"]))
            }
            setup.words += ["guest_disk=vdc", "guest_mb=3"]
            try GuestMachine.run(setup, in: directory) { guest in
                let report = try guest.finishChecks()
                let disks = report.results("disk-info")
                #expect(disks.map { $0["name"] } == ["vda", "vdb", "vdc", "vdd"])
                #expect(disks.dropFirst().map { $0.integer("sectors") } == sizes.map { $0 << 11 })
                #expect(disks.dropFirst().map { $0["serial"] } == ["number-0", "number-1", "number-2"])
                #expect(try report.result("disk-sum")?["sha256"] == setup.disks[2].image.checksum())
            }
        }

        @Test(
            "Every way to reach the file gives back what was written, to the guest and to the host",
            .full, arguments: DiskMode.all)
        func modes(_ mode: DiskMode) throws {
            let root = try DiskImage.rootFileSystem(in: directory)
            let data = try DiskImage.empty(in: directory, name: "data", mebibytes: 16)
            var setup = GuestSetup.checking("disk-write", "disk-read", "disk-parallel", "disk-info", root: root)
            setup.disks.append(GuestDisk(image: data, options: mode.options, deviceOptions: mode.deviceOptions))
            setup.options = mode.monitorOptions
            setup.processors = "2"
            setup.words += ["guest_disk=vdb", "guest_mb=16"]
            try GuestMachine.run(setup, in: directory) { guest in
                let report = try guest.finishChecks()
                let written = try #require(report.result("disk-write")?["sha256"])
                #expect(report.result("disk-read")?["sha256"] == written)
                #expect(report.result("disk-parallel")?["sha256"] == written)
                #expect(try data.checksum() == written)
                // By default O_DIRECT is a promise that the log would withdraw, and so is the engine.
                for word in ["O_DIRECT", "threads take over"] {
                    #expect(!guest.process.errors.text.contains(word), "\(guest.process.errors.tail())")
                }
            }
        }
    }
}

private let canMakeBlockDevices = getuid() == 0 && FileManager.default.fileExists(atPath: "/dev/loop-control")
