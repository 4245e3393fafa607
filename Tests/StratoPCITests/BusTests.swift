import StratoMemory
import Testing

@testable import StratoPCI

@Suite("PCI buses")
struct BusTests {
    @Test("a place that is taken or does not exist, and functions that don't go together, are refused by name")
    func refusals() throws {
        let bus = PCIBus(name: "pcie.0")
        try bus.insert(TestFunction("a"), device: 1)
        func message(_ function: TestFunction, _ device: UInt8, _ number: UInt8 = 0) -> String {
            do {
                try bus.insert(function, device: device, function: number)
                return "accepted"
            } catch {
                return "\(error)"
            }
        }
        #expect(try message(TestFunction("b"), 1) == "b: place 1.0 of bus pcie.0 is taken by a")
        #expect(try message(TestFunction("b"), 1, 1) == "b: a at 1.0 of bus pcie.0 needs multifunction=on")
        #expect(try message(TestFunction("b"), 32).contains("has no place 32.0"))
        #expect(try message(TestFunction("b"), 1, 8).contains("has no place 1.8"))
        try bus.insert(TestFunction("c"), device: 2, function: 3)
        #expect(throws: PCIError.self) { try bus.checkDevices() }
        #expect(try message(TestFunction("d"), 2) == "d: at 2.0 of bus pcie.0 it needs multifunction=on")
        try bus.insert(TestFunction("d", isMultifunction: true), device: 2)
        try bus.checkDevices()
        #expect(bus.functions.map { "\($0.device).\($0.function) \($0.object.name)" } == ["1.0 a", "2.0 d", "2.3 c"])
        let narrow = PCIBus(name: "rp0", deviceLimit: 1)
        #expect(throws: PCIError.self) { try narrow.insert(TestFunction("e"), device: 1) }
    }

    @Test("the first free device is found, besides those kept back")
    func freeDevice() throws {
        let bus = PCIBus(name: "pcie.0")
        #expect(bus.freeDevice(besides: [0, 31]) == 1)
        try bus.insert(TestFunction("a"), device: 1, function: 5)
        #expect(bus.freeDevice(besides: [0, 31]) == 2)
        for device in 2..<31 as Range<UInt8> { try bus.insert(TestFunction("f"), device: device) }
        #expect(bus.freeDevice(besides: [0, 31]) == nil)
        #expect(bus.freeDevice() == 0)
    }

    @Test("a guest finds other functions only of a device whose function 0 says so")
    func visibility() throws {
        let machine = try Machine()
        let bus = machine.host.rootBus
        try bus.insert(TestFunction("c", device: 3), device: 4, function: 7)
        let seventh = Function(machine: machine, device: 4, function: 7)
        #expect(!seventh.isPresent)
        try bus.insert(TestFunction("a", device: 1, isMultifunction: true), device: 4)
        #expect(Function(machine: machine, device: 4).get8(0x0E) == 0x80)
        #expect(seventh.get16(2) == 3)
        #expect(!Function(machine: machine, device: 4, function: 1).isPresent)
        bus.remove(device: 4)
        #expect(!seventh.isPresent)
    }

    @Test("the life cycle reaches every function")
    func lifeCycle() throws {
        let machine = try Machine()
        let function = try TestFunction("a")
        try machine.host.rootBus.insert(function, device: 1)
        machine.host.pause()
        machine.host.resume()
        machine.host.reset()
        machine.host.shutDown()
        #expect(function.calls == ["attach", "pause", "resume", "reset", "detach", "shutDown"])
        #expect(machine.host.rootBus.functions.isEmpty)
        machine.host.shutDown()
        #expect(function.calls.count == 6)
    }

    @Test("what nobody answers reads as ones at every width, and takes no write")
    func absent() throws {
        let machine = try Machine()
        for width in 1...8 {
            let ones = width < 8 ? UInt64(1) << UInt64(8 * width) - 1 : .max
            for (bus, device) in [(0, 1), (0, 31), (1, 0), (255, 31)] as [(UInt8, UInt8)] {
                let guest = Function(machine: machine, bus: bus, device: device)
                #expect(guest.get(0, width) == ones)
                guest.set(4, .max, width)
            }
        }
    }

