import StratoMemory
import Testing

@testable import StratoPCI

@Suite("Enumeration as firmware does it")
struct EnumerationTests {
    /// A root bus with devices of every kind of range, and two ports, one of them with a device of two functions.
    private func populate(_ machine: Machine) throws -> [TestFunction] {
        let bus = machine.host.rootBus
        let first = try TestFunction(
            "first", device: 1,
            ranges: [
                (0, .port, 32), (2, .memory64(isPrefetchable: false), 0x4000), (4, .memory64(isPrefetchable: true), 1 << 33),
            ], vectors: 3, messages: machine.messages)
        let second = try TestFunction(
            "second", device: 2, ranges: [(0, .memory32(isPrefetchable: true), 1 << 20), (5, .port, 256)],
            isMultifunction: true)
        let third = try TestFunction("third", device: 3, ranges: [(3, .memory32(isPrefetchable: false), 128)])
        let behind = try TestFunction(
            "behind", device: 4, size: .express,
            ranges: [(0, .memory32(isPrefetchable: false), 0x10000), (2, .memory64(isPrefetchable: true), 1 << 21)],
            hasPower: true, isMultifunction: true)
        let sibling = try TestFunction("sibling", device: 5, size: .express, ranges: [(0, .port, 64)])
        try bus.insert(first, device: 1)
        try bus.insert(second, device: 2)
        try bus.insert(third, device: 2, function: 5)
        for (index, device) in [3, 4].enumerated() {
            let port = try PCIExpressRootPort(
                .init(name: "rp\(index)", port: UInt8(index), slot: UInt16(index)), messages: machine.messages,
                logger: machine.logger, onEject: { _ in })
            if index == 1 {
                try port.insert(behind)
                try port.insert(sibling, function: 1)
            }
            try bus.insert(port, device: UInt8(device))
        }
        return [first, second, third, behind, sibling]
    }

    private static let ids = ["first": "0:1.0", "second": "0:2.0", "third": "0:2.5", "behind": "2:0.0", "sibling": "2:0.1"]

    @Test("everything is found, sized as it was made, and reached where it was put, through bridges too")
    func everything() throws {
        let machine = try Machine()
        let functions = try populate(machine)
        let firmware = Firmware(machine)
        try firmware.run()
        #expect(firmware.found == ["0:1.0", "0:2.0", "0:2.5", "0:3.0", "0:4.0", "2:0.0", "2:0.1"])
        for function in functions {
            let id = try #require(EnumerationTests.ids[function.name])
            for region in function.summary.regions {
                let seen = try firmware.range(id, region.index)
                #expect(seen.size == region.size, "\(function.name) \(region.index)")
                #expect(seen.address == region.address?.value)
                switch region.kind {
                case .port: #expect(seen.isPort)
                case .memory32(let isPrefetchable): #expect(!seen.is64 && seen.isPrefetchable == isPrefetchable)
                case .memory64(let isPrefetchable): #expect(seen.is64 && seen.isPrefetchable == isPrefetchable)
                }
            }
            // What is written at the start of a range arrives in the registers behind it.
            for registers in function.registers {
                let index = try #require(Int(registers.name.split(separator: " ")[1]))
                let range = try firmware.range(id, index)
                let value = UInt64(range.index + 1)
                if range.isPort { machine.portOut(value, range.address, 1) } else { machine.store(value, range.address, 1) }
                #expect(registers.read(at: 0, width: 1) == value, "\(function.name) \(index)")
                let end = range.address + range.size - 1
                if range.isPort { machine.portOut(0x77, end, 1) } else { machine.store(0x77, end, 1) }
                #expect(registers.read(at: range.size - 1, width: 1) == 0x77)
            }
        }
        #expect(machine.log.all.isEmpty)
    }

    @Test("after the machine's reset a second enumeration finds the same, with nothing left of the first")
    func again() throws {
        let machine = try Machine()
        _ = try populate(machine)
        let first = Firmware(machine)
        try first.run()
        let before = machine.memory.ranges
        machine.host.reset()
        #expect(machine.memory.ranges.count == 1)
        #expect(machine.ports.ranges.isEmpty)
        let second = Firmware(machine)
        try second.run()
        #expect(second.ranges == first.ranges)
        #expect(machine.memory.ranges == before)
    }

