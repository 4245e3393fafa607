import Testing

/// What firmware does with a PCI hierarchy, register by register (PCI Local Bus 3.0, 6.2.5.1; PCI-to-PCI Bridge Architecture
/// 1.2, 3.2.5): numbers buses, sizes every range, hands out addresses, opens windows and switches decoding on. Written from
/// the specifications, without a look at how the registers work inside.
final class Firmware {
    struct Range: Equatable {
        var function: String
        var index: Int
        var isPort: Bool
        var is64: Bool
        var isPrefetchable: Bool
        var size: UInt64
        var address: UInt64 = 0
    }

    let machine: Machine
    private(set) var ranges: [Range] = []
    /// Addresses in the order in which they were found.
    private(set) var found: [String] = []
    private var nextBus: UInt8 = 0
    private var nextMemory: UInt64 = Machine.lowBase
    private var nextHigh: UInt64 = Machine.highBase
    private var nextPort: UInt64 = Machine.portBase

    init(_ machine: Machine) {
        self.machine = machine
    }

    func run() throws { try scan(bus: 0) }

    func range(_ function: String, _ index: Int) throws -> Range {
        try #require(ranges.first { $0.function == function && $0.index == index })
    }

    private func scan(bus: UInt8) throws {
        for device in 0..<UInt8(32) {
            let first = Function(machine: machine, bus: bus, device: device)
            guard first.isPresent else { continue }
            let count: UInt8 = first.get8(0x0E) & 0x80 != 0 ? 8 : 1
            for number in 0..<count {
                let function = Function(machine: machine, bus: bus, device: device, function: number)
                guard function.isPresent else { continue }
                try configure(function)
            }
        }
    }

    private func configure(_ function: Function) throws {
        let name = "\(function.bus):\(function.device).\(function.function)"
        found.append(name)
        let isBridge = function.get8(0x0E) & 0x7F == 1
        function.setCommand(0)
        var index = 0
        while index < (isBridge ? 2 : 6) {
            guard var range = size(function, index, name) else {
                index += 1
                continue
            }
            range.address = allocate(range)
            function.set32(0x10 + index * 4, UInt32(truncatingIfNeeded: range.address))
            if range.is64 { function.set32(0x14 + index * 4, UInt32(truncatingIfNeeded: range.address >> 32)) }
            ranges.append(range)
            index += range.is64 ? 2 : 1
        }
        if isBridge { try configureBridge(function) }
        function.setCommand(7)
    }

    private func configureBridge(_ bridge: Function) throws {
        nextBus += 1
        let secondary = nextBus
        bridge.set8(0x18, bridge.bus)
        bridge.set8(0x19, secondary)
        bridge.set8(0x1A, 0xFF)
        nextMemory = align(nextMemory, 1 << 20)
        nextHigh = align(nextHigh, 1 << 20)
        nextPort = align(nextPort, 1 << 12)
        let (memory, high, port) = (nextMemory, nextHigh, nextPort)
        try scan(bus: secondary)
        bridge.set8(0x1A, nextBus)
        nextMemory = align(nextMemory, 1 << 20)
        nextHigh = align(nextHigh, 1 << 20)
        nextPort = align(nextPort, 1 << 12)
        // A window that ends below its base is closed.
        bridge.set16(0x20, UInt16(truncatingIfNeeded: memory >> 16))
        bridge.set16(0x22, UInt16(truncatingIfNeeded: (nextMemory - 1) >> 16))
        bridge.set16(0x24, UInt16(truncatingIfNeeded: high >> 16))
        bridge.set16(0x26, UInt16(truncatingIfNeeded: (nextHigh - 1) >> 16))
        bridge.set32(0x28, UInt32(truncatingIfNeeded: high >> 32))
        bridge.set32(0x2C, UInt32(truncatingIfNeeded: (nextHigh - 1) >> 32))
        bridge.set8(0x1C, UInt8(truncatingIfNeeded: port >> 8))
        bridge.set8(0x1D, UInt8(truncatingIfNeeded: (nextPort - 1) >> 8))
    }

    private func align(_ value: UInt64, _ alignment: UInt64) -> UInt64 { (value + alignment - 1) & ~(alignment - 1) }

    private func size(_ function: Function, _ index: Int, _ name: String) -> Range? {
        let offset = 0x10 + index * 4
        let before = function.get32(offset)
        function.set32(offset, .max)
        let mask = function.get32(offset)
        function.set32(offset, before)
        guard mask != 0 else { return nil }
        if mask & 1 != 0 {
            let size = UInt64(~(mask & ~3)) + 1
            return Range(function: name, index: index, isPort: true, is64: false, isPrefetchable: false, size: size)
        }
        let is64 = mask & 6 == 4
        var full = UInt64(mask & ~0xF) | 0xFFFF_FFFF << 32
        if is64 {
            let high = function.get32(offset + 4)
            function.set32(offset + 4, .max)
            full = UInt64(mask & ~0xF) | UInt64(function.get32(offset + 4)) << 32
            function.set32(offset + 4, high)
        }
        return Range(
            function: name, index: index, isPort: false, is64: is64, isPrefetchable: mask & 8 != 0, size: ~full + 1)
    }

    private func allocate(_ range: Range) -> UInt64 {
        if range.isPort {
            nextPort = align(nextPort, range.size)
            defer { nextPort += range.size }
            return nextPort
        }
        if range.is64, range.isPrefetchable {
            nextHigh = align(nextHigh, range.size)
            defer { nextHigh += range.size }
            return nextHigh
        }
        nextMemory = align(nextMemory, range.size)
        defer { nextMemory += range.size }
        return nextMemory
    }
}
