#if arch(x86_64)
import Foundation
import StratoHost
import StratoMemory
import Testing

@testable import StratoVMM

/// A guest that does something hostile, cures the device by a reset, and reads a sector, a number of times.
struct HostileGuest {
    static let sectorMagic: UInt64 = 0x4B53_4944_594E_4954

    private static let hostileArea = TinyKernel.data
    private static let goodArea = TinyKernel.data + 0x8000
    /// Where the areas come from, anew each time.
    private static let source: UInt64 = 0x1_0000

    let kernel: TinyKernel

    init(_ hostile: HostileCase, repeated count: Int = 1) {
        var kernel = TinyKernel()
        var bad = RingArea(at: HostileGuest.hostileArea)
        hostile.prepare(&bad)
        var good = RingArea(at: HostileGuest.goodArea)
        good.request(GuestDisk.Request.read)
        for area in [bad, good] { kernel.contents.append((area.base + HostileGuest.source, area.bytes)) }
        let area = bad
        kernel.program.loop(count) { program in
            for base in [HostileGuest.hostileArea, HostileGuest.goodArea] {
                program.copy(from: base + HostileGuest.source, to: base, count: RingArea.size)
            }
            HostileGuest.append(hostile, area, to: &program)
            HostileGuest.appendGoodRead(good, to: &program)
        }
        kernel.program.powerOff()
        self.kernel = kernel
    }

    private static func append(_ hostile: HostileCase, _ area: RingArea, to program: inout GuestProgram) {
        if let start = hostile.start {
            start(&program, area)
        } else {
            program.startDisk(area, features: hostile.features)
            if let steps = hostile.steps {
                steps(&program, area)
            } else {
                program.notifyDisk()
            }
        }
        switch hostile.outcome {
        case .needsReset:
            program.waitUntilDiskNeedsReset()
            program.wait(for: 0, at: area.usedIndex, mask: 0xFFFF, width: 2)
        case .answered(let status, let length):
            program.waitUntilUsed(1, area)
            program.wait(for: UInt64(status), at: area.status, width: 1)
            if let length { program.wait(for: UInt64(length), at: area.used + 8) }
        case .givenBack(let count):
            program.waitUntilUsed(count, area)
        case .anything:
            break
        }
    }

    private static func appendGoodRead(_ area: RingArea, to program: inout GuestProgram) {
        program.startDisk(area)
        program.notifyDisk()
        program.waitUntilUsed(1, area)
        program.wait(for: UInt64(GuestDisk.Answer.ok), at: area.status, width: 1)
        program.wait(for: 513, at: area.used + 8)
        program.wait(for: sectorMagic, at: area.data, width: 8)
    }

    /// Adds the disk that the guest reads.
    static func addDisk(_ configuration: inout VirtualMachineConfiguration, _ scratch: Scratch) throws {
        let path = scratch.file("disk")
        var contents = sectorMagic.littleEndianBytes
        contents += [UInt8](repeating: 0xA5, count: Int(HostileCase.sectors) * 512 - contents.count)
        try Data(contents).write(to: URL(fileURLWithPath: path))
        configuration.storageDevices = [
            StorageDeviceConfiguration(id: "disk", image: DiskImageConfiguration(id: "image", path: path))
        ]
    }

    /// What a guest that did not come to its end was waiting for.
    static func state(of machine: ControlledMachine) throws -> String {
        let memory = try machine.memory()
        func word<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type, _ address: UInt64) throws -> T {
            try memory.load(type, at: GuestAddress(address))
        }
        let bad = RingArea(at: hostileArea)
        let good = RingArea(at: goodArea)
        return """
            hostile request: used \(try word(UInt16.self, bad.usedIndex)), length \(try word(UInt32.self, bad.used + 8)), \
            status \(try word(UInt8.self, bad.status)); good request: used \(try word(UInt16.self, good.usedIndex)), \
            length \(try word(UInt32.self, good.used + 8)), status \(try word(UInt8.self, good.status)); \
            log: \(machine.log.messages)
            """
    }
}

