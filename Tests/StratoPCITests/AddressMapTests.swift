import StratoHost
import StratoMemory
import Testing

@testable import StratoPCI

@Suite("Ranges of PCI functions")
struct AddressMapTests {
    private static let memory = PCIBaseAddress.Kind.memory32(isPrefetchable: false)

    /// A machine with functions of one 4 KiB range each, by device number from 1 on.
    private func bench(_ count: Int) throws -> (Machine, [TestFunction], [Function]) {
        let machine = try Machine()
        var functions: [TestFunction] = []
        var guests: [Function] = []
        for index in 0..<count {
            let function = try TestFunction("f\(index)", ranges: [(0, AddressMapTests.memory, 4096)])
            try machine.host.rootBus.insert(function, device: UInt8(index + 1))
            functions.append(function)
            guests.append(Function(machine: machine, device: UInt8(index + 1)))
        }
        return (machine, functions, guests)
    }

    @Test("a range is there while decoding is on, moves with its register, and leaves nothing behind")
    func decoding() throws {
        let (machine, functions, guests) = try bench(1)
        let registers = functions[0].registers[0]
        let base: UInt64 = 0xC000_0000
        guests[0].set32(0x10, UInt32(base))
        #expect(machine.load(base) == nil)
        guests[0].setCommand(2)
        #expect(machine.store(0x1234, base + 8))
        #expect(machine.load(base + 8) == 0x1234)
        guests[0].set32(0x10, 0xC123_4000)
        #expect(machine.load(base + 8) == nil)
        #expect(machine.load(0xC123_4008) == 0x1234)
        // The last byte is in, the next is not.
        #expect(machine.load(0xC123_4FFC) == 0)
        #expect(machine.load(0xC123_5000) == nil)
        guests[0].setCommand(0)
        #expect(machine.load(0xC123_4008) == nil)
        guests[0].setCommand(6)
        #expect(machine.load(0xC123_4008) == 0x1234)
        functions[0].reset()
        #expect(machine.load(0xC123_4008) == nil)
        #expect(guests[0].get32(0x10) == 0)
        #expect(registers.places == [base, nil, 0xC123_4000, nil, 0xC123_4000, nil])
    }

    @Test("sizing while decoding is on shows the range nowhere in between, and at its place again afterwards")
    func sizingWhileDecoding() throws {
        let (machine, functions, guests) = try bench(1)
        guests[0].set32(0x10, 0xC000_0000)
        guests[0].setCommand(2)
        guests[0].set32(0x10, .max)
        #expect(guests[0].get32(0x10) == 0xFFFF_F000)
        #expect(machine.memory.ranges.count == 1)
        guests[0].set32(0x10, 0xC000_0000)
        #expect(machine.load(0xC000_0000) == 0)
        #expect(functions[0].registers[0].places == [0xC000_0000, nil, 0xC000_0000])
        // Byte by byte, every step on the way is a place of its own.
        for (index, byte) in [0x00, 0x50, 0x34, 0xC2].enumerated() { guests[0].set8(0x10 + index, UInt8(byte)) }
        #expect(machine.load(0xC234_5000) == 0)
        #expect(machine.memory.ranges.count == 2)
    }

    @Test("of ranges that meet the first stays; the second is refused with a line in the log, and comes when the first goes")
    func overlap() throws {
        let (machine, functions, guests) = try bench(3)
        for (function, guest) in zip(functions, guests) {
            function.registers[0].write(UInt64(guest.device), at: 0, width: 1)
            guest.setCommand(2)
        }
        guests[0].set32(0x10, 0xC000_0000)
        guests[1].set32(0x10, 0xC000_0000)
        guests[2].set32(0x10, 0xC000_0000)
        #expect(machine.load(0xC000_0000) == 1)
        #expect(machine.log.all.contains { $0.contains("f1 BAR 0") && $0.contains("f0 BAR 0 is at") })
        #expect(functions[1].registers[0].places == [])
        // Moves away: the one that came next takes the place.
        guests[0].set32(0x10, 0xC001_0000)
        #expect(machine.load(0xC000_0000) == 2)
        #expect(machine.load(0xC001_0000) == 1)
        // Comes back: it is the last now.
        guests[0].set32(0x10, 0xC000_0000)
        #expect(machine.load(0xC000_0000) == 2)
        #expect(machine.load(0xC001_0000) == nil)
        guests[1].setCommand(0)
        #expect(machine.load(0xC000_0000) == 3)
        guests[2].setCommand(0)
        #expect(machine.load(0xC000_0000) == 1)
        guests[0].setCommand(0)
        #expect(machine.memory.ranges.count == 1)
    }

