import Foundation
import Glibc
import Testing

extension GuestTests {
    /// Linux guests on disks that fail: what they were told is flushed is there, and what failed they were told.
    @Suite("Disks that fail")
    struct FaultTests {
        private let directory: ScratchDirectory

        init() throws { directory = try ScratchDirectory() }

        static let modes = [
            DiskMode(options: ["direct=off", "aio=off"]),
            DiskMode(options: ["direct=off", "aio=threads"]),
            DiskMode(options: ["direct=on", "aio=native"]),
            DiskMode(options: ["direct=on", "aio=io_uring"]),
            DiskMode(options: ["direct=off", "aio=io_uring"]),
        ]

        /// One block of the guest's file of a known content.
        private static let block = Data(String(repeating: "stratovirt\n", count: 400).utf8.prefix(4096))
        private static let makeBlock = "yes stratovirt | head -c 4096 >/tmp/block"
        /// Writes and flushes block after block, and tells each that was, until one fails.
        private static let fill = """
            i=0; while dd if=/tmp/block of=/dev/vdb bs=4k count=1 seek=$i conv=fsync,notrunc 2>/tmp/error; \
            do echo wrote-$i-; i=$((i + 1)); done; tail -n 1 /tmp/error; echo full-$((1 + 1))
            """

        private func shell(_ disk: DiskImage, _ mode: DiskMode) throws -> GuestSetup {
            var setup = GuestSetup.shell(root: try DiskImage.rootFileSystem(in: directory))
            setup.disks.append(GuestDisk(image: disk, options: mode.options, deviceOptions: mode.deviceOptions))
            return setup
        }

        private func powerOff(_ guest: GuestMachine) throws {
            try guest.type("poweroff -f")
            try guest.waitForEnd()
        }

        /// Types a command and waits for what it says at its end.
        private func run(_ command: String, until word: String, _ guest: GuestMachine) throws {
            try guest.type(command)
            try guest.waitFor(word)
        }

        /// The blocks that the guest said are flushed.
        private func written(_ guest: GuestMachine) -> Int {
            guest.serial.text.matches(of: /wrote-([0-9]+)-/).compactMap { Int($0.output.1) }.max().map { $0 + 1 } ?? 0
        }

        private func expectBlocks(_ count: Int, in image: DiskImage) throws {
            for index in 0..<count {
                #expect(try image.read(at: UInt64(index * 4096), count: 4096) == FaultTests.block, "block \(index)")
            }
        }

        @Test(
            "On a full file system a write is an I/O error in the guest, what was flushed is there, and with room again it goes on",
            .full, .enabled(if: canUse("mke2fs", "losetup", "mount"), "needs root and e2fsprogs"), arguments: modes)
        func fullFileSystem(_ mode: DiskMode) throws {
            let container = directory.file("container")
            let mountPoint = directory.file("mounted")
            try HostTool.check("truncate", ["-s", "16M", container])
            try HostTool.check("mke2fs", ["-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", container])
            try FileManager.default.createDirectory(atPath: mountPoint, withIntermediateDirectories: false)
            let device = try HostTool.check("losetup", ["-f"]).trimmingCharacters(in: .newlines)
            try HostTool.check("losetup", [device, container])
            defer { _ = try? HostTool.run("losetup", ["-d", device]) }
            try HostTool.check("mount", ["-t", "ext4", device, mountPoint])
            defer { _ = try? HostTool.run("umount", [mountPoint]) }
            let image = DiskImage(path: mountPoint + "/disk")
            try HostTool.check("truncate", ["-s", "32M", image.path])
            // All room but 64 KiB is taken.
            let filler = mountPoint + "/filler"
            _ = try HostTool.run("dd", ["if=/dev/zero", "of=\(filler)", "bs=4096"])
            try HostTool.check("truncate", ["-s", "-65536", filler])
            try HostTool.check("sync", [])
            try GuestMachine.run(shell(image, mode), in: directory) { guest in
                try guest.waitForShell()
                try run(FaultTests.makeBlock, until: "# ", guest)
                try run(FaultTests.fill, until: "full-2", guest)
                #expect(guest.serial.text.contains("I/O error") || guest.serial.text.contains("Input/output error"))
                let count = written(guest)
                #expect(count > 0 && count < 40, "\(count) blocks")
                let errors = guest.process.errors.text
                #expect(errors.contains("of \(image.path): No space left on device"), "\(errors)")
                try run(
                    "dd if=/dev/vdb of=/dev/null bs=4k count=1 iflag=direct 2>/dev/null && echo read-$((1 + 1))", until: "read-2",
                    guest)
                try HostTool.check("rm", [filler])
                try run(
                    "dd if=/tmp/block of=/dev/vdb bs=4k count=1 seek=$i conv=fsync,notrunc && echo again-$((1 + 1))",
                    until: "again-2", guest)
                try powerOff(guest)
                try expectBlocks(count + 1, in: image)
            }
        }

