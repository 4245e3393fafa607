#if arch(x86_64)
import Foundation
import StratoHost
import StratoMemory
import Testing

@testable import StratoPCI

/// The chip set, with what it moves written down.
private final class Bench {
    let machine: Machine
    let power = TestRegisters("power")
    let ports: PCIConfigurationPorts
    let hub: MemoryControllerHub
    let bridge: LPCBridge
    private let moves = Moves()

    final class Moves: @unchecked Sendable {
        private let lock = NSLock()
        private var stored: [String] = []
        func add(_ text: String) { lock.withLock { stored.append(text) } }
        var all: [String] { lock.withLock { stored } }
    }

    init(configurationBase: UInt64? = nil, powerBase: UInt16? = nil) throws {
        machine = try Machine(isReachable: false)
        ports = PCIConfigurationPorts(host: machine.host)
        try machine.ports.insert(ports, at: try range(0xCF8, 8))
        let moves = moves
        hub = try MemoryControllerHub(
            configuration: machine.configuration, base: configurationBase, logger: machine.logger,
            onMove: { moves.add($0.map { "\($0.base) \($0.size >> 20)" } ?? "nowhere") },
            onManagementQuery: { moves.add("SMM") })
        bridge = try LPCBridge(powerManagement: power, base: powerBase)
        try machine.host.rootBus.insert(hub, device: 0)
        try machine.host.rootBus.insert(bridge, device: LPCBridge.device)
    }

    var moved: [String] { moves.all }

    private func select(_ device: UInt64, _ register: Int) {
        machine.portOut(0x8000_0000 | device << 11 | UInt64(register & 0xFC), 0xCF8, 4)
    }

    func get(_ device: UInt64, _ register: Int, _ width: Int) -> UInt64 {
        select(device, register)
        return machine.portIn(0xCFC + UInt64(register & 3), width) ?? 0
    }

    func set(_ device: UInt64, _ register: Int, _ value: UInt64, _ width: Int) {
        select(device, register)
        machine.portOut(value, 0xCFC + UInt64(register & 3), width)
    }
}

@Suite("Q35 and ICH9")
struct Q35Tests {
    @Test("the chip set says what it is")
    func identity() throws {
        let bench = try Bench()
        #expect(bench.get(0, 0, 4) == 0x29C0_8086)
        #expect(bench.get(0, 8, 4) == 0x0600_0002)
        #expect(bench.get(0x1F, 0, 4) == 0x2918_8086)
        #expect(bench.get(0x1F, 8, 4) == 0x0601_0002)
        #expect(bench.get(0x1F, 4, 2) == 7)
        #expect(bench.get(0x1F, 0x3D, 1) == 0)
    }

    @Test("the steps of OVMF's platform initialization have their effect")
    func firmware() throws {
        let bench = try Bench()
        // Power management: enabled already? No: base, then enable.
        #expect(bench.get(0x1F, 0x44, 1) & 0x80 == 0)
        #expect(bench.machine.portIn(0x600, 4) == nil)
        let base = bench.get(0x1F, 0x40, 4)
        bench.set(0x1F, 0x40, base & ~0xFF80 | 0x600, 4)
        bench.set(0x1F, 4, bench.get(0x1F, 4, 1) | 1, 1)
        bench.set(0x1F, 0x44, bench.get(0x1F, 0x44, 1) | 0x80, 1)
        #expect(bench.get(0x1F, 0x40, 4) == 0x601)
        bench.machine.portOut(1, 0x604, 2)
        #expect(bench.power.read(at: 4, width: 2) == 1)
        #expect(bench.machine.portIn(0x67C, 4) == 0)
        #expect(bench.machine.portIn(0x680, 1) == nil)
        // Root complex registers.
        bench.set(0x1F, 0xF0, 0xFED1_C001, 4)
        #expect(bench.machine.load(0xFED1_C000) == 0)
        #expect(bench.machine.load(0xFED1_C000 + 0x3410) == 0x20)
        #expect(bench.machine.load(0xFED1_C000 + 0x340E, 8) == 0x20_0000)
        // Configuration space.
        bench.set(0, 0x60, 0, 4)
        bench.set(0, 0x64, 0, 4)
        #expect(bench.moved.isEmpty)
        bench.set(0, 0x60, 0xB000_0001, 4)
        #expect(bench.moved == ["0xb0000000 256"])
        #expect(bench.machine.load(0xB000_0000) == 0x29C0_8086)
        #expect(bench.machine.load(0xB000_0000 | 0x1F << 15) == 0x2918_8086)
        #expect(bench.machine.load(0xBFFF_FFFC) == 0xFFFF_FFFF)
        // Interrupt routing.
        for (index, register) in [0x60, 0x61, 0x62, 0x63, 0x68, 0x69, 0x6A, 0x6B].enumerated() {
            #expect(bench.get(0x1F, register, 1) == 0x80)
            bench.set(0x1F, register, UInt64(10 + index % 2), 1)
            #expect(bench.get(0x1F, register, 1) == UInt64(10 + index % 2))
        }
    }

