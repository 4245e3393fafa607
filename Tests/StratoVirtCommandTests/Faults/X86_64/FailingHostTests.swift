#if arch(x86_64)
import Foundation
import Glibc
import Testing

/// The executable with guests of a few instructions, on a host that fails them.
@Suite("A host that fails", .enabled(if: BuiltExecutable.canRunGuests, BuiltExecutable.needsGuests), .serialized)
struct FailingHostTests {
    /// Writes a sector of the disk's, flushes, and says so by a character each; what is answered otherwise is never said.
    private struct DiskWriter {
        private(set) var kernel = TinyKernel()
        private var areas = 0

        init() {}

        /// Has the guest ask its disk for something, and say a character if the answer is as expected.
        mutating func request(
            _ type: UInt32, sector: UInt64 = 0, byte: UInt8 = 0, expecting answer: UInt8, saying text: String
        ) {
            var area = RingArea(at: TinyKernel.data + UInt64(areas) * 0x8000)
            areas += 1
            if type == GuestDisk.Request.flush {
                area.requestHeader(type)
                area.descriptor(0, area.header, 16, RingArea.Flag.next, next: 1)
                area.descriptor(1, area.status, 1, RingArea.Flag.write)
                area.makeAvailable([0])
            } else {
                area.request(type, sector: sector, isWrite: type == GuestDisk.Request.write)
                if type == GuestDisk.Request.write {
                    for offset in 0..<512 { area.put(byte, at: RingArea.data + offset) }
                }
            }
            kernel.contents.append((area.base, area.bytes))
            kernel.program.startDisk(area, features: GuestDisk.Feature.version1 | GuestDisk.Feature.blockFlush)
            kernel.program.notifyDisk()
            kernel.program.waitUntilUsed(1, area)
            kernel.program.wait(for: UInt64(answer), at: area.status, mask: 0xFF, width: 1)
            kernel.program.print(text)
        }

        mutating func append(_ body: (inout GuestProgram) -> Void) { body(&kernel.program) }

        var bytes: [UInt8] { kernel.bytes(as: .raw) }
    }

    private typealias Request = GuestDisk.Request
    private typealias Answer = GuestDisk.Answer

    private func expectEnd(
        _ process: ChildProcess, in place: MonitorPlace, saying words: String...,
        at location: SourceLocation = #_sourceLocation
    ) {
        #expect(process.waitForEnd(within: Patience.monitor) == .exited(1), sourceLocation: location)
        let lines = process.errors.text.split(separator: "\n")
        #expect(lines.count == 1, "\(process.errors.text)", sourceLocation: location)
        for word in ["stratovirt: virtual CPU 0: "] + words {
            #expect(process.errors.text.contains(word), "\(process.errors.text)", sourceLocation: location)
        }
        #expect(place.leftovers == [], sourceLocation: location)
    }

    // MARK: KVM

    @Test("A guest that KVM cannot go on with ends the machine with 1 and one line; terminal, socket and lock are in order")
    func internalError() throws {
        let place = try MonitorPlace(
            kernel: TinyKernel { program in
                program.print(guestGreeting)
                program.execute(at: 0xF080_0000)
            }.bytes(as: .raw))
        place.arguments = place.machine()
        for _ in 0..<3 {
            let process = try place.start(terminal: .pseudoTerminal)
            expectEnd(process, in: place, saying: "KVM cannot go on with this guest")
            #expect(MonitorPlace.isTerminalInOrder(of: process))
        }
        // With a log the registers are in it.
        let log = place.file("log")
        place.arguments += ["-D", log]
        let process = try place.start()
        #expect(process.waitForEnd(within: Patience.monitor) == .exited(1))
        let lines = try String(contentsOfFile: log, encoding: .utf8)
        #expect(lines.contains(":INFO: vcpu0: rip=f0800000 "), "\(lines)")
        #expect(lines.components(separatedBy: ":ERROR: ").count == 2, "\(lines)")
    }