        @Test(
            "A disk that answers with EIO does so to the guest; with the page cache in between flushes fail from then on",
            .full, .enabled(if: canUse("dmsetup", "losetup", "modprobe"), "needs root, dmsetup and kmod"), arguments: modes)
        func failingDevice(_ mode: DiskMode) throws {
            let name = "stratovirt-test"
            let modules = try HostTool.run("modprobe", ["dm-mod"])
            guard modules.status == 0 || FileManager.default.fileExists(atPath: "/dev/mapper/control") else {
                throw GuestFailure("this kernel has no device mapper: \(modules.errors)")
            }
            let image = try DiskImage.empty(in: directory, name: "data", mebibytes: 8)
            let loop = try HostTool.check("losetup", ["-f"]).trimmingCharacters(in: .newlines)
            try HostTool.check("losetup", [loop, image.path])
            defer { _ = try? HostTool.run("losetup", ["-d", loop]) }
            let sound = "0 16384 linear \(loop) 0"
            func dmsetup(_ arguments: String...) throws -> String {
                try HostTool.check("dmsetup", ["--noudevsync", "--noudevrules"] + arguments)
            }
            func replace(_ table: String) throws {
                _ = try dmsetup("suspend", name)
                _ = try dmsetup("load", name, "--table", table)
                _ = try dmsetup("resume", name)
            }
            _ = try dmsetup("create", name, "--table", sound)
            defer { _ = try? HostTool.run("dmsetup", ["--noudevsync", "remove", "--retry", name]) }
            let minor = try dmsetup("info", "-c", "--noheadings", "-o", "minor", name)
                .trimmingCharacters(in: .whitespacesAndNewlines)
            let device = DiskImage(path: "/dev/dm-\(minor)")
            let isDirect = mode.options.contains("direct=on")
            let write = "dd if=/tmp/block of=/dev/vdb bs=4k count=1 seek=100 conv=fsync,notrunc 2>/tmp/error"
            var count = 0
            try GuestMachine.run(shell(device, mode), in: directory) { guest in
                try guest.waitForShell()
                try run(FaultTests.makeBlock, until: "# ", guest)
                try guest.type(FaultTests.fill)
                try guest.waitFor("wrote-5-")
                try replace("0 16384 error")
                try guest.waitFor("full-2")
                count = written(guest)
                #expect(guest.serial.text.contains("I/O error") || guest.serial.text.contains("Input/output error"))
                let errors = guest.process.errors.text
                #expect(errors.contains("\(device.path): Input/output error"), "\(errors)")
                if isDirect {
                    try run(
                        "dd if=/dev/vdb of=/dev/null bs=4k count=1 skip=200 iflag=direct 2>/dev/null || echo unread-$((1 + 1))",
                        until: "unread-2", guest)
                }
                try replace(sound)
                try run("\(write) && echo flushed-$((1 + 1)) || echo failed-$((1 + 1))", until: "ed-2", guest)
                #expect(guest.serial.text.contains(isDirect ? "flushed-2" : "failed-2"), "\(guest.serial.tail())")
                try run(
                    "dd if=/dev/vdb of=/dev/null bs=4k count=1 skip=300 iflag=direct 2>/dev/null && echo read-$((1 + 1))",
                    until: "read-2", guest)
                try powerOff(guest)
            }
            #expect(count >= 6)
            _ = try dmsetup("remove", "--retry", name)
            try HostTool.check("sync", [])
            try expectBlocks(count, in: image)
        }

        @Test("An image that is cut under a running guest is read as far as it goes, and fails behind", .full, arguments: modes)
        func cutImage(_ mode: DiskMode) throws {
            let data = try DiskImage.patterned(in: directory, name: "data", mebibytes: 8, seed: 21)
            let expected = try data.checksum(first: 4 << 20)
            try GuestMachine.run(shell(data, mode), in: directory) { guest in
                try guest.waitForShell()
                try HostTool.check("truncate", ["-s", "4M", data.path])
                try run(
                    "dd if=/dev/vdb bs=1M count=4 iflag=direct 2>/dev/null | sha256sum; echo summed-$((1 + 1))",
                    until: "summed-2",
                    guest)
                #expect(guest.serial.text.contains(expected), "\(guest.serial.tail())")
                try run(
                    "dd if=/dev/vdb of=/dev/null bs=1M skip=5 count=1 iflag=direct || echo unread-$((1 + 1))", until: "unread-2",
                    guest)
                let errors = guest.process.errors.text
                #expect(errors.contains("of \(data.path): Input/output error"), "\(errors)")
                try powerOff(guest)
            }
        }
    }
}

private func canUse(_ tools: String...) -> Bool {
    getuid() == 0
        && tools.allSatisfy { tool in
            ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].contains { FileManager.default.isExecutableFile(atPath: "\($0)/\(tool)") }
        }
}