    @Test("configuration space moves as the guest says, in three sizes")
    func configurationBase() throws {
        let bench = try Bench(configurationBase: 0xB000_0000)
        #expect(bench.moved == ["0xb0000000 256"])
        bench.set(0, 0x60, 0xA000_0003, 4)
        #expect(bench.machine.load(0xB000_0000) == nil)
        #expect(bench.machine.load(0xA7FF_FFFC) == 0xFFFF_FFFF)
        #expect(bench.machine.load(0xA800_0000) == nil)
        bench.set(0, 0x60, 0xA400_0005, 4)
        #expect(bench.machine.load(0xA3FF_FFFC) == nil)
        #expect(bench.machine.load(0xA400_0000) == 0x29C0_8086)
        #expect(bench.machine.load(0xA7FF_FFFC) == 0xFFFF_FFFF)
        // Bits below the length are not compared.
        bench.set(0, 0x60, 0xA400_0001, 4)
        #expect(bench.machine.load(0xA000_0000) == 0x29C0_8086)
        // Above 4 GiB.
        bench.set(0, 0x64, 0xF, 4)
        #expect(bench.machine.load(0xF_A000_0000) == 0x29C0_8086)
        bench.set(0, 0x64, 0xFFFF_FFFF, 4)
        #expect(bench.get(0, 0x64, 4) == 0xF)
        // The reserved length is nowhere, with a line in the log.
        bench.set(0, 0x60, 0xA000_0007, 4)
        #expect(bench.machine.memory.ranges.isEmpty)
        #expect(bench.machine.log.all.contains { $0.contains("reserved length") })
        bench.set(0, 0x60, 0xA000_0000, 4)
        #expect(bench.moved.last == "nowhere")
        bench.machine.host.reset()
        #expect(bench.machine.load(0xB000_0000) == 0x29C0_8086)
        #expect(bench.moved.last == "0xb0000000 256")
    }

    @Test("configuration space that a function is in the way of is not reached until that has gone, and is told of then")
    func configurationBaseInTheWay() throws {
        let bench = try Bench()
        let function = try TestFunction("f", ranges: [(0, .memory32(isPrefetchable: false), 4096)])
        try bench.machine.host.rootBus.insert(function, device: 1)
        bench.set(1, 0x10, 0xC000_0000, 4)
        bench.set(1, 4, 2, 2)
        bench.set(0, 0x60, 0xC000_0001, 4)
        #expect(bench.machine.load(0xC000_0000) == 0)
        #expect(bench.moved.isEmpty)
        bench.set(1, 4, 0, 2)
        #expect(bench.machine.load(0xC000_0000) == 0x29C0_8086)
        #expect(bench.moved == ["0xc0000000 256"])
    }

    @Test("without firmware the machine places configuration space and power management, before and after a reset")
    func placedByTheMachine() throws {
        let bench = try Bench(configurationBase: 0xE000_0000, powerBase: 0x600)
        for _ in 0..<2 {
            #expect(bench.machine.load(0xE000_0000) == 0x29C0_8086)
            #expect(bench.machine.portIn(0x600, 2) == 0)
            #expect(bench.get(0x1F, 0x40, 4) == 0x601)
            #expect(bench.get(0x1F, 0x44, 1) == 0x80)
            bench.set(0x1F, 0x44, 0, 1)
            #expect(bench.machine.portIn(0x600, 2) == nil)
            bench.set(0, 0x60, 0, 4)
            bench.machine.host.reset()
        }
        #expect(throws: PCIError.self) { try Bench(configurationBase: 0xB800_0000) }
        #expect(throws: PCIError.self) { try Bench(configurationBase: 1 << 40) }
        #expect(throws: PCIError.self) { try Bench(powerBase: 0x640) }
    }