    @Test("A daemon whose guest KVM cannot go on with takes its pid file and socket away")
    func internalErrorOfDaemon() throws {
        let place = try MonitorPlace(kernel: TinyKernel { $0.execute(at: 0xF080_0000) }.bytes(as: .raw))
        place.arguments = place.machine(serial: "null") + ["-daemonize", "-pidfile", place.pidFile, "-D", place.file("log")]
        let process = try place.start()
        #expect(process.waitForEnd(within: Patience.monitor) == .exited(0), "\(process.errors.text)")
        for _ in 0..<2000 where !place.leftovers.isEmpty { usleep(5000) }
        #expect(place.leftovers == [])
        let lines = try String(contentsOfFile: place.file("log"), encoding: .utf8)
        #expect(lines.contains(":ERROR: virtual CPU 0: KVM cannot go on"), "\(lines)")
    }

    @Test(
        "KVM_RUN that fails with EFAULT, as the guest's memory became shorter, ends the machine with 1 and one line",
        .enabled(
            if: !FileManager.default.fileExists(atPath: "/sys/module/kvm_pvm"),
            "this KVM's emulator takes memory that is gone for a device"))
    func memoryThatIsGone() throws {
        let place = try MonitorPlace(
            kernel: TinyKernel { program in
                program.enableInterruptController()
                program.enableSerialInterrupt()
                program.print(guestGreeting)
                program.waitForSerialByte()
                program.write(1, to: 112 << 20, width: 8)
                program.print("?")
                program.halt()
            }.bytes(as: .raw))
        try Data().write(to: URL(fileURLWithPath: place.file("memory")))
        try #require(truncate(place.file("memory"), 128 << 20) == 0)
        place.arguments = place.machine() + ["-mem-path", place.file("memory")]
        let process = try place.start(terminal: .pseudoTerminal)
        try #require(process.output.find(guestGreeting, within: Patience.monitor), "\(process.errors.text)")
        #expect(truncate(place.file("memory"), 64 << 20) == 0)
        try process.write("x")
        expectEnd(process, in: place, saying: "KVM: run virtual CPU 0: ", "Bad address")
        #expect(MonitorPlace.isTerminalInOrder(of: process))
    }

    // MARK: A disk without room

    /// Properties of `-drive`, for each engine.
    static let engines = [
        "direct=off,aio=off", "direct=off,aio=threads", "direct=off,aio=io_uring",
        "direct=on,aio=threads", "direct=on,aio=native", "direct=on,aio=io_uring",
    ]

