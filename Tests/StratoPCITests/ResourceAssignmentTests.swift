import StratoMemory
import Testing

@testable import StratoPCI

@Suite("Placing ranges without firmware")
struct ResourceAssignmentTests {
    private static func pools(
        ports: UInt64 = Machine.portSize, memory: UInt64 = Machine.lowSize, prefetchable: UInt64? = Machine.highSize
    ) throws -> PCIResourceAssignment.Pools {
        PCIResourceAssignment.Pools(
            ports: ports == 0 ? nil : try range(Machine.portBase, ports), memory: try range(Machine.lowBase, memory),
            prefetchable: try prefetchable.map { try range(Machine.highBase, $0) })
    }

    /// Devices of every kind of range, on the root bus and behind ports, one of which is empty.
    private func populate(_ machine: Machine) throws -> [TestFunction] {
        let root = [
            try TestFunction(
                "a",
                ranges: [
                    (0, .port, 32), (1, .memory32(isPrefetchable: false), 4096), (2, .memory64(isPrefetchable: false), 0x4000),
                ]),
            try TestFunction(
                "b", ranges: [(0, .memory64(isPrefetchable: true), 1 << 33), (4, .memory32(isPrefetchable: true), 1 << 24)]),
        ]
        let behind = [
            try TestFunction(
                "c", size: .express,
                ranges: [(0, .memory32(isPrefetchable: false), 1 << 16), (2, .memory64(isPrefetchable: true), 1 << 26)],
                isMultifunction: true),
            try TestFunction("d", size: .express, ranges: [(5, .port, 256), (0, .memory32(isPrefetchable: false), 128)]),
        ]
        for (index, function) in root.enumerated() { try machine.host.rootBus.insert(function, device: UInt8(index + 1)) }
        for index in 0..<2 {
            let port = try PCIExpressRootPort(
                .init(name: "rp\(index)", port: UInt8(index), slot: UInt16(index)), messages: machine.messages,
                logger: machine.logger, onEject: { _ in })
            if index == 1 {
                try port.insert(behind[0])
                try port.insert(behind[1], function: 3)
            }
            try machine.host.rootBus.insert(port, device: UInt8(index + 3))
        }
        return root + behind
    }

    private func check(_ machine: Machine, _ functions: [TestFunction]) throws {
        var placed: [(isPort: Bool, range: GuestRange)] = []
        for function in functions {
            for (region, registers) in zip(function.summary.regions, function.registers) {
                let address = try #require(region.address, "\(function.name) \(region.index)").value
                #expect(address % region.size == 0)
                let isPort = region.kind == .port
                let end = address + region.size - 1
                if isPort { machine.portOut(0x5A, end, 1) } else { machine.store(0x5A, end, 1) }
                #expect(registers.read(at: region.size - 1, width: 1) == 0x5A, "\(function.name) \(region.index)")
                let range = try range(address, region.size)
                #expect(!placed.contains { $0.isPort == isPort && $0.range.overlaps(range) })
                placed.append((isPort, range))
            }
        }
        #expect(machine.log.all.isEmpty)
    }

    @Test("every range has a place of its own and is reached there, through bridges too")
    func everything() throws {
        let machine = try Machine()
        let functions = try populate(machine)
        try PCIResourceAssignment(ResourceAssignmentTests.pools()).assign(to: machine.host)
        try check(machine, functions)
        #expect(functions[1].summary.regions[0].address?.value ?? 0 >= Machine.highBase)
        #expect(functions[3].summary.regions.count == 2)
        // Drivers switch bus mastering on, nobody else.
        #expect(Function(machine: machine, device: 1).get16(4) == 3)
        #expect(Function(machine: machine, bus: 2, device: 0, function: 3).get16(0) == 0xDEAD)
    }

    @Test("an empty slot has a bus number and room for a device that comes later")
    func emptySlot() throws {
        let machine = try Machine()
        _ = try populate(machine)
        try PCIResourceAssignment(ResourceAssignmentTests.pools()).assign(to: machine.host)
        let bridge = try #require(machine.host.function(bus: 0, device: 3, function: 0)?.summary.bridge)
        #expect(bridge.secondaryBus == 1 && bridge.subordinateBus == 1)
        #expect(bridge.memory?.size == 2 << 20)
        #expect(bridge.prefetchable?.size == 32 << 20)
        #expect(bridge.ports == nil)
        let full = try #require(machine.host.function(bus: 0, device: 4, function: 0)?.summary.bridge)
        #expect(full.ports?.size == 4096 && full.prefetchable?.size == 64 << 20)
    }

    @Test("after a reset the same functions get the same places")
    func again() throws {
        let machine = try Machine()
        let functions = try populate(machine)
        let assignment = PCIResourceAssignment(try ResourceAssignmentTests.pools())
        try assignment.assign(to: machine.host)
        let before = functions.map(\.summary)
        machine.host.reset()
        #expect(functions.allSatisfy { $0.summary.regions.allSatisfy { $0.address == nil } })
        try assignment.assign(to: machine.host)
        #expect(functions.map(\.summary) == before)
        try check(machine, functions)
    }

    @Test("without a 64-bit window everything that fits is below 4 GiB")
    func low() throws {
        let machine = try Machine()
        let function = try TestFunction("a", ranges: [(0, .memory64(isPrefetchable: true), 1 << 20)])
        let port = try PCIExpressRootPort(
            .init(name: "rp", port: 0, slot: 0), messages: machine.messages, logger: machine.logger, onEject: { _ in })
        try port.insert(function)
        try machine.host.rootBus.insert(port, device: 1)
        try PCIResourceAssignment(ResourceAssignmentTests.pools(prefetchable: nil)).assign(to: machine.host)
        try check(machine, [function])
        #expect(port.summary.bridge?.prefetchable == nil)
    }

    @Test("what finds no room is named")
    func noRoom() throws {
        func failure(
            _ ranges: [(index: Int, kind: PCIBaseAddress.Kind, size: UInt64)], _ pools: PCIResourceAssignment.Pools
        ) throws -> String {
            let machine = try Machine()
            try machine.host.rootBus.insert(TestFunction("disk", ranges: ranges), device: 1)
            do {
                try PCIResourceAssignment(pools).assign(to: machine.host)
                return "placed"
            } catch {
                return "\(error)"
            }
        }
        let pools = try ResourceAssignmentTests.pools(memory: 1 << 20)
        #expect(try failure([(0, .memory32(isPrefetchable: false), 1 << 20)], pools) == "placed")
        #expect(
            try failure([(0, .memory32(isPrefetchable: false), 1 << 20), (1, .memory32(isPrefetchable: false), 128)], pools)
                .hasPrefix("disk BAR 1: there is no room for its 128 bytes of memory"))
        #expect(try failure([(0, .memory64(isPrefetchable: true), 1 << 62)], pools).hasPrefix("disk BAR 0: there is no room"))
        #expect(
            try failure([(0, .port, 16)], ResourceAssignmentTests.pools(ports: 0))
                == "disk BAR 0: the machine has no ports for PCI")
    }
}
