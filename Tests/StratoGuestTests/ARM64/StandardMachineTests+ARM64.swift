#if arch(arm64)
import Foundation
import Testing

extension GuestTests {
    @Suite("Standard machine")
    struct StandardMachineTests {
        private let directory: ScratchDirectory

        init() throws { directory = try ScratchDirectory() }

        private static func expectDiskOnPCI(_ report: GuestCheckReport) throws {
            let functions = report.results("pci")
            #expect(functions.first?["id"] == "1b36:0008")
            let disk = try #require(functions.first { $0["child"] == "virtio_blk" })
            #expect(disk["msi"] == "msix")
            #expect(try #require(disk.integer("interrupts")) > 0)
        }

        @Test("Without firmware the machine starts the kernel itself, and its disk interrupts by messages", .short)
        func direct() throws {
            var setup = GuestSetup.checkingStandard("up", "pci", "disk-write", root: try DiskImage.rootFileSystem(in: directory))
            setup.processors = "2"
            try GuestMachine.run(setup, in: directory) { guest in
                let report = try guest.finishChecks()
                #expect(report.result("up")?.integer("cpus") == 2)
                try Self.expectDiskOnPCI(report)
            }
        }

        @Test("The firmware starts the kernel it is handed", .short)
        func firmware() throws {
            let root = try DiskImage.rootFileSystem(in: directory)
            var setup = GuestSetup.checkingStandard("up", "efi", "pci", "disk-write", root: root)
            setup.firmware = .plain
            setup.variables = try GuestFirmware.plain.variables(in: directory)
            try GuestMachine.run(setup, in: directory) { guest in
                let report = try guest.finishChecks()
                #expect(report.result("efi") != nil)
                try Self.expectDiskOnPCI(report)
            }
        }

        @Test(
            "Each build of the firmware starts the kernel, with and without a place for its variables",
            .full, arguments: GuestFirmware.allCases, [true, false])
        func firmwareBuilds(_ firmware: GuestFirmware, hasVariables: Bool) throws {
            var setup = GuestSetup.checkingStandard("up", "efi", root: try DiskImage.rootFileSystem(in: directory))
            setup.firmware = firmware
            if hasVariables { setup.variables = try firmware.variables(in: directory) }
            setup.processors = "8"
            try GuestMachine.run(setup, in: directory) { guest in
                let report = try guest.finishChecks()
                #expect(report.result("efi") != nil)
                #expect(report.result("up")?.integer("cpus") == 8)
            }
        }

        @Test("What is written to a firmware variable is there in the next run, also after the monitor was killed", .full)
        func variables() throws {
            let root = try DiskImage.rootFileSystem(in: directory)
            let variables = try GuestFirmware.plain.variables(in: directory)
            var setup = GuestSetup.checkingStandard("efi-write", root: root, end: "none")
            setup.firmware = .plain
            setup.variables = variables
            setup.words.append("guest_variable=kept-42")
            try GuestMachine.run(setup, in: directory) { guest in
                try guest.waitFor("GUEST-CHECK efi-write text=kept-42")
                guest.kill()
            }
            var second = GuestSetup.checkingStandard("efi-read", root: root)
            second.firmware = .plain
            second.variables = variables
            try GuestMachine.run(second, in: directory) { guest in
                let report = try guest.finishChecks()
                #expect(report.result("efi-read")?["text"] == "kept-42")
            }
        }

        @Test("An installed disk boots by itself to a login, and the power button shuts systemd down cleanly", .full)
        func installedDisk() throws {
            try InstalledDisk.expectLoginAndPowerButton(in: directory)
        }

        @Test("A boot entry made in the guest is there in the next run, which boots from it", .full)
        func bootEntry() throws {
            _ = try InstalledDisk.expectBootEntry(in: directory)
        }

        @Test("The guest reboots three times in one monitor, through the firmware and without", .full, arguments: [true, false])
        func reboots(hasFirmware: Bool) throws {
            var setup = GuestSetup.checkingStandard("count-boots", root: try DiskImage.rootFileSystem(in: directory))
            setup.words.append("guest_boots=4")
            if hasFirmware { setup.firmware = .plain }
            try GuestMachine.run(setup, in: directory) { guest in
                let report = try guest.finishChecks(within: 2 * Patience.guest)
                #expect(report.results("count-boots").last?["boots"] == "4")
            }
        }
    }
}
#endif
