#if arch(x86_64)
import Foundation
import Testing

extension GuestTests {
    @Suite("With ACPI and without")
    struct ACPITests {
        private let directory: ScratchDirectory

        init() throws { directory = try ScratchDirectory() }

        @Test("A kernel without ACPI finds its disk by the command line, and ends by `reboot -f`", .short)
        func withoutACPI() throws {
            let root = try DiskImage.rootFileSystem(in: directory)
            var setup = GuestSetup.checking("up", "devices", root: root, end: "reboot")
            setup.kernel = .withoutACPI()
            try GuestMachine.run(setup, in: directory) { guest in
                let report = try guest.finishChecks()
                #expect(report.result("up")?["acpi"] == "no")
                #expect(report.result("devices")?["driver"] == "virtio_blk")
            }
        }

        @Test("A kernel without ACPI boots in every format", .full, arguments: GuestKernel.Format.allCases)
        func formatsWithoutACPI(_ format: GuestKernel.Format) throws {
            var setup = GuestSetup.checking("up", root: try DiskImage.rootFileSystem(in: directory), end: "reboot")
            setup.kernel = .withoutACPI(format)
            try GuestMachine.run(setup, in: directory) { guest in _ = try guest.finishChecks() }
        }

        @Test("Debian's cloud kernel, unchanged, finds the disk by ACPI alone with its own modules", .short)
        func debianCloudKernel() throws {
            let root = try DiskImage.rootFileSystem(in: directory)
            var setup = GuestSetup.checking("up", "devices", "disk-write", "dmesg-errors", root: root)
            setup.kernel = .debianCloud
            setup.ramdisk = .cloud
            // Its initial RAM disk mounts the root file system once the modules are there.
            try GuestMachine.run(setup, in: directory) { guest in
                let report = try guest.finishChecks()
                #expect(report.result("up")?["kernel"]?.contains("cloud") == true)
                let devices = report.results("devices")
                #expect(devices.count == 1)
                #expect(devices.first?["parent"]?.hasPrefix("LNRO0005") == true)
                try KernelLog.expectClean(report)
            }
        }

        @Test("A kernel that finds the disks both by ACPI and by the command line binds each once", .full)
        func bothWays() throws {
            let root = try DiskImage.rootFileSystem(in: directory)
            var setup = GuestSetup.checking("devices", "disk-info", "dmesg", root: root)
            setup.disks.append(GuestDisk(image: try DiskImage.empty(in: directory, name: "second", mebibytes: 8)))
            try GuestMachine.run(setup, in: directory) { guest in
                let report = try guest.finishChecks()
                #expect(report.results("devices").map { $0["driver"] } == ["virtio_blk", "virtio_blk"])
                #expect(report.results("disk-info").map { $0["name"] } == ["vda", "vdb"])
                let log = try #require(report.listings["dmesg"])
                let refused = log.filter { $0.contains("virtio") && ($0.contains("fail") || $0.contains("error")) }
                #expect(refused.allSatisfy { $0.contains("busy") || $0.contains("-16") || $0.contains("-EBUSY") }, "\(refused)")
                #expect(refused.count <= 2, "\(refused)")
            }
        }

        @Test("With `-machine microvm,acpi=off` a kernel with ACPI finds none, and boots by the command line", .full)
        func acpiOff() throws {
            let root = try DiskImage.rootFileSystem(in: directory)
            var setup = GuestSetup.checking("up", "devices", root: root, end: "reboot")
            setup.machine = "microvm,acpi=off"
            try GuestMachine.run(setup, in: directory) { guest in
                let report = try guest.finishChecks()
                #expect(report.result("devices")?["parent"]?.hasPrefix("virtio-mmio") == true)
                #expect(!guest.serial.text.contains("LNRO0005"))
            }
        }
    }
}
#endif
