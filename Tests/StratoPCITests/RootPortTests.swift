import Foundation
import StratoHost
import StratoMemory
import Testing

@testable import StratoPCI

/// Registers of the PCI Express capability, from the specification (PCI Express Base 4.0, 7.5.3).
private enum Express {
    static let linkControl = 0x10
    static let linkStatus = 0x12
    static let slotCapabilities = 0x14
    static let slotControl = 0x18
    static let slotStatus = 0x1A
    static let rootControl = 0x1C
}

/// A machine with one root port at device 2, numbered by the guest.
private final class Bench {
    /// Slot control as drivers use it.
    static let allEvents: UInt16 = 1 << 12 | 1 << 5 | 1 << 3 | 1 << 0
    static let powerOn: UInt16 = 1 << 8
    static let powerBlink: UInt16 = 2 << 8
    static let powerIndicatorOff: UInt16 = 3 << 8
    static let powerOff: UInt16 = 1 << 10

    let machine: Machine
    let port: PCIExpressRootPort
    let guest: Function
    let child = { (machine: Machine) in Function(machine: machine, bus: 1, device: 0) }
    private let lock = NSLock()
    nonisolated(unsafe) private var ejected: [String] = []

    init(_ function: TestFunction? = nil) throws {
        machine = try Machine()
        let box = Box()
        port = try PCIExpressRootPort(
            PCIExpressRootPort.Options(name: "rp1", port: 3, slot: 7), messages: machine.messages, logger: machine.logger,
            onEject: { box.bench?.note($0) })
        if let function { try port.insert(function) }
        try machine.host.rootBus.insert(port, device: 2)
        guest = Function(machine: machine, device: 2)
        box.bench = self
        number()
    }

    private final class Box: @unchecked Sendable {
        weak var bench: Bench?
    }

    private func note(_ functions: [any PCIFunction]) { lock.withLock { ejected += functions.map(\.name) } }

    var gone: [String] { lock.withLock { ejected } }

    var express: Int { guest.capability(0x10) ?? 0 }
    var below: Function { child(machine) }

    func number() {
        guest.set8(0x19, 1)
        guest.set8(0x1A, 1)
        guest.set16(0x20, 0xC010)
        guest.set16(0x22, 0xC010)
        guest.set16(0x1C, 0x2020)
        guest.set32(0x10, 0xC000_0000)
        guest.setCommand(7)
    }

    var status: UInt16 { guest.get16(express + Express.slotStatus) }
    var isLinkActive: Bool { guest.get16(express + Express.linkStatus) & 0x2000 != 0 }
    func control(_ value: UInt16) { guest.set16(express + Express.slotControl, value) }
    /// Takes the events that are there, as an interrupt handler does.
    func takeEvents() -> UInt16 {
        let events = status & 0x11F
        guest.set16(express + Express.slotStatus, events)
        return events
    }

    func enableMessages() throws {
        machine.store(0xFEE0_0000, 0xC000_0000)
        machine.store(0x55, 0xC000_0008)
        machine.store(0, 0xC000_000C)
        try guest.setMSIX(isEnabled: true)
    }

    var interrupts: Int { machine.messages.take().count }
}

private func endpoint(_ name: String = "nic", isMultifunction: Bool = false) throws -> TestFunction {
    try TestFunction(
        name, size: .express, ranges: [(0, .memory32(isPrefetchable: false), 4096), (1, .port, 16)],
        isMultifunction: isMultifunction)
}