    @Test("two ranges change places in two writes, as a guest moves them")
    func swap() throws {
        let (machine, functions, guests) = try bench(2)
        for (index, guest) in guests.enumerated() {
            functions[index].registers[0].write(UInt64(index + 1), at: 0, width: 1)
            guest.set32(0x10, 0xC000_0000 + UInt32(index) * 0x1000)
            guest.setCommand(2)
        }
        guests[0].set32(0x10, 0xC000_1000)
        guests[1].set32(0x10, 0xC000_0000)
        #expect(machine.load(0xC000_0000) == 2)
        #expect(machine.load(0xC000_1000) == 1)
    }

    @Test("a device of the machine is not covered, nor anything outside of the apertures")
    func foreignDevices() throws {
        let (machine, _, guests) = try bench(1)
        let board = TestRegisters()
        board.write(0x55, at: 0, width: 1)
        try machine.memory.insert(board, at: try range(0xC000_0800, 0x100))
        guests[0].setCommand(2)
        guests[0].set32(0x10, 0xC000_0000)
        #expect(machine.load(0xC000_0800) == 0x55)
        #expect(machine.load(0xC000_0000) == nil)
        #expect(machine.log.all.contains { $0.contains("f0 BAR 0 cannot be at") })
        for place in [0, 0x1000, 0xBFFF_F000, 0xF000_0000, 0xFEE0_0000, 0xFFFF_F000] as [UInt32] {
            guests[0].set32(0x10, place)
            // Configuration space and the board's device are all that is there.
            #expect(machine.memory.ranges.count == 2)
        }
        guests[0].set32(0x10, 0xEFFF_F000)
        #expect(machine.load(0xEFFF_FFFC) == 0)
    }

    @Test("a 64-bit range moves above 4 GiB in two halves, and is nowhere while they don't fit together")
    func halves() throws {
        let machine = try Machine()
        let function = try TestFunction("f", ranges: [(2, .memory64(isPrefetchable: true), 1 << 32)])
        try machine.host.rootBus.insert(function, device: 1)
        let guest = Function(machine: machine, device: 1)
        guest.setCommand(2)
        guest.set32(0x18, .max)
        guest.set32(0x1C, .max)
        #expect(machine.memory.ranges.count == 1)
        guest.set32(0x18, 0)
        #expect(machine.memory.ranges.count == 1)
        guest.set32(0x1C, 0x81)
        #expect(machine.load(0x81_FFFF_FFFC) == 0)
        guest.set(0x18, 0x90_0000_0000, 8)
        #expect(machine.load(0x81_FFFF_FFFC) == nil)
        #expect(machine.load(0x90_0000_0000) == 0)
    }

    @Test("ports follow their own enable bit")
    func ports() throws {
        let machine = try Machine()
        let function = try TestFunction("f", ranges: [(0, .port, 32), (1, AddressMapTests.memory, 4096)])
        try machine.host.rootBus.insert(function, device: 1)
        let guest = Function(machine: machine, device: 1)
        guest.set32(0x10, 0xC000)
        guest.set32(0x14, 0xC000_0000)
        guest.setCommand(2)
        #expect(machine.portIn(0xC000, 1) == nil)
        guest.setCommand(1)
        #expect(machine.load(0xC000_0000) == nil)
        machine.portOut(0xAB, 0xC01F, 1)
        #expect(machine.portIn(0xC01F, 1) == 0xAB)
        #expect(machine.portIn(0xC020, 1) == nil)
        // Ports above 64 Ki are none.
        guest.set32(0x10, 0x1_C000)
        #expect(machine.ports.ranges.isEmpty)
    }

    @Test("a function that is taken off the bus takes its ranges with it, and one that comes brings them")
    func insertAndRemove() throws {
        let (machine, functions, guests) = try bench(1)
        guests[0].set32(0x10, 0xC000_0000)
        guests[0].setCommand(2)
        #expect(machine.host.rootBus.remove(device: 1) === functions[0])
        #expect(machine.load(0xC000_0000) == nil)
        #expect(!guests[0].isPresent)
        try machine.host.rootBus.insert(functions[0], device: 7)
        #expect(machine.load(0xC000_0000) == 0)
        #expect(machine.host.rootBus.remove(device: 1) == nil)
    }