    @Test("firmware that looks for system management mode finds none, and the machine is told")
    func managementMode() throws {
        let bench = try Bench()
        // No cache bits: there is no management memory.
        #expect(bench.get(0, 0x9E, 1) == 0)
        bench.set(0, 0x9E, 0xFF, 1)
        #expect(bench.get(0, 0x9E, 1) == 0)
        // It cannot be opened or locked.
        bench.set(0, 0x9D, 0xFF, 1)
        #expect(bench.get(0, 0x9D, 1) == 2)
        #expect(bench.moved.isEmpty)
        bench.set(0, 0x50, 0x0001, 2)
        #expect(bench.moved.isEmpty)
        bench.set(0, 0x50, 0xFFFF, 2)
        #expect(bench.get(0, 0x50, 2) == 0xFFFF)
        #expect(bench.moved == ["SMM"])
        // The legacy area is RAM, and stays so.
        for register in 0x91...0x96 {
            bench.set(0, register, 0, 1)
            #expect(bench.get(0, register, 1) == 0x33)
        }
    }

    @Test("the saved chip set has everything at its place again")
    func state() throws {
        let bench = try Bench()
        bench.set(0, 0x60, 0xA000_0001, 4)
        bench.set(0x1F, 0x40, 0x680, 4)
        bench.set(0x1F, 0x44, 0x80, 1)
        bench.set(0x1F, 0xF0, 0xFED1_C001, 4)
        let (hub, bridge) = (bench.hub.saveState(), bench.bridge.saveState())
        let other = try Bench()
        try other.hub.restoreState(hub)
        try other.bridge.restoreState(bridge)
        #expect(other.machine.memory.ranges == bench.machine.memory.ranges)
        #expect(other.machine.ports.ranges == bench.machine.ports.ranges)
        #expect(other.moved == ["0xa0000000 256"])
        #expect(throws: PCIError.self) { try other.hub.restoreState(bridge) }
        #expect(other.machine.load(0xA000_0000) == nil)
        #expect(throws: PCIError.self) { try other.bridge.restoreState(Array(bridge.dropLast())) }
        #expect(other.machine.portIn(0x680, 1) == nil)
    }

    @Test("registers of anything at any width never trap, and the chip set stays what it is", arguments: 0..<4)
    func fuzz(seed: Int) throws {
        var random = SeededGenerator(UInt64(seed) + 50)
        let bench = try Bench()
        for _ in 0..<10_000 {
            let device: UInt64 = Bool.random(using: &random) ? 0 : 0x1F
            let register =
                [0x40, 0x44, 0x50, 0x60, 0x64, 0xF0, Int.random(in: 0..<256, using: &random)]
                .randomElement(using: &random) ?? 0
            let width = [1, 2, 4].randomElement(using: &random) ?? 1
            bench.set(device, register, UInt64.random(in: 0...0xFFFF_FFFF, using: &random) >> UInt64(32 - 8 * width), width)
            _ = bench.get(device, register, width)
            #expect(bench.machine.memory.ranges.count <= 2)
            #expect(bench.machine.ports.ranges.count <= 2)
        }
        #expect(bench.get(0, 0, 4) == 0x29C0_8086)
        #expect(bench.get(0x1F, 0, 4) == 0x2918_8086)
        bench.machine.host.reset()
        #expect(bench.machine.memory.ranges.isEmpty)
        #expect(bench.machine.log.all.count < 20)
    }

    @Test("the end lets go of the chip set, though bus and configuration space hold each other")
    func end() throws {
        weak var hub: MemoryControllerHub?
        weak var host: PCIHostBridge?
        do {
            let bench = try Bench(configurationBase: 0xB000_0000, powerBase: 0x600)
            (hub, host) = (bench.hub, bench.machine.host)
            bench.machine.host.shutDown()
            #expect(bench.machine.memory.ranges.isEmpty)
            #expect(bench.machine.ports.ranges.count == 1)
            bench.machine.ports.remove(try range(0xCF8, 8))
        }
        #expect(hub == nil)
        #expect(host == nil)
    }
}
#endif
