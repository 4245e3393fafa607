import Foundation
import Glibc
import Testing

@Suite("What memory the executable takes")
struct ExecutableFootprintTests {
    /// What the process has of its own beside guest memory, in KiB.
    private struct Footprint {
        /// Mappings from this size on are the guest's memory, by the rule that StratoVirt's own footprint is measured by.
        private static let guestMapping = 128 << 10

        var resident = 0
        var dirty = 0

        init(smaps: String) {
            var size = 0
            for line in smaps.split(separator: "\n") {
                let words = line.split(separator: " ")
                guard words.count >= 2, let value = Int(words[1]) else { continue }
                switch words[0] {
                case "Size:": size = value
                case "Rss:" where size < Self.guestMapping: resident += value
                case "Private_Dirty:" where size < Self.guestMapping: dirty += value
                default: break
                }
            }
        }
    }

    private static let residentLimit = 4096
    /// With room for what a kernel does differently, such as larger stacks.
    private static let dirtyLimit = 512
    /// Long enough for a machine that is busy with other things; how long it takes proves nothing.
    private static let patienceSeconds = 30

    private static var canRun: Bool { BuiltExecutable.stripped != nil && access("/dev/kvm", R_OK | W_OK) == 0 }

    @Test("The size of a mapping decides whether it is counted")
    func countsMappings() {
        let footprint = Footprint(
            smaps: """
                7f0000000000-7f0008000000 rw-p 00000000 00:00 0
                Size:             131072 kB
                Rss:                9000 kB
                Private_Dirty:      9000 kB
                7f1000000000-7f1007fff000 rw-p 00000000 00:00 0
                Size:             131068 kB
                Rss:                  12 kB
                Private_Dirty:         8 kB
                555500000000-555500001000 r-xp 00000000 fe:00 16  /usr/bin/stratovirt
                Size:                  4 kB
                Rss:                   4 kB
                Private_Dirty:         0 kB
                """)
        #expect(footprint.resident == 16)
        #expect(footprint.dirty == 8)
    }

    @Test(
        "With an idle guest at most 4096 KiB are resident beside guest memory, and at most 512 KiB of it written",
        .enabled(if: canRun, "needs /dev/kvm, and an executable named by STRATOVIRT_BINARY"))
    func idleGuest() throws {
        let binary = try #require(BuiltExecutable.stripped)
        let kernel = FileManager.default.temporaryDirectory.appending(path: "idle-\(UUID().uuidString).bin")
        try Data(IdleKernel.bytes).write(to: kernel)
        defer { try? FileManager.default.removeItem(at: kernel) }
        // Pages of a file that has just been written count as dirty until they are on the disk.
        let file = try FileHandle(forReadingFrom: URL(filePath: binary))
        fsync(file.fileDescriptor)
        try file.close()

        let process = Process()
        let output = Pipe()
        process.executableURL = URL(filePath: binary)
        process.arguments = [
            "-machine", "microvm", "-m", "128m", "-kernel", kernel.path(percentEncoded: false), "-serial", "stdio",
        ]
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        try process.run()
        defer {
            process.terminate()
            process.waitUntilExit()
        }
        let greeting = try output.fileHandleForReading.read(upToCount: 1)
        try #require(greeting == Data("!".utf8), "the guest does not run")

        var footprint = try measure(process)
        let deadline = ContinuousClock.now + .seconds(Self.patienceSeconds)
        // What only the start needed is given back a moment later.
        while footprint.resident > Self.residentLimit || footprint.dirty > Self.dirtyLimit, ContinuousClock.now < deadline {
            usleep(100_000)
            footprint = try measure(process)
        }
        #expect(footprint.resident > 0)
        #expect(footprint.resident <= Self.residentLimit)
        #expect(footprint.dirty <= Self.dirtyLimit)
    }

    private func measure(_ process: Process) throws -> Footprint {
        try #require(process.isRunning)
        let path = "/proc/\(process.processIdentifier)/smaps"
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        try #require(descriptor >= 0, "\(path): \(String(cString: strerror(errno)))")
        defer { close(descriptor) }
        // The size of such a file is not known, and reads come back short.
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while case let count = read(descriptor, &buffer, buffer.count), count > 0 {
            bytes += buffer[..<count]
        }
        return Footprint(smaps: String(decoding: bytes, as: UTF8.self))
    }
}