    @Test("a function in D3hot decodes nothing and comes back as it was; states that don't exist are not taken")
    func powerStates() throws {
        let machine = try Machine()
        let function = try TestFunction("f", ranges: [(0, AddressMapTests.memory, 4096)], hasPower: true)
        try machine.host.rootBus.insert(function, device: 1)
        let guest = Function(machine: machine, device: 1)
        let power = try #require(guest.capability(1)) + 4
        guest.set32(0x10, 0xC000_0000)
        guest.setCommand(6)
        #expect(guest.get16(power) == 8)
        guest.set16(power, 3)
        #expect(guest.get16(power) == 11)
        #expect(machine.load(0xC000_0000) == nil)
        guest.set16(power, 1)
        #expect(guest.get16(power) == 11)
        guest.set16(power, 0)
        #expect(machine.load(0xC000_0000) == 0)
        guest.set16(power, 2)
        #expect(guest.get16(power) == 8)
        #expect(machine.load(0xC000_0000) == 0)
    }

    @Test("the end takes every range off the machine's buses and lets go of all objects")
    func close() throws {
        weak var host: PCIHostBridge?
        weak var function: TestFunction?
        let memory = Bus(name: "MMIO")
        do {
            let ports = Bus(name: "port")
            let windows = PCIAddressMap.Windows(memory: [try range(0xC000_0000, 0x1000_0000)])
            let made = PCIHostBridge(memory: memory, ports: ports, apertures: windows, interrupts: nil, logger: .silent)
            let device = try TestFunction("f", ranges: [(0, AddressMapTests.memory, 4096)], vectors: 2)
            try made.rootBus.insert(device, device: 1)
            device.writeConfiguration(0xC000_0000, at: 0x10, width: 4)
            device.writeConfiguration(2, at: 4, width: 2)
            #expect(memory.ranges.count == 1)
            (host, function) = (made, device)
            made.shutDown()
            #expect(device.calls == ["attach", "detach", "shutDown"])
        }
        #expect(memory.ranges.isEmpty)
        #expect(host == nil)
        #expect(function == nil)
    }

    @Test("no order of moves leaves two ranges over each other or one that nobody has", arguments: 0..<6)
    func fuzz(seed: Int) throws {
        var random = SeededGenerator(UInt64(seed))
        let machine = try Machine()
        var guests: [Function] = []
        for index in 0..<6 {
            let function = try TestFunction(
                "f\(index)",
                ranges: [
                    (0, AddressMapTests.memory, 0x1000 << UInt64(index)), (1, .port, 0x10),
                    (2, .memory64(isPrefetchable: true), 0x10000),
                ], hasPower: index % 2 == 0)
            try machine.host.rootBus.insert(function, device: UInt8(index + 1))
            guests.append(Function(machine: machine, device: UInt8(index + 1)))
        }
        let values: [UInt64] = [
            0, .max, 0xC000_0000, 0xC000_1000, 0xC000_8000, 0xC001_0000, 0xB000_0000, 0x80, 0x1000, 0x1010, 3, 7,
        ]
        for _ in 0..<3000 {
            let guest = guests.randomElement(using: &random) ?? guests[0]
            let offset =
                [4, 4, 0x10, 0x14, 0x18, 0x1C, 0x44, Int.random(in: 0..<256, using: &random)]
                .randomElement(using: &random) ?? 4
            let width = Int.random(in: 1...8, using: &random)
            guest.set(offset, values.randomElement(using: &random) ?? 0, width)
            if Int.random(in: 0..<200, using: &random) == 0 { machine.host.reset() }
            var claims: [GuestRange] = []
            for guest in guests {
                let isPowered = guest.capability(1).map { guest.get16($0 + 4) & 3 == 0 } ?? true
                guard guest.get16(4) & 2 != 0, isPowered else { continue }
                let size: UInt64 = 0x1000 << UInt64(guest.device - 1)
                claims.append(try range(UInt64(guest.get32(0x10)), size))
                claims.append(try range(guest.get(0x18, 8) & ~0xF, 0x10000))
            }
            let shown = machine.memory.ranges.filter { $0.base.value != Machine.configurationBase }
            for (first, second) in zip(shown, shown.dropFirst()) { #expect(!first.overlaps(second)) }
            // What is shown is wanted, and what is not was in somebody's way or outside.
            #expect(shown.allSatisfy { claims.contains($0) })
            for claim in claims where !shown.contains(claim) {
                let isInside = claim.base.value >= Machine.lowBase && claim.last.value < Machine.lowBase + Machine.lowSize
                let isHigh =
                    claim.base.value >= Machine.highBase && claim.last.value < Machine.highBase + Machine.highSize
                #expect(!(isInside || isHigh) || shown.contains { $0.overlaps(claim) })
            }
        }
        machine.host.reset()
        #expect(machine.memory.ranges.count == 1)
        #expect(machine.ports.ranges.isEmpty)
        #expect(machine.log.all.count < 30)
    }
}
