#if arch(arm64)
import Foundation
import Testing

extension GuestTests {
    @Suite("Debian's kernel")
    struct DebianTests {
        private let directory: ScratchDirectory

        init() throws { directory = try ScratchDirectory() }

        @Test("Debian's kernel, unchanged, finds the disk by the device tree with its own modules", .short)
        func debianKernel() throws {
            let root = try DiskImage.rootFileSystem(in: directory)
            var setup = GuestSetup.checking("up", "devices", "disk-write", root: root)
            setup.kernel = .debian
            setup.ramdisk = .debian
            setup.processors = "2"
            // Its initial RAM disk mounts the root file system once the modules are there.
            try GuestMachine.run(setup, in: directory) { guest in
                let report = try guest.finishChecks()
                #expect(report.result("up")?.integer("cpus") == 2)
                let devices = report.results("devices")
                #expect(devices.map { $0["parent"] } == ["a000000.virtio_mmio"])
            }
        }

        @Test("`console=ttyS0`, which no machine of this architecture has, gets a hint that names ttyAMA0", .full)
        func foreignConsole() throws {
            var setup = GuestSetup.checking("up", root: try DiskImage.rootFileSystem(in: directory), end: "reboot")
            setup.console = ["console=ttyS0", "panic=1"]
            try GuestMachine.run(setup, in: directory) { guest in
                try guest.waitForEnd(within: Patience.guest)
                #expect(guest.process.errors.text.contains("ttyAMA0"))
                // Without `earlycon` nothing is said before the console that does not come.
                #expect(guest.serial.text.isEmpty)
            }
        }

        @Test("`earlycon` talks on the serial port from the beginning, where it is asked for", .full)
        func earlyConsole() throws {
            var setup = GuestSetup.checking("up", root: try DiskImage.rootFileSystem(in: directory))
            setup.console = ["earlycon", "console=ttyAMA0", "panic=1"]
            try GuestMachine.run(setup, in: directory) { guest in
                _ = try guest.finishChecks()
                #expect(guest.serial.text.contains("Booting Linux on physical CPU"))
            }
        }
    }
}
#endif
