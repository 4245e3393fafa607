import Foundation
import Testing

extension GuestTests {
    @Suite("Boot")
    struct BootTests {
        private let directory: ScratchDirectory

        init() throws { directory = try ScratchDirectory() }

        @Test("The documented command line, as printed, boots to a shell; leaving the shell ends the monitor with 0", .short)
        func documentedCommandLine() throws {
            let root = try DiskImage.rootFileSystem(in: directory)
            let socket = directory.file("qmp.sock")
            let arguments = [
                "-machine", "microvm", "-kernel", GuestKernel.microVM().path, "-smp", "1", "-m", "1024m",
                "-append", (GuestArchitecture.consoleWords + ["root=/dev/vda"]).joined(separator: " "),
                "-drive", "file=\(root.path),id=rootfs,readonly=off,direct=off", "-device", "virtio-blk-device,drive=rootfs",
                "-qmp", "unix:\(socket),server,nowait", "-serial", "stdio",
            ]
            try GuestMachine.run(arguments, qmpSocket: socket, in: directory) { guest in
                try guest.waitForShell()
                try guest.type("echo guest-$((20 + 22))")
                try guest.waitFor("guest-42")
                try guest.waitForShell()
                try guest.type("exit")
                try guest.waitFor("Kernel panic - not syncing: Attempted to kill init")
                try guest.waitForEnd()
            }
            #expect(!FileManager.default.fileExists(atPath: socket))
        }

        @Test(
            "Every format of our kernel reaches user space from a disk, and powers off",
            .short, arguments: GuestKernel.Format.allCases)
        func formats(_ format: GuestKernel.Format) throws {
            var setup = GuestSetup.checking("up", root: try DiskImage.rootFileSystem(in: directory))
            setup.kernel = .microVM(format)
            try GuestMachine.run(setup, in: directory) { guest in
                let report = try guest.finishChecks()
                #expect(report.result("up")?["acpi"] == (GuestArchitecture.hasACPI ? "yes" : "no"))
            }
        }

        @Test("Every format takes an initial RAM disk, without any disk", .full, arguments: GuestKernel.Format.allCases)
        func initialRamdisk(_ format: GuestKernel.Format) throws {
            var setup = GuestSetup.checking("up", "devices", ramdisk: .busybox)
            setup.kernel = .microVM(format)
            try GuestMachine.run(setup, in: directory) { guest in
                let report = try guest.finishChecks()
                #expect(report.result("up") != nil)
                #expect(report.results("devices").isEmpty)
            }
        }

        @Test(
            "With `-machine microvm,empty-slots=on` the slots without a device are there, and the first disk is still the first",
            .full)
        func emptySlots() throws {
            let root = try DiskImage.rootFileSystem(in: directory)
            var setup = GuestSetup.checking("disk-info", "devices", root: root)
            setup.machine = "microvm,empty-slots=on"
            try GuestMachine.run(setup, in: directory) { guest in
                let report = try guest.finishChecks()
                let disks = report.results("disk-info")
                #expect(disks.map { $0["name"] } == ["vda", "vdb", "vdc", "vdd"])
                #expect(try disks.first?.integer("sectors") == Int(root.read(at: 0, count: .max).count) / 512)
                #expect(disks.dropFirst().allSatisfy { $0["sectors"] == "0" })
                // Four of disks, two of network interfaces, as StratoVirt has them.
                #expect(report.results("devices").filter { $0["id"] == "0x0002" }.count == 4)
            }
        }

        @Test(
            "Our kernels log nothing of level warning or worse about the machine",
            .full, arguments: GuestKernel.ours)
        func cleanKernelLog(_ kernel: GuestKernel) throws {
            let root = try DiskImage.rootFileSystem(in: directory)
            var setup = GuestSetup.checking(
                "disk-write", "dmesg", "dmesg-errors", root: root, end: kernel == .microVM() ? "poweroff" : "reboot")
            setup.kernel = kernel
            setup.processors = "2"
            // A processor that is emulated itself may well stand still for the 21 seconds that count as a stall.
            setup.words.append("rcupdate.rcu_cpu_stall_timeout=300")
            try GuestMachine.run(setup, in: directory) { guest in
                try KernelLog.expectClean(try guest.finishChecks())
            }
        }

