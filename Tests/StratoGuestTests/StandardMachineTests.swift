import Foundation
import Testing

#if arch(x86_64)
extension GuestTests {
    /// The standard machine: with firmware and a kernel, with firmware and a disk, and without firmware.
    @Suite("Standard machine")
    struct StandardMachineTests {
        /// Firmware is emulated as everything else.
        private static let patience: TimeInterval = 900

        private let directory: ScratchDirectory

        init() throws { directory = try ScratchDirectory() }

        // MARK: Firmware and a kernel

        @Test("The documented command line, as printed, boots by UEFI to a shell", .short)
        func documentedCommandLine() throws {
            let root = try DiskImage.rootFileSystem(in: directory)
            let socket = directory.file("qmp.sock")
            let arguments = [
                "-machine", "standard_vm", "-kernel", GuestKernel.standardVM().path, "-smp", "1", "-m", "2G",
                "-append", "console=ttyS0 reboot=k panic=1 root=/dev/vda",
                "-drive", "file=\(root.path),id=rootfs,readonly=off,direct=off", "-device", "virtio-blk-device,drive=rootfs",
                "-drive", "file=\(GuestFirmware.fourMiB.code),if=pflash,unit=0,readonly=true",
                "-drive", "file=\(try GuestFirmware.fourMiB.variables(in: directory).path),if=pfalsh,unit=1",
                "-qmp", "unix:\(socket),server,nowait", "-serial", "stdio",
            ]
            try GuestMachine.run(arguments, qmpSocket: socket, in: directory) { guest in
                try guest.waitFor("# ", within: Self.patience)
                try guest.type("ls -d /sys/firmware/efi && echo guest-$((20 + 22))")
                try guest.waitFor("guest-42")
                try guest.type("poweroff -f")
                try guest.waitForEnd(within: Patience.guest)
                let warnings = guest.process.errors.text
                #expect(warnings.contains("if=pfalsh is taken as if=pflash"))
                #expect(warnings.contains("taken as virtio-blk-pci"))
            }
            #expect(!FileManager.default.fileExists(atPath: socket))
        }

        @Test(
            "Each build of the firmware starts the kernel it is handed, with and without a place for its variables",
            .full, arguments: GuestFirmware.allCases, [true, false])
        func firmwareBuilds(_ firmware: GuestFirmware, hasVariables: Bool) throws {
            var setup = GuestSetup.checkingStandard(
                "up", "efi", "pci", "disk-write", "dmesg-complaints", root: try DiskImage.rootFileSystem(in: directory))
            setup.firmware = firmware
            if hasVariables { setup.variables = try firmware.variables(in: directory) }
            setup.processors = "2"
            try GuestMachine.run(setup, in: directory) { guest in
                let report = try guest.finishChecks(within: Self.patience)
                #expect(report.result("efi") != nil)
                try Self.expectDiskOnPCI(report)
                Self.expectNoComplaints(report)
            }
        }

        @Test("Debian's kernels boot unchanged by UEFI with their own modules", .full, arguments: ["cloud", "generic"])
        func debianKernels(_ flavour: String) throws {
            try bootDebian(flavour) { setup in
                setup.firmware = .fourMiB
                setup.memory = "1g"
            }
        }

        private func bootDebian(_ flavour: String, adjust: (inout GuestSetup) -> Void = { _ in }) throws {
            var setup = GuestSetup.checkingStandard(
                "up", "pci", "dmesg-complaints", root: try DiskImage.rootFileSystem(in: directory))
            setup.kernel = flavour == "cloud" ? .debianCloud : .debianGeneric
            setup.ramdisk = flavour == "cloud" ? .cloud : .generic
            adjust(&setup)
            try GuestMachine.run(setup, in: directory) { guest in
                let report = try guest.finishChecks(within: Self.patience)
                try Self.expectDiskOnPCI(report)
                Self.expectNoComplaints(report)
            }
        }

        @Test("What is written to a firmware variable is there in the next run, also after the monitor was killed", .full)
        func variables() throws {
            let root = try DiskImage.rootFileSystem(in: directory)
            let variables = try GuestFirmware.fourMiB.variables(in: directory)
            var setup = GuestSetup.checkingStandard("efi-write", root: root, end: "none")
            setup.firmware = .fourMiB
            setup.variables = variables
            setup.words.append("guest_variable=kept-42")
            try GuestMachine.run(setup, in: directory) { guest in
                try guest.waitFor("GUEST-CHECK efi-write text=kept-42", within: Self.patience)
                guest.kill()
            }
            var second = GuestSetup.checkingStandard("efi-read", root: root)
            second.firmware = .fourMiB
            second.variables = variables
            try GuestMachine.run(second, in: directory) { guest in
                let report = try guest.finishChecks(within: Self.patience)
                #expect(report.result("efi-read")?["text"] == "kept-42")
            }
        }