    @Test("an operating system moves every range of a running machine, and switches functions off")
    func moving() throws {
        let machine = try Machine()
        let functions = try populate(machine)
        let firmware = Firmware(machine)
        try firmware.run()
        let guest = Function(machine: machine, device: 1)
        let registers = functions[0].registers
        let old = try firmware.range("0:1.0", 2)
        machine.store(0xAA, old.address, 1)
        // As Linux does: decoding off, the new place, decoding on.
        guest.setCommand(4)
        guest.set32(0x18, 0xE000_0004)
        guest.set32(0x1C, 0)
        guest.setCommand(7)
        #expect(machine.load(old.address) == nil)
        #expect(machine.load(0xE000_0000, 1) == 0xAA)
        #expect(registers[1].places.last == .some(0xE000_0000))
        guest.set32(0x1C, 0x90)
        #expect(machine.load(0xE000_0000) == nil)
        #expect(machine.load(0x90_E000_0000, 1) == 0xAA)
        guest.setCommand(0)
        #expect(machine.load(0x90_E000_0000) == nil)
        #expect(registers.allSatisfy { $0.places.last == .some(nil) })
    }

    @Test("configuration accesses of anything, anywhere, never trap and never change what a function is", arguments: 0..<6)
    func fuzz(seed: Int) throws {
        var random = SeededGenerator(UInt64(seed) + 1000)
        let machine = try Machine()
        let functions = try populate(machine)
        try Firmware(machine).run()
        for round in 0..<10_000 {
            let bus = [0, 0, 0, 1, 2, 2, UInt8.random(in: 0...255, using: &random)].randomElement(using: &random) ?? 0
            let offset =
                UInt64(bus) << 20 | UInt64.random(in: 0..<1 << 17, using: &random) << 3
                | UInt64.random(in: 0..<8, using: &random)
            let known =
                UInt64(bus) << 20 | UInt64.random(in: 0..<5, using: &random) << 15
                | UInt64.random(in: 0..<256, using: &random)
            let address = Machine.configurationBase + (Bool.random(using: &random) ? known : offset & 0xFFF_FFFF)
            let width = Int.random(in: 1...8, using: &random)
            if Bool.random(using: &random) {
                _ = machine.load(address, width)
            } else {
                machine.store(UInt64.random(in: 0...UInt64.max, using: &random), address, width)
            }
            if round % 1000 == 999 {
                machine.host.reset()
                try Firmware(machine).run()
            }
        }
        for (index, function) in functions.enumerated() {
            #expect(function.readConfiguration(at: 0, width: 4) == UInt64(index + 1) << 16 | 0xDEAD)
        }
        machine.host.reset()
        #expect(machine.memory.ranges.count == 1)
        #expect(machine.ports.ranges.isEmpty)
        #expect(machine.messages.lines == 0)
    }

    @Test("virtual CPUs that configure, use and move functions at the same time leave no range behind")
    func concurrency() async throws {
        let machine = try Machine()
        _ = try populate(machine)
        let host = machine.host
        try Firmware(machine).run()
        let views = [machine.memory, machine.memory, machine.memory]
        await withTaskGroup(of: Void.self) { group in
            for (task, memory) in views.enumerated() {
                group.addTask {
                    var random = SeededGenerator(UInt64(task))
                    var view = memory.makeView()
                    for _ in 0..<4000 {
                        let device = UInt64.random(in: 1...4, using: &random)
                        let offset = [4, 0x10, 0x18, 0x1C, 0x20, 0x42].randomElement(using: &random) ?? 4
                        let address = Machine.configurationBase | device << 15 | UInt64(offset)
                        let values: [UInt64] = [0, 7, 6, 0xC000_0000, 0xC800_0000, 0x8000]
                        let value = values.randomElement(using: &random) ?? 0
                        _ = view.write(value, to: address, width: 4)
                        _ = view.read(0xC000_0000 + UInt64.random(in: 0..<0x1000, using: &random) * 0x1000, width: 4)
                    }
                }
            }
        }
        host.reset()
        #expect(machine.memory.ranges.count == 1)
        #expect(machine.ports.ranges.isEmpty)
    }
}
