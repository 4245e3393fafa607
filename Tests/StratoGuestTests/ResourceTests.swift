import Foundation
import Glibc
import Testing

/// Processors as they are given, and what the guest has to see.
struct ProcessorCase: Sendable, CustomTestStringConvertible {
    let option: String
    let count: Int
    /// Of a socket, as /proc/cpuinfo's `cpu cores` and `siblings` say.
    let cores: Int
    let siblings: Int
    let sockets: Int

    var testDescription: String { "-smp \(option)" }

    /// Cores as the guest counts them: Linux tells the threads of a core on AMD's processors by leaf 0x8000001E alone, and
    /// KVM has that to give where the host has it (`topoext`).
    var coresShown: Int { ProcessorCase.hostShowsThreads ? cores : siblings }

    private static let hostShowsThreads: Bool = {
        let text = (try? ProcessStatistics.contents(of: "/proc/cpuinfo")) ?? ""
        return !text.contains("AuthenticAMD") || text.contains(" topoext")
    }()

    static let all = [
        ProcessorCase(option: "1", count: 1, cores: 1, siblings: 1, sockets: 1),
        ProcessorCase(option: "2", count: 2, cores: 2, siblings: 2, sockets: 1),
        ProcessorCase(option: "8", count: 8, cores: 8, siblings: 8, sockets: 1),
        ProcessorCase(option: "8,sockets=2,cores=2,threads=2", count: 8, cores: 2, siblings: 4, sockets: 2),
    ]
}

extension GuestTests {
    @Suite("Processors, memory and the monitor's own")
    struct ResourceTests {
        private let directory: ScratchDirectory

        init() throws { directory = try ScratchDirectory() }

        @Test(
            "A guest sees the processors that it was given, with their topology, with and without ACPI",
            .full, arguments: ProcessorCase.all, [GuestKernel.microVM(), .withoutACPI()])
        func processors(_ processors: ProcessorCase, _ kernel: GuestKernel) throws {
            let root = try DiskImage.rootFileSystem(in: directory)
            var setup = GuestSetup.checking("up", "cpuinfo", "disk-parallel", root: root, end: "reboot")
            setup.kernel = kernel
            setup.processors = processors.option
            setup.words += ["guest_cpus=\(processors.count)", "guest_disk=vda", "guest_mb=4"]
            try GuestMachine.run(setup, in: directory) { guest in
                let report = try guest.finishChecks()
                #expect(report.result("up")?.integer("cpus") == processors.count)
                #expect(report.result("disk-parallel")?.integer("readers") == processors.count)
                let lines = try #require(report.listings["cpuinfo"])
                func values(_ key: String) -> [String] {
                    lines.compactMap { line in
                        let parts = line.split(separator: ":", maxSplits: 1).map { $0.trimmingCharacters(in: .whitespaces) }
                        return parts.count == 2 && parts[0] == key ? parts[1] : nil
                    }
                }
                #expect(values("processor").count == processors.count)
                #expect(Set(values("apicid")).count == processors.count)
                #expect(Set(values("cpu cores")) == ["\(processors.coresShown)"])
                #expect(Set(values("siblings")) == ["\(processors.siblings)"])
                #expect(Set(values("physical id")).count == processors.sockets)
            }
        }

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
                #expect(ranges.contains { $0.hasPrefix("100000000-") } == (mebibytes > 3072), "\(ranges)")
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
                let resident = try ProcessStatistics.residentBesideGuest(guest.process.identifier)
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
