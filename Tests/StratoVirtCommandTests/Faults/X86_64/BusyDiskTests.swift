#if arch(x86_64)
import Foundation
import Glibc
import Testing

/// The executable with a guest that never leaves its disk alone: requests are in flight at every moment.
@Suite("A disk at work", .enabled(if: BuiltExecutable.canRunGuests, BuiltExecutable.needsGuests), .serialized)
struct BusyDiskTests {
    /// What the guest writes, into sectors 8 to 11.
    private static let byte: UInt8 = 0xA5
    private static let chainCount = 5

    /// Writes and reads five requests at a time for ever; every second time it resets the device before they are answered.
    private static var kernel: [UInt8] {
        var kernel = TinyKernel()
        var area = RingArea(at: TinyKernel.data)
        let readHeader = RingArea.header + 32
        area.requestHeader(GuestDisk.Request.write, sector: 8)
        area.put(GuestDisk.Request.read, at: readHeader)
        area.put(UInt64(16), at: readHeader + 8)
        for offset in 0..<2048 { area.put(byte, at: RingArea.data + offset) }
        for chain in 0..<chainCount {
            let isWrite = chain % 2 == 0
            let head = chain * 3
            area.descriptor(
                head, area.base + UInt64(isWrite ? RingArea.header : readHeader), 16, RingArea.Flag.next,
                next: UInt16(head + 1))
            area.descriptor(
                head + 1, area.data + (isWrite ? 0 : 2048), 2048, RingArea.Flag.next | (isWrite ? 0 : RingArea.Flag.write),
                next: UInt16(head + 2))
            area.descriptor(head + 2, area.status + UInt64(chain), 1, RingArea.Flag.write)
        }
        area.makeAvailable((0..<chainCount).map { UInt16($0 * 3) })
        kernel.contents.append((area.base, area.bytes))
        kernel.program.print(guestGreeting)
        kernel.program.loopForever { program in
            for isAwaited in [true, false] {
                program.write(0, to: area.usedIndex, width: 2)
                program.startDisk(area, features: GuestDisk.Feature.version1 | GuestDisk.Feature.blockFlush)
                program.notifyDisk()
                if isAwaited { program.waitUntilUsed(UInt16(chainCount), area) }
            }
        }
        return kernel.bytes(as: .raw)
    }

    private func isIntact(_ place: MonitorPlace) throws -> Bool {
        let contents = try Data(contentsOf: URL(fileURLWithPath: place.file("disk")))
        return contents.count == 1 << 20 && contents[..<4096].allSatisfy { $0 == 0 }
            && contents[4096..<6144].allSatisfy { $0 == BusyDiskTests.byte } && contents[6144...].allSatisfy { $0 == 0 }
    }

    static let disks = ["direct=on", "direct=on,aio=native", "direct=off,aio=threads"]

    @Test("A thousand QMP clients come and go meanwhile, and the machine is stopped and goes on", arguments: disks)
    func thousandClients(disk: String) throws {
        let place = try MonitorPlace(kernel: BusyDiskTests.kernel)
        place.arguments = place.machine(disk: disk)
        let process = try place.start()
        defer { process.send(signal: SIGKILL) }
        try #require(process.output.find(guestGreeting, within: Patience.monitor), "\(process.errors.text)")
        let bystander = try QMPConnection(path: place.socket) { process.isRunning }
        try bystander.negotiate()
        var random = SeededGenerator(seed: 5)
        for number in 0..<1000 {
            ClientTests.live(number, place.socket, &random)
            guard number % 50 == 0 else { continue }
            try bystander.execute("stop")
            #expect(try bystander.status() == "paused")
            try bystander.execute("cont")
            #expect(try bystander.status() == "running")
        }
        try bystander.execute("quit")
        #expect(process.waitForEnd(within: Patience.monitor) == .exited(0))
        #expect(process.errors.text.isEmpty, "\(process.errors.text)")
        #expect(place.leftovers == [])
        #expect(try isIntact(place))
    }

    @Test("SIGTERM ends the machine with status 0 at any moment, and its image can be used at once", arguments: disks)
    func termination(disk: String) throws {
        let place = try MonitorPlace(kernel: BusyDiskTests.kernel)
        place.arguments = place.machine(disk: disk)
        var random = SeededGenerator(seed: 6)
        for run in 0..<(BuiltExecutable.isComplete ? 100 : 12) {
            let process = try place.start(terminal: .pseudoTerminal)
            let delay = UInt32.random(in: 0...20_000, using: &random)
            let moment: Comment = "run \(run): SIGTERM \(delay) µs after the first byte"
            try #require(process.output.find(guestGreeting, within: Patience.monitor), "\(moment): \(process.errors.text)")
            usleep(delay)
            process.send(signal: SIGTERM)
            #expect(process.waitForEnd(within: Patience.monitor) == .exited(0), moment)
            #expect(process.errors.text == "", moment)
            #expect(place.leftovers == [], moment)
            #expect(MonitorPlace.isTerminalInOrder(of: process), moment)
        }
        #expect(try isIntact(place))
    }
}
#endif