@Suite("PCI Express root port")
struct RootPortTests {
    @Test("the port says that it is one, with a slot that can be plugged")
    func identity() throws {
        let bench = try Bench()
        #expect(bench.guest.get32(0) == 0x000C_1B36)
        #expect(bench.guest.get32(8) == 0x0604_0000)
        #expect(bench.guest.get8(0x0E) == 1)
        let express = bench.express
        // Version 2, root port, slot implemented.
        #expect(bench.guest.get16(express + 2) == 0x0142)
        #expect(bench.guest.get32(express + Express.slotCapabilities) == 7 << 19 | 1 << 18 | 0x7B)
        #expect(bench.guest.get32(express + 0x0C) >> 24 == 3)
        #expect(bench.guest.get32(express + 0x0C) & 1 << 20 != 0)
        // A trained link has a speed and a width.
        #expect(bench.guest.get16(express + Express.linkStatus) & 0x3FF == 0x11)
        #expect(bench.guest.get8(0x3D) == 1)
        #expect(bench.guest.get32(0x100) == 0)
        #expect(bench.guest.capability(0x11) != nil)
        #expect(throws: PCIError.self) {
            try PCIExpressRootPort(
                .init(name: "x", port: 0, slot: 8192), messages: bench.machine.messages, logger: .silent, onEject: { _ in })
        }
    }

    @Test("an empty slot has no power and no link; one that is full from the start has both, and no event")
    func powerOn() throws {
        let empty = try Bench()
        #expect(empty.status == 0 && !empty.isLinkActive)
        #expect(empty.guest.get16(empty.express + Express.slotControl) == 0x7C0)
        #expect(!empty.below.isPresent)
        let full = try Bench(endpoint())
        #expect(full.status == 0x40 && full.isLinkActive)
        #expect(full.guest.get16(full.express + Express.slotControl) == 0x1C0)
        #expect(full.below.get16(0) == 0xDEAD)
        #expect(!Function(machine: full.machine, bus: 1, device: 1).isPresent)
        #expect(!Function(machine: full.machine, bus: 2, device: 0).isPresent)
    }

    @Test("configuration accesses follow the bus numbers that the guest gives")
    func busNumbers() throws {
        let bench = try Bench(endpoint())
        bench.guest.set8(0x19, 9)
        #expect(!Function(machine: bench.machine, bus: 1, device: 0).isPresent)
        // A subordinate number below the secondary one forwards nothing.
        #expect(!Function(machine: bench.machine, bus: 9, device: 0).isPresent)
        bench.guest.set8(0x1A, 0xFF)
        #expect(Function(machine: bench.machine, bus: 9, device: 0).isPresent)
        #expect(!Function(machine: bench.machine, bus: 10, device: 0).isPresent)
        bench.guest.set8(0x19, 0)
        #expect(!Function(machine: bench.machine, bus: 9, device: 0).isPresent)
        #expect(bench.guest.isPresent)
    }

    @Test("ranges below the port are reached through its windows while these and decoding are open")
    func windows() throws {
        let bench = try Bench(endpoint())
        let below = bench.below
        below.set32(0x10, 0xC010_0000)
        below.set32(0x14, 0x2000)
        below.setCommand(3)
        #expect(bench.machine.load(0xC010_0000) == 0)
        #expect(bench.machine.portIn(0x2000, 1) == 0)
        bench.guest.setCommand(6)
        #expect(bench.machine.portIn(0x2000, 1) == nil)
        #expect(bench.machine.load(0xC010_0000) == 0)
        bench.guest.setCommand(4)
        #expect(bench.machine.load(0xC010_0000) == nil)
        bench.guest.setCommand(7)
        below.set32(0x10, 0xC020_0000)
        #expect(bench.machine.load(0xC020_0000) == nil)
        bench.guest.set16(0x22, 0xC020)
        #expect(bench.machine.load(0xC020_0000) == 0)
        // Closed, and opened as the prefetchable window.
        bench.guest.set16(0x22, 0xC000)
        #expect(bench.machine.load(0xC020_0000) == nil)
        bench.guest.set32(0x24, 0xC021_C021)
        #expect(bench.machine.load(0xC020_0000) == 0)
    }

    @Test("pins below a port are turned by the port's own device number")
    func interrupts() throws {
        let function = try endpoint()
        let bench = try Bench(function)
        function.core.pin.setPending(true)
        #expect(bench.machine.lines[2].level)
        function.core.pin.setPending(false)
        #expect(bench.machine.lines[2].levels == [true, false])
    }

    @Test("messages from below carry the bus number that the guest has given last")
    func requester() throws {
        let machine = try Machine()
        let function = try TestFunction("nic", size: .express, vectors: 1, vectorRegister: 0, messages: machine.messages)
        let port = try PCIExpressRootPort(
            .init(name: "rp", port: 0, slot: 0), messages: machine.messages, logger: .silent, onEject: { _ in })
        try port.insert(function)
        try machine.host.rootBus.insert(port, device: 2)
        let guest = Function(machine: machine, device: 2)
        guest.set8(0x1A, 0xFF)
        guest.set8(0x19, 5)
        let below = Function(machine: machine, bus: 5, device: 0)
        below.setCommand(6)
        try below.setMSIX(isEnabled: true)
        function.msix?.write(0, at: 12, width: 4)
        function.msix?.notify(0)
        #expect(machine.messages.take().map(\.deviceID) == [0x500])
    }

    @Test("a secondary bus reset puts what is below back to power-on, once for each time it is asked")
    func secondaryReset() throws {
        let function = try endpoint()
        let bench = try Bench(function)
        bench.below.set32(0x10, 0xC010_0000)
        bench.below.setCommand(2)
        let before = function.calls.count
        bench.guest.set16(0x3E, 0x40)
        bench.guest.set16(0x3E, 0x43)
        #expect(function.calls.count == before + 1)
        #expect(bench.machine.load(0xC010_0000) == nil)
        #expect(bench.below.get32(0x10) == 0)
        bench.guest.set16(0x3E, 0)
        #expect(bench.below.isPresent)
    }

    // MARK: Hot-plug

    @Test("a device that is plugged in is announced, gets its power from the guest and is there then; the way Linux does it")
    func plug() throws {
        let bench = try Bench()
        try bench.enableMessages()
        bench.control(0x7C0 | Bench.allEvents)
        #expect(bench.interrupts == 0)
        let function = try endpoint()
        try bench.port.plug([(0, function)])
        #expect(bench.interrupts == 1)
        #expect(bench.status == 0x40 | 1 << 3)
        #expect(!bench.isLinkActive && !bench.below.isPresent)
        #expect(bench.takeEvents() == 1 << 3)
        #expect(bench.status == 0x40)
        // Power and blinking indicator.
        bench.control(0x0C0 | Bench.powerBlink | Bench.allEvents)
        #expect(bench.isLinkActive)
        #expect(bench.interrupts == 1)
        #expect(bench.takeEvents() == 1 << 8)
        #expect(bench.below.get16(2) == 0xBEEF)
        bench.control(0x0C0 | Bench.powerOn | Bench.allEvents)
        #expect(bench.status == 0x40)
        #expect(bench.interrupts == 0)
        #expect(throws: PCIError.self) { try bench.port.plug([(0, try endpoint("other"))]) }
    }

    @Test("a removal is asked for by the button, and the device goes when the guest has switched power and indicator off")
    func unplug() throws {
        let function = try endpoint()
        let bench = try Bench(function)
        try bench.enableMessages()
        bench.control(0x1C0 | Bench.allEvents)
        bench.below.set32(0x10, 0xC010_0000)
        bench.below.setCommand(2)
        try bench.port.requestRemoval()
        #expect(bench.interrupts == 1)
        #expect(bench.takeEvents() == 1)
        #expect(bench.below.isPresent)
        // A second press within the driver's five seconds would call the first one off.
        #expect(throws: PCIError.self) { try bench.port.requestRemoval() }
        bench.control(0x0C0 | Bench.powerBlink | Bench.allEvents)
        #expect(bench.gone.isEmpty && bench.below.isPresent)
        bench.control(0x0C0 | Bench.powerBlink | Bench.powerOff | Bench.allEvents)
        #expect(bench.gone.isEmpty && !bench.below.isPresent)
        #expect(bench.machine.load(0xC010_0000) == nil)
        #expect(bench.takeEvents() == 1 << 8)
        bench.control(0x0C0 | Bench.powerIndicatorOff | Bench.powerOff | Bench.allEvents)
        #expect(bench.gone == ["nic"])
        #expect(function.calls.suffix(2) == ["detach", "reset"])
        #expect(bench.status == 1 << 3)
        #expect(bench.port.secondaryBus.functions.isEmpty)
        // And another one can come.
        #expect(bench.takeEvents() == 1 << 3)
        try bench.port.plug([(0, try endpoint("next"))])
        bench.control(0x0C0 | Bench.powerOn | Bench.allEvents)
        #expect(bench.below.isPresent)
    }

    @Test("a guest that switches power off by itself keeps the device, which is there again with the power, as new")
    func powerCycle() throws {
        let function = try endpoint()
        let bench = try Bench(function)
        bench.below.set32(0x10, 0xC010_0000)
        bench.control(0x0C0 | Bench.powerIndicatorOff | Bench.powerOff)
        #expect(!bench.below.isPresent && bench.gone.isEmpty)
        #expect(bench.status & 0x40 != 0)
        bench.control(0x0C0 | Bench.powerOn)
        #expect(bench.below.isPresent)
        #expect(bench.below.get32(0x10) == 0)
    }

    @Test("a device without power goes at once, and so does one whose guest is reset")
    func immediateRemoval() throws {
        let bench = try Bench(endpoint())
        bench.control(0x0C0 | Bench.powerIndicatorOff | Bench.powerOff)
        try bench.port.requestRemoval()
        #expect(bench.gone == ["nic"])
        #expect(throws: PCIError.self) { try bench.port.requestRemoval() }
        try bench.port.plug([(0, try endpoint("second"))])
        bench.control(0x0C0 | Bench.powerOn)
        try bench.port.requestRemoval()
        #expect(bench.gone == ["nic"])
        bench.machine.host.reset()
        #expect(bench.gone == ["nic", "second"])
        #expect(bench.status == 0)
    }

    @Test("a device of several functions comes and goes as one")
    func multifunction() throws {
        let bench = try Bench()
        #expect(throws: PCIError.self) { try bench.port.plug([(1, try endpoint("b"))]) }
        #expect(throws: PCIError.self) { try bench.port.plug([(0, try endpoint("a")), (1, try endpoint("b"))]) }
        #expect(bench.port.secondaryBus.functions.isEmpty)
        #expect(bench.status == 0)
        try bench.port.plug([(1, try endpoint("b")), (0, try endpoint("a", isMultifunction: true))])
        bench.control(Bench.powerOn)
        #expect(Function(machine: bench.machine, bus: 1, device: 0, function: 1).isPresent)
        try bench.port.requestRemoval()
        bench.control(Bench.powerIndicatorOff | Bench.powerOff)
        #expect(bench.gone == ["a", "b"])
    }

    @Test("events raise the pin until they are cleared, and only those that are enabled")
    func eventEnables() throws {
        let bench = try Bench(endpoint())
        // The port is device 2, its pin A.
        let line = bench.machine.lines[2]
        try bench.port.requestRemoval()
        #expect(!line.level)
        bench.control(0x1C0 | 1 << 5 | 1 << 3)
        #expect(!line.level)
        bench.control(0x1C0 | 1 << 5 | 1 << 0)
        #expect(line.level)
        #expect(bench.guest.get16(6) & 8 != 0)
        bench.control(0x1C0 | 1 << 0)
        #expect(!line.level)
        bench.control(0x1C0 | 1 << 5 | 1 << 0)
        bench.guest.set16(bench.express + Express.slotStatus, 1 << 3)
        #expect(line.level)
        bench.guest.set16(bench.express + Express.slotStatus, 1)
        #expect(!line.level)
        #expect(bench.guest.get16(6) & 8 == 0)
    }

    @Test("a message is sent when the condition comes true, and again only after it was false")
    func edges() throws {
        let bench = try Bench(endpoint())
        try bench.enableMessages()
        bench.control(0x1C0 | Bench.allEvents)
        try bench.port.requestRemoval()
        bench.control(0x1C0 | Bench.allEvents | Bench.powerOff)
        // Two events, one condition.
        #expect(bench.interrupts == 1)
        bench.guest.set16(bench.express + Express.slotStatus, 1)
        #expect(bench.interrupts == 0)
        bench.guest.set16(bench.express + Express.slotStatus, 1 << 8)
        #expect(bench.status & 0x1FF == 0x40)
        bench.control(0x1C0 | Bench.allEvents)
        #expect(bench.interrupts == 1)
    }

    @Test("a disabled link takes the device away without its power")
    func linkDisable() throws {
        let function = try endpoint()
        let bench = try Bench(function)
        bench.guest.set16(bench.express + Express.linkControl, 0x10)
        #expect(!bench.isLinkActive && !bench.below.isPresent)
        #expect(bench.takeEvents() == 1 << 8)
        bench.guest.set16(bench.express + Express.linkControl, 0)
        #expect(bench.isLinkActive && bench.below.isPresent)
    }

    @Test("the end gives back the port's vector and ends what is in the slot")
    func shutDown() throws {
        let function = try endpoint()
        let bench = try Bench(function)
        try bench.enableMessages()
        #expect(bench.machine.messages.lines == 1)
        bench.machine.host.shutDown()
        #expect(bench.machine.messages.lines == 0)
        #expect(function.calls.last == "shutDown")
    }

    @Test("a reset brings the port back to power-on, a thousand times")
    func reset() throws {
        let bench = try Bench(endpoint())
        for _ in 0..<1000 {
            bench.machine.host.reset()
            #expect(bench.guest.get8(0x19) == 0 && bench.status == 0x40 && bench.isLinkActive)
            bench.number()
            #expect(bench.below.isPresent)
            bench.below.set32(0x10, 0xC010_0000)
            bench.below.setCommand(2)
            #expect(bench.machine.load(0xC010_0000) == 0)
        }
        // The port's own vectors and the endpoint's range; nothing has piled up.
        #expect(bench.machine.memory.ranges.count == 3)
    }

    @Test("the saved port goes on with its numbers, windows and a removal under way")
    func state() throws {
        let bench = try Bench(endpoint())
        bench.control(0x1C0 | Bench.allEvents)
        try bench.port.requestRemoval()
        _ = bench.takeEvents()
        bench.below.set32(0x10, 0xC010_0000)
        bench.below.setCommand(2)
        let port = bench.port.saveState()
        let child = try #require(bench.port.secondaryBus.functions.first?.object).saveState()
        let other = try Bench(endpoint())
        other.machine.host.reset()
        try other.port.restoreState(port)
        try #require(other.port.secondaryBus.functions.first?.object).restoreState(child)
        #expect(other.below.isPresent)
        #expect(other.status == 0x40)
        #expect(other.machine.load(0xC010_0000) == 0)
        let isSame = other.port.saveState() == port
        #expect(isSame)
        other.control(0x0C0 | Bench.powerIndicatorOff | Bench.powerOff)
        #expect(other.gone == ["nic"])
        for length in 0..<port.count {
            #expect(throws: PCIError.self) { try other.port.restoreState(Array(port.prefix(length))) }
        }
        #expect(other.guest.get8(0x19) == 0)
    }

    @Test("a port keeps its device when it goes back to a state, also while that device's removal is asked for")
    func restoredInPlace() throws {
        let bench = try Bench(TestFunction("disk"))
        let before = bench.port.saveState()
        try bench.port.requestRemoval()
        let under = bench.port.saveState()
        for state in [under, before] {
            try bench.port.restoreState(state)
            #expect(bench.port.secondaryBus.functions.count == 1)
            #expect(bench.gone == [])
        }
        // What was asked for belongs to the state that was left: it can be asked for anew.
        try bench.port.requestRemoval()
    }

    @Test("no order of accesses to port and device gets past the rules", arguments: 0..<4)
    func fuzz(seed: Int) throws {
        var random = SeededGenerator(UInt64(seed) + 77)
        let bench = try Bench()
        var count = 0
        for _ in 0..<4000 {
            let target = [bench.guest, bench.guest, bench.below].randomElement(using: &random) ?? bench.guest
            let interesting =
                [4, 0x10, 0x18, 0x19, 0x1A, 0x1C, 0x20, 0x24, 0x28, 0x2C, 0x3E]
                + [0x10, 0x18, 0x1A].map { bench.express + $0 }
            let offset =
                Bool.random(using: &random)
                ? interesting.randomElement(using: &random) ?? 4 : Int.random(in: 0..<4096, using: &random)
            let width = Int.random(in: 1...8, using: &random)
            if Bool.random(using: &random) {
                target.set(offset, UInt64.random(in: 0...UInt64.max, using: &random), width)
            } else {
                _ = target.get(offset, width)
            }
            switch Int.random(in: 0..<40, using: &random) {
            case 0:
                count += 1
                try? bench.port.plug([(0, try endpoint("e\(count)"))])
            case 1: try? bench.port.requestRemoval()
            case 2: bench.number()
            case 3: if Int.random(in: 0..<10, using: &random) == 0 { bench.machine.host.reset() }
            default: break
            }
            let isPresent = !bench.port.secondaryBus.functions.isEmpty
            #expect((bench.status & 0x40 != 0) == isPresent)
            #expect(!bench.isLinkActive || isPresent)
            #expect(bench.guest.get32(0) == 0x000C_1B36)
            if !bench.isLinkActive { #expect(!bench.below.isPresent) }
        }
        #expect(count > 50)
        #expect(!bench.gone.isEmpty)
        bench.machine.host.reset()
        #expect(bench.machine.messages.lines == 0)
    }
}
