#if arch(x86_64)
import Foundation
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

    static let all = [
        ProcessorCase(option: "1", count: 1, cores: 1, siblings: 1, sockets: 1),
        ProcessorCase(option: "2", count: 2, cores: 2, siblings: 2, sockets: 1),
        ProcessorCase(option: "8", count: 8, cores: 8, siblings: 8, sockets: 1),
        ProcessorCase(option: "8,sockets=2,cores=2,threads=2", count: 8, cores: 2, siblings: 4, sockets: 2),
    ]
}

extension GuestTests {
    @Suite("Processors")
    struct ProcessorTests {
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
                #expect(Set(values("cpu cores")) == ["\(processors.cores)"])
                #expect(Set(values("siblings")) == ["\(processors.siblings)"])
                #expect(Set(values("physical id")).count == processors.sockets)
            }
        }
    }
}
#endif