    @Test("a conventional function has 256 bytes: beyond them PCI Express registers read as ones, of an Express one as zeros")
    func extended() throws {
        let machine = try Machine()
        try machine.host.rootBus.insert(TestFunction("a"), device: 1)
        try machine.host.rootBus.insert(TestFunction("b", size: .express), device: 2)
        let conventional = Function(machine: machine, device: 1)
        let express = Function(machine: machine, device: 2)
        #expect(conventional.get32(0x100) == .max && conventional.get32(0xFFC) == .max)
        #expect(conventional.get(0xFE, 4) == 0xFFFF_0000)
        #expect(express.get32(0x100) == 0 && express.get32(0xFFC) == 0)
        // An access over the end of a function's space does not reach the next function.
        #expect(express.get(0xFFE, 4) == 0xFFFF_0000)
        #expect(express.get(0xFFD, 8) == 0xFFFF_FFFF_FF00_0000)
        express.set(0xFFF, .max, 8)
        #expect(express.get32(0xFFC) == 0)
    }

    @Test("the summary says what a function is and where its ranges are")
    func summary() throws {
        let machine = try Machine()
        let function = try TestFunction(
            "a", ranges: [(0, .port, 16), (2, .memory64(isPrefetchable: true), 0x4000)], pin: 2)
        try machine.host.rootBus.insert(function, device: 1)
        let guest = Function(machine: machine, device: 1)
        guest.set8(0x3C, 11)
        guest.set32(0x18, 0xC000_0000)
        guest.setCommand(2)
        let summary = function.summary
        #expect(
            summary.identity
                == PCIIdentity(
                    vendor: 0xDEAD, device: 0xBEEF, classCode: 0xFF_00_00, subsystemVendor: 1, subsystem: 2))
        #expect(summary.interruptPin == 2 && summary.interruptLine == 11)
        #expect(summary.regions.map(\.address) == [nil, GuestAddress(0xC000_0000)])
        #expect(summary.regions.map(\.size) == [16, 0x4000])
        #expect(summary.bridge == nil)
    }

    @Test("a function's saved registers come back with its ranges, and damaged ones are refused")
    func state() throws {
        func make() throws -> (Machine, TestFunction, Function) {
            let machine = try Machine()
            let function = try TestFunction("a", ranges: [(0, .memory32(isPrefetchable: false), 4096)])
            try machine.host.rootBus.insert(function, device: 1)
            return (machine, function, Function(machine: machine, device: 1))
        }
        let (_, function, guest) = try make()
        guest.set32(0x10, 0xC000_0000)
        guest.set8(0x3C, 9)
        guest.setCommand(0x406)
        let bytes = function.saveState()
        let (machine, other, otherGuest) = try make()
        try other.restoreState(bytes)
        #expect(machine.load(0xC000_0000) == 0)
        #expect(other.saveState() == bytes)
        for length in 0..<bytes.count {
            #expect(throws: PCIError.self) { try other.restoreState(Array(bytes.prefix(length))) }
        }
        #expect(machine.load(0xC000_0000) == nil)
        #expect(otherGuest.get16(4) == 0)
        var foreign = bytes
        foreign[8] = 0
        #expect(throws: PCIError.self) { try other.restoreState(foreign) }
    }

    @Test("the generic host bridge is one, and remembers nothing that it should not")
    func genericHostBridge() throws {
        let machine = try Machine()
        let bridge = try PCIGenericHostBridge()
        try machine.host.rootBus.insert(bridge, device: 0)
        let guest = Function(machine: machine, device: 0)
        #expect(guest.get32(0) == 0x0008_1B36)
        #expect(guest.get32(8) == 0x0600_0000)
        guest.setCommand(6)
        try bridge.restoreState(bridge.saveState())
        #expect(guest.get16(4) == 4)
        machine.host.reset()
        #expect(guest.get16(4) == 0)
    }
}