    @Test(
        "A disk, a log and a serial port without room: the guest sees an I/O error, is served on, and what it flushed is there",
        arguments: engines)
    func noRoom(disk: String) throws {
        var writer = DiskWriter()
        writer.request(Request.write, sector: 8, byte: 0xA1, expecting: Answer.ok, saying: "a")
        writer.request(Request.flush, expecting: Answer.ok, saying: "b")
        // The shell's unit is 512 bytes, or 1024.
        writer.request(Request.write, sector: 512, byte: 0xA2, expecting: Answer.ioError, saying: "c")
        writer.request(Request.read, sector: 8, expecting: Answer.ok, saying: "d")
        writer.request(Request.write, sector: 9, byte: 0xA3, expecting: Answer.ok, saying: "e")
        writer.request(Request.flush, expecting: Answer.ok, saying: "f")
        writer.append { $0.powerOff() }
        let place = try MonitorPlace(kernel: writer.bytes)
        place.arguments = place.machine(disk: disk)
        let process = try place.start(behind: "ulimit -f 64")
        #expect(process.waitForEnd(within: Patience.monitor) == .exited(0), "\(process.output.text): \(process.errors.text)")
        #expect(process.output.text == "abcdef")
        let lines = process.errors.text.split(separator: "\n")
        #expect(
            lines == ["stratovirt: disk disk: write at byte \(512 * 512) of \(place.file("disk")): File too large"],
            "\(process.errors.text)")
        let contents = try Data(contentsOf: URL(fileURLWithPath: place.file("disk")))
        #expect(contents.count == 1 << 20)
        #expect(contents[4096..<4608].allSatisfy { $0 == 0xA1 } && contents[4608..<5120].allSatisfy { $0 == 0xA3 })
        #expect(contents[(512 * 512)..<(513 * 512)].allSatisfy { $0 == 0 })
    }

    @Test("A log and a serial port on a full device are told of once, and the guest goes on")
    func fullDevice() throws {
        let place = try MonitorPlace(
            kernel: TinyKernel { program in
                program.print(String(repeating: "full ", count: 20))
                program.powerOff()
            }.bytes(as: .raw))
        place.arguments = place.machine(serial: "file,path=/dev/full")
        let first = try place.start()
        #expect(first.waitForEnd(within: Patience.monitor) == .exited(0), "\(first.errors.text)")
        #expect(first.errors.text.split(separator: "\n").count == 1, "\(first.errors.text)")
        #expect(first.errors.text.contains("/dev/full") && first.errors.text.contains("No space left on device"))
        place.arguments = place.machine() + ["-D", "/dev/full"]
        let second = try place.start()
        #expect(second.waitForEnd(within: Patience.monitor) == .exited(0), "\(second.errors.text)")
        #expect(
            second.errors.text
                == "stratovirt: warning: the log cannot be written, lines are missing: No space left on device\n")
    }

    @Test("A pid file that the disk has no room for is refused in one line, and nothing is left of it")
    func pidFileWithoutRoom() throws {
        let place = try MonitorPlace(kernel: IdleKernel.bytes)
        place.arguments = place.machine(serial: "null") + ["-daemonize", "-pidfile", place.pidFile]
        let process = try place.start(behind: "ulimit -f 0")
        #expect(process.waitForEnd(within: Patience.monitor) == .exited(1))
        #expect(
            process.errors.text == "stratovirt: -pidfile: '\(place.pidFile)' cannot be written: File too large\n")
        #expect(place.leftovers == [])
    }

    // MARK: A killed monitor

    /// A guest that writes and flushes, says so, and then waits or takes memory.
    private static func flushingGuest(_ then: (inout GuestProgram) -> Void) -> [UInt8] {
        var writer = DiskWriter()
        writer.request(Request.write, sector: 8, byte: 0xB1, expecting: Answer.ok, saying: "a")
        writer.request(Request.flush, expecting: Answer.ok, saying: guestGreeting)
        writer.append(then)
        return writer.bytes
    }

    private func expectFlushed(_ place: MonitorPlace) throws {
        let contents = try Data(contentsOf: URL(fileURLWithPath: place.file("disk")))
        #expect(contents[4096..<4608].allSatisfy { $0 == 0xB1 })
    }

    @Test(
        "A monitor that is killed with its disk in use lets the next start at once, and what was flushed is there",
        arguments: engines)
    func killed(disk: String) throws {
        let place = try MonitorPlace(kernel: FailingHostTests.flushingGuest { $0.halt() })
        place.arguments = place.machine(disk: disk)
        for _ in 0..<(BuiltExecutable.isComplete ? 20 : 3) {
            let process = try place.start()
            #expect(process.output.find(guestGreeting, within: Patience.monitor), "\(process.errors.text)")
            process.send(signal: SIGKILL)
            #expect(process.waitForEnd(within: Patience.monitor) == .signalled(SIGKILL))
            try expectFlushed(place)
        }
        let last = try place.start()
        #expect(last.output.find(guestGreeting, within: Patience.monitor), "\(last.errors.text)")
        last.send(signal: SIGTERM)
        #expect(last.waitForEnd(within: Patience.monitor) == .exited(0))
        #expect(place.leftovers == [])
    }

    @Test(
        "A guest that takes more than its control group allows is killed; what it flushed is there, and the next start works",
        .enabled(if: ControlGroup.obstacle == nil, Comment(rawValue: ControlGroup.obstacle ?? "")))
    func memoryLimit() throws {
        let pages = UInt64(32 << 20)...UInt64(120 << 20)
        let place = try MonitorPlace(
            kernel: FailingHostTests.flushingGuest { program in
                // One byte of each page.
                for address in stride(from: pages.lowerBound, to: pages.upperBound, by: 4096) {
                    program.write(1, to: address, width: 1)
                }
                program.print("?")
                program.halt()
            })
        place.arguments = place.machine()
        let group = try ControlGroup(mebibytes: 64)
        let process = try place.start(behind: group.enter)
        #expect(process.waitForEnd(within: Patience.monitor) == .signalled(SIGKILL), "\(process.errors.text)")
        #expect(process.output.text == "a" + guestGreeting)
        #expect(process.errors.text.isEmpty)
        try expectFlushed(place)
        // The socket was left behind, and is taken over.
        #expect(place.leftovers == [place.socket])
        let next = try place.start()
        #expect(next.output.find("?", within: Patience.monitor), "\(next.errors.text)")
        next.send(signal: SIGTERM)
        #expect(next.waitForEnd(within: Patience.monitor) == .exited(0))
        #expect(place.leftovers == [])
    }
}
#endif
