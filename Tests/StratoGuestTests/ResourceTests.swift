import Foundation
import Glibc
import Testing

extension GuestTests {
    @Suite("Processors, memory and the monitor's own")
    struct ResourceTests {
        private let directory: ScratchDirectory

        init() throws { directory = try ScratchDirectory() }

        @Test("A guest sees the memory that it was given, also above 4 GiB", .full, arguments: [128, 3072, 6144])
        func memory(_ mebibytes: Int) throws {
            let root = try DiskImage.rootFileSystem(in: directory)
            var setup = GuestSetup.checking("up", "memory", "disk-write", root: root)
            setup.memory = "\(mebibytes)m"
            try GuestMachine.run(setup, in: directory) { guest in
                let report = try guest.finishChecks()
                let seen = try #require(report.result("up")?.integer("mem_mb"))
                // The kernel keeps some for itself: its image, and 64 bytes for each page.
                #expect(seen <= mebibytes)
                #expect(seen >= mebibytes - mebibytes / 32 - 40, "\(seen) MiB of \(mebibytes)")
                let ranges = try #require(report.listings["memory"]).filter { $0.contains("System RAM") }
                guard let high = GuestArchitecture.highMemory else { return }
                #expect(ranges.contains { $0.hasPrefix(high) } == (mebibytes > 3072), "\(ranges)")
            }
        }

        @Test("With an idle guest the monitor has at most 4096 KiB resident beside the guest's memory", .full)
        func footprint() throws {
            var setup = GuestSetup.checking("idle", root: try DiskImage.rootFileSystem(in: directory))
            setup.hasQMP = true
            try GuestMachine.run(setup, in: directory) { guest in
                try guest.waitFor("GUEST-CHECK idle begin")
                let monitor = try guest.connectQMP()
                #expect(try monitor.status() == "running")
                // Code that only the guest's start needed is given back within the first half minute.
                let deadline = Date(timeIntervalSinceNow: Patience.monitor)
                var resident = try ProcessStatistics.residentBesideGuest(guest.process.identifier)
                while resident > 4096, Date() < deadline {
                    usleep(500_000)
                    resident = try ProcessStatistics.residentBesideGuest(guest.process.identifier)
                }
                print("resident beside guest memory: \(resident) KiB")
                #expect(resident <= 4096)
                try monitor.execute("quit")
                try guest.waitForEnd()
            }
        }

        @Test("The interrupts of disk and serial port stay in proportion to what they carried", .full)
        func interrupts() throws {
            let root = try DiskImage.rootFileSystem(in: directory)
            var setup = GuestSetup.checking("disk-write", "irqs", root: root)
            setup.words += ["guest_mb=8"]
            try GuestMachine.run(setup, in: directory) { guest in
                let report = try guest.finishChecks()
                let counts = try #require(report.results("irqs").last)
                let disk = try #require(counts.integer("virtio"))
                #expect(disk > 0 && disk < 8 << 10, "\(disk)")
            }
        }
    }
}