@Suite("Hostile guests", .enabled(if: hasKVM, "there is no usable /dev/kvm"), .serialized)
struct HostileGuestTests {
    @Test(
        "The device deals with it as the specification says, and serves the guest again after a reset", arguments: HostileCase.all
    )
    func refused(_ hostile: HostileCase) throws {
        let guest = HostileGuest(hostile)
        let machine = try ControlledMachine(guest.kernel) { try HostileGuest.addDisk(&$0, $1) }
        let reason = try machine.run(seconds: 20)
        let state = try HostileGuest.state(of: machine)
        #expect(reason == .guestShutdown, "\(state)")
    }

    @Test("Memory in two parts has two ends, and nothing between", arguments: HostileCase.splitChains)
    func refusedAtTheGap(_ hostile: HostileCase) throws {
        let guest = HostileGuest(hostile)
        let machine = try ControlledMachine(guest.kernel) { configuration, scratch in
            configuration.memory.size = HostileCase.splitMemory
            try HostileGuest.addDisk(&configuration, scratch)
        }
        let reason = try machine.run(seconds: 20)
        let state = try HostileGuest.state(of: machine)
        #expect(reason == .guestShutdown, "\(state)")
    }

    @Test(
        "A read-only disk refuses to be written, and has its contents afterwards",
        arguments: [
            HostileCase("a write", .answered(1)) { $0.request(GuestDisk.Request.write, isWrite: true) },
            HostileCase("zeroes, which were not offered", .answered(2), features: GuestDisk.Feature.version1) { area in
                area.request(GuestDisk.Request.writeZeroes, length: 16, isWrite: true)
                area.put(UInt32(1), at: RingArea.data + 8)
            },
        ])
    func readOnly(_ hostile: HostileCase) throws {
        var hostile = hostile
        hostile.features = GuestDisk.Feature.version1
        let machine = try ControlledMachine(HostileGuest(hostile).kernel) { configuration, scratch in
            try HostileGuest.addDisk(&configuration, scratch)
            configuration.storageDevices[0].image.isReadOnly = true
        }
        let disk = try Data(contentsOf: URL(fileURLWithPath: machine.scratch.file("disk")))
        let reason = try machine.run(seconds: 20)
        let state = try HostileGuest.state(of: machine)
        #expect(reason == .guestShutdown, "\(state)")
        #expect(try Data(contentsOf: URL(fileURLWithPath: machine.scratch.file("disk"))) == disk)
    }
}

/// In a process of its own, whose memory nobody else changes.
@Suite("A hostile guest's host", .enabled(if: hasKVM, "there is no usable /dev/kvm"))
struct HostileGuestHostTests {
    @Test("Beside a guest that does all of it, the process neither grows nor fills its log, and its neighbour goes on")
    func neighbourGoesOn() async {
        let child = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
            let neighbour = try Neighbour()
            #expect(neighbour.answers())
            /// One machine after the other does its harm; each is gone before the next.
            func run(_ cases: [HostileCase]) throws {
                for hostile in cases {
                    let machine = try ControlledMachine(HostileGuest(hostile, repeated: 2).kernel) {
                        try HostileGuest.addDisk(&$0, $1)
                    }
                    try machine.controller.start()
                    report(neighbour.answers(), "the neighbour is silent beside: \(hostile.name)")
                    report(machine.waitForEnd(seconds: 20) == .guestShutdown, "no end of: \(hostile.name)")
                    // A source may log five lines in ten seconds, and how many it left out; there are a transport, a disk
                    // and the virtual CPU, and no machine needs two such intervals.
                    let count = machine.log.messages.count
                    report(count <= 3 * 2 * 6, "\(count) lines of: \(hostile.name)")
                }
            }
            try run(HostileCase.all.enumerated().filter { $0.offset % 4 == 0 }.map(\.element))
            let before = try ProcessUsage.measure()
            try run(HostileCase.all)
            let after = try ProcessUsage.measure(expecting: before.threads)
            after.reportGrowth(since: before)
            report(neighbour.answers(), "the neighbour is silent in the end")
        }
        printReport(of: child)
    }
}
#endif