        // MARK: Firmware and a disk

        @Test("An installed disk boots by itself to a login, and the power button shuts systemd down cleanly", .short)
        func installedDisk() throws {
            try InstalledDisk.expectLoginAndPowerButton(in: directory)
        }

        @Test("A boot entry made in the guest is there in the next run, and Debian's generic kernel boots from it", .full)
        func bootEntry() throws {
            let reports = try InstalledDisk.expectBootEntry(
                checks: ["smbios", "topology"], nextKernel: "generic", nextChecks: ["dmesg-complaints"], in: directory
            ) { setup in setup.processors = "4,sockets=2,cores=1,threads=2" }
            let cpus = try #require(reports.first.result("lscpu"))
            #expect([cpus["cpus"], cpus["sockets"], cpus["cores"], cpus["threads"]] == ["4", "2", "1", "2"])
            #expect(reports.next.result("up")?["kernel"]?.contains("cloud") == false)
            Self.expectNoComplaints(reports.next)
        }

        @Test("A reset goes through the firmware to the same system, and leaves the monitor as it was", .full)
        func resetThroughFirmware() throws {
            var setup = GuestSetup.standard
            setup.kernel = .standardVM()
            setup.firmware = .fourMiB
            setup.variables = try GuestFirmware.fourMiB.variables(in: directory)
            setup.hasQMP = true
            setup.disks = [GuestDisk(image: try DiskImage.rootFileSystem(in: directory))]
            setup.words = ["root=/dev/vda", "rw"]
            try GuestMachine.run(setup, in: directory) { guest in
                let monitor = try guest.connectQMP()
                try guest.waitFor("# ", within: Self.patience)
                let before = try ProcessStatistics.Usage(of: guest.process.identifier)
                try monitor.execute("system_reset")
                let event = try monitor.waitForEvent("RESET")
                #expect(event.isByGuest == false)
                try guest.waitFor("# ", within: Self.patience)
                try ProcessStatistics.Usage(of: guest.process.identifier).expectNoGrowth(since: before)
            }
        }

        // MARK: Without firmware

        @Test(
            "Without firmware the machine starts the kernel itself: processors, clock, PCI and memory are as asked for",
            .short)
        func direct() throws {
            let root = try DiskImage.rootFileSystem(in: directory)
            var setup = GuestSetup.checkingStandard(
                "up", "topology", "clock", "memory-size", "pci", "smbios", "disk-write", "disk-read", "dmesg-complaints",
                root: root)
            setup.processors = "2,sockets=2"
            setup.options = ["-smbios", "type=1,product=Direct"]
            let started = Date()
            try GuestMachine.run(setup, in: directory) { guest in
                let report = try guest.finishChecks()
                #expect(report.result("topology")?["sockets"] == "2")
                let clock = try #require(report.result("clock"))
                let difference = try #require(clock.integer("difference"))
                #expect(abs(difference) <= 1, "the clock on the board is \(difference) s off")
                let now = try #require(clock.integer("rtc"))
                #expect(now >= Int(started.timeIntervalSince1970) - 1 && now <= Int(Date().timeIntervalSince1970) + 1)
                #expect(report.results("smbios").contains { $0["product_name"] == "Direct" })
                try Self.expectDiskOnPCI(report)
                Self.expectNoComplaints(report)
            }
            #expect(try root.fileSystemErrors(replaysJournal: true) == nil)
        }

        @Test("Every format of the kernel starts without firmware", .full, arguments: GuestKernel.Format.allCases)
        func formats(_ format: GuestKernel.Format) throws {
            var setup = GuestSetup.checkingStandard("up", root: try DiskImage.rootFileSystem(in: directory))
            setup.kernel = .standardVM(format)
            try GuestMachine.run(setup, in: directory) { guest in _ = try guest.finishChecks() }
        }

        @Test("Debian's kernels start without firmware, with their own modules", .full, arguments: ["cloud", "generic"])
        func debianKernelsDirectly(_ flavour: String) throws {
            try bootDebian(flavour)
        }

        @Test("Eight virtual CPUs, and six GiB of memory with a part above 4 GiB", .full, arguments: [false, true])
        func large(hasFirmware: Bool) throws {
            var setup = GuestSetup.checkingStandard(
                "up", "memory-size", "topology", "disk-parallel", "dmesg-complaints",
                root: try DiskImage.rootFileSystem(in: directory))
            setup.processors = "8,sockets=2,cores=2,threads=2"
            setup.memory = "6g"
            // A processor that is emulated itself may well stand still for the 21 seconds that count as a stall.
            setup.words += ["guest_cpus=8", "guest_disk=vda", "guest_mb=8", "rcupdate.rcu_cpu_stall_timeout=300"]
            if hasFirmware {
                setup.firmware = .fourMiB
                setup.variables = try GuestFirmware.fourMiB.variables(in: directory)
            }
            try GuestMachine.run(setup, in: directory) { guest in
                let report = try guest.finishChecks(within: Self.patience)
                let topology = try #require(report.result("topology"))
                #expect([topology["sockets"], topology["cores"], topology["threads"]] == ["2", "2", "2"])
                let memory = try #require(report.result("memory-size"))
                #expect(memory.integer("high_kib") == 4 << 20)
                Self.expectNoComplaints(report)
            }
        }

