#if arch(arm64)
import Foundation
import Testing

extension GuestTests {
    @Suite("Processors")
    struct ProcessorTests {
        private let directory: ScratchDirectory

        init() throws { directory = try ScratchDirectory() }

        @Test("A guest starts the processors that it was given, by PSCI, and each reaches the disk", .full, arguments: [1, 2, 8])
        func processors(_ count: Int) throws {
            let root = try DiskImage.rootFileSystem(in: directory)
            var setup = GuestSetup.checking("up", "cpuinfo", "disk-parallel", root: root, end: "reboot")
            setup.processors = "\(count)"
            setup.words += ["guest_cpus=\(count)", "guest_disk=vda", "guest_mb=4"]
            try GuestMachine.run(setup, in: directory) { guest in
                let report = try guest.finishChecks()
                #expect(report.result("up")?.integer("cpus") == count)
                #expect(report.result("disk-parallel")?.integer("readers") == count)
                let lines = try #require(report.listings["cpuinfo"])
                #expect(lines.filter { $0.hasPrefix("processor") }.count == count)
            }
        }
    }
}
#endif