        @Test("`-S` holds the guest before its first instruction until `cont`", .full)
        func startsPaused() throws {
            var setup = GuestSetup.checking("up", root: try DiskImage.rootFileSystem(in: directory))
            setup.hasQMP = true
            setup.options = ["-S"]
            try GuestMachine.run(setup, in: directory) { guest in
                let monitor = try guest.connectQMP()
                #expect(try monitor.status() == "prelaunch")
                #expect(!guest.serial.grows(beyond: 0, within: 1))
                try monitor.execute("cont")
                _ = try monitor.waitForEvent("RESUME")
                #expect(try monitor.status() == "running")
                _ = try guest.finishChecks()
            }
        }

        @Test("Boot markers are logged with their times, and only where they were asked for", .full, arguments: [true, false])
        func bootMarkers(_ areOn: Bool) throws {
            var setup = GuestSetup.shell(root: try DiskImage.rootFileSystem(in: directory))
            setup.machine = areOn ? "microvm,boot-markers=on" : "microvm"
            setup.hasQMP = true
            try GuestMachine.run(setup, in: directory) { guest in
                try guest.waitForShell()
                for marker in 1...2 {
                    try guest.type("\(GuestArchitecture.markerCommand(marker)); echo marked-$((\(marker) + 6))")
                    try guest.waitFor("marked-\(marker + 6)")
                }
                try guest.connectQMP().execute("quit")
                try guest.waitForEnd()
                let lines = guest.process.errors.text.split(separator: "\n").filter { $0.contains("since exec") }
                #expect(lines.count == (areOn ? 2 : 0), "\(lines)")
                if areOn, lines.count == 2 {
                    #expect(lines[0].contains("1, guest kernel started"))
                    #expect(lines[1].contains("2, guest start complete"))
                }
            }
        }
    }
}

/// What a kernel's log may say without anything being wrong with the machine.
enum KernelLog {
    /// Each with its reason.
    private static let accepted = [
        // The host's processor, and what the host's KVM passes on of its microcode.
        "Speculative Return Stack Overflow", "Spectre V2", "RETBleed", "MDS CPU bug", "MMIO Stale Data CPU bug", "TAA CPU bug",
        // There is no PCI, and no BIOS to find it with.
        "PCI: Fatal: No config space access function found", "PCI: System does not support PCI",
        // With both ACPI and the command line each device is found twice, and bound once.
        "virtio-mmio virtio-mmio.0: can't request region for resource",
        "virtio-mmio: probe of virtio-mmio.0 failed with error -16",
        // The root file system is mounted before its journal is asked for, and its clock may be that of the host that made it.
        "EXT4-fs (vda): mounted filesystem", "EXT4-fs (vda): re-mounted",
    ]

    /// Expects that nothing of level warning or worse is there but what is known, and no ACPI complaint of any level.
    static func expectClean(_ report: GuestCheckReport) throws {
        let warnings = try #require(report.listings["dmesg-errors"])
        let unknown = warnings.filter { line in !accepted.contains { line.contains($0) } }
        #expect(unknown.isEmpty, "\(unknown.joined(separator: "\n"))")
        let complaints = (report.listings["dmesg"] ?? []).filter { line in
            ["ACPI Error", "ACPI BIOS Error", "ACPI Warning", "ACPI Exception", "BUG:", "WARNING: CPU", "Call Trace"]
                .contains { line.contains($0) }
        }
        #expect(complaints.isEmpty, "\(complaints.joined(separator: "\n"))")
    }
}