        @Test("The guest reboots ten times in one monitor, by its own wish, and each time comes up the same", .full)
        func reboots() throws {
            let root = try DiskImage.rootFileSystem(in: directory)
            var setup = GuestSetup.checkingStandard("count-boots", root: root)
            setup.words.append("guest_boots=11")
            setup.hasQMP = true
            try GuestMachine.run(setup, in: directory) { guest in
                let monitor = try guest.connectQMP()
                let first = try monitor.waitForEvent("RESET", within: Patience.guest)
                #expect(first.isByGuest == true && first.reason == "guest-reset")
                let before = try ProcessStatistics.Usage(of: guest.process.identifier)
                for _ in 0..<9 { _ = try monitor.waitForEvent("RESET", within: Patience.guest) }
                try ProcessStatistics.Usage(of: guest.process.identifier).expectNoGrowth(since: before)
                let report = try guest.finishChecks()
                #expect(report.results("count-boots").last?["boots"] == "11")
            }
        }

        // `reboot=b` jumps to a BIOS, of which there is none.
        @Test(
            "Each way of Linux to reboot resets the machine", .full,
            arguments: ["reboot=k", "reboot=t", "reboot=a", "reboot=p"])
        func rebootModes(_ mode: String) throws {
            var setup = GuestSetup.checkingStandard("count-boots", root: try DiskImage.rootFileSystem(in: directory))
            setup.console.removeAll { $0 == "reboot=k" }
            setup.words += ["guest_boots=2", mode]
            try GuestMachine.run(setup, in: directory) { guest in
                let report = try guest.finishChecks()
                #expect(report.results("count-boots").map { $0["boots"] } == ["1", "2"])
            }
        }

        @Test("Disks on the root bus, behind a root port, and two functions of one slot are all there", .full)
        func places() throws {
            var setup = GuestSetup.checkingStandard(
                "disk-info", "pci", "dmesg-complaints", root: try DiskImage.rootFileSystem(in: directory))
            setup.disks[0].deviceOptions = ["addr=0x2"]
            let places = [["addr=0x4.0x0", "multifunction=on"], ["addr=0x4.0x1"], ["bus=slot1", "addr=0x0"]]
            for (index, place) in places.enumerated() {
                setup.disks.append(
                    GuestDisk(
                        image: try DiskImage.empty(in: directory, name: "disk\(index)", mebibytes: 8 + index),
                        deviceOptions: place + ["serial=S\(index)"]))
            }
            setup.options = ["-device", "pcie-root-port,id=slot1,port=0x1,addr=0x5"]
            setup.hasQMP = true
            try GuestMachine.run(setup, in: directory) { guest in
                let report = try guest.finishChecks()
                #expect(report.results("disk-info").map { $0["serial"] } == ["", "S0", "S1", "S2"])
                let functions = report.results("pci")
                #expect(functions.filter { $0["child"] == "virtio_blk" }.allSatisfy { $0["msi"] == "msix" })
                #expect(functions.contains { $0["driver"] == "pcieport" })
                Self.expectNoComplaints(report)
            }
        }

        // MARK: What is wrong

        @Test("Firmware that needs system management mode is told in a line, and the monitor ends with 1", .full)
        func managementMode() throws {
            let socket = directory.file("qmp.sock")
            let arguments = [
                "-machine", "standard_vm", "-m", "512m", "-drive",
                "file=\(GuestEnvironment.cache)/firmware/OVMF_CODE_4M.secboot.fd,if=pflash,unit=0,readonly=on",
            ]
            try GuestMachine.run(arguments, qmpSocket: socket, in: directory) { guest in
                try guest.waitForEnd(.exited(1), within: Self.patience)
                #expect(guest.process.errors.text.contains("needs system management mode"))
            }
        }

        // MARK: Parts

        private static func expectDiskOnPCI(_ report: GuestCheckReport) throws {
            let functions = report.results("pci")
            #expect(functions.first?["id"] == "8086:29c0")
            let disk = try #require(functions.first { $0["child"] == "virtio_blk" })
            #expect(disk["msi"] == "msix")
            #expect(try #require(disk.integer("interrupts")) > 0)
        }

        private static func expectNoComplaints(_ report: GuestCheckReport) {
            let complaints = report.listings["dmesg-complaints"] ?? ["the check did not run"]
            #expect(complaints.isEmpty, "\(complaints.joined(separator: "\n"))")
        }
    }
}
#endif
