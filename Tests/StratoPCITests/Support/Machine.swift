import StratoHost
import StratoMemory
import Testing

@testable import StratoPCI

func range(_ base: UInt64, _ size: UInt64) throws -> GuestRange {
    try #require(GuestRange(base: GuestAddress(base), size: size))
}

/// A host bridge with buses and interrupt lines, and a guest's way to them.
final class Machine {
    static let lowBase: UInt64 = 0xC000_0000
    static let lowSize: UInt64 = 0x3000_0000
    static let highBase: UInt64 = 0x80_0000_0000
    static let highSize: UInt64 = 0x80_0000_0000
    static let portBase: UInt64 = 0x1000
    static let portSize: UInt64 = 0xF000
    static let configurationBase: UInt64 = 0xB000_0000

    let memory = Bus(name: "MMIO")
    let ports = Bus(name: "port")
    let lines = (0..<4).map { _ in TestLine() }
    let log = Lines()
    let messages = TestMessages()
    let host: PCIHostBridge
    let configuration: PCIEnhancedConfiguration

    /// - Parameter isReachable: configuration space is at a fixed place.
    init(isReachable: Bool = true) throws {
        host = PCIHostBridge(
            memory: memory, ports: ports,
            apertures: PCIAddressMap.Windows(
                memory: [
                    try range(Machine.lowBase, Machine.lowSize), try range(Machine.highBase, Machine.highSize),
                ], ports: [try range(Machine.portBase, Machine.portSize)]),
            interrupts: try PCIInterruptRouter(lines), logger: Logger(sink: log, level: .warn))
        configuration = PCIEnhancedConfiguration(host: host)
        if isReachable {
            try memory.insert(configuration, at: try range(Machine.configurationBase, 256 << 20))
        }
    }

    deinit { host.shutDown() }

    var logger: Logger { Logger(sink: log, level: .warn) }

    // MARK: A guest's accesses

    /// Nil where no device is.
    func load(_ address: UInt64, _ width: Int = 4) -> UInt64? {
        var view = memory.makeView()
        return view.read(address, width: width)
    }

    @discardableResult
    func store(_ value: UInt64, _ address: UInt64, _ width: Int = 4) -> Bool {
        var view = memory.makeView()
        return view.write(value, to: address, width: width)
    }

    func portIn(_ port: UInt64, _ width: Int) -> UInt64? {
        var view = ports.makeView()
        return view.read(port, width: width)
    }

    @discardableResult
    func portOut(_ value: UInt64, _ port: UInt64, _ width: Int) -> Bool {
        var view = ports.makeView()
        return view.write(value, to: port, width: width)
    }
}

/// One function as a guest reaches it: by memory-mapped configuration space.
struct Function {
    let machine: Machine
    var bus: UInt8 = 0
    var device: UInt8
    var function: UInt8 = 0

    private func address(_ offset: Int) -> UInt64 {
        Machine.configurationBase | UInt64(bus) << 20 | UInt64(device) << 15 | UInt64(function) << 12 | UInt64(offset)
    }

    func get(_ offset: Int, _ width: Int) -> UInt64 { machine.load(address(offset), width) ?? .max }
    func set(_ offset: Int, _ value: UInt64, _ width: Int) { machine.store(value, address(offset), width) }

    func get8(_ offset: Int) -> UInt8 { UInt8(truncatingIfNeeded: get(offset, 1)) }
    func get16(_ offset: Int) -> UInt16 { UInt16(truncatingIfNeeded: get(offset, 2)) }
    func get32(_ offset: Int) -> UInt32 { UInt32(truncatingIfNeeded: get(offset, 4)) }
    func set8(_ offset: Int, _ value: UInt8) { set(offset, UInt64(value), 1) }
    func set16(_ offset: Int, _ value: UInt16) { set(offset, UInt64(value), 2) }
    func set32(_ offset: Int, _ value: UInt32) { set(offset, UInt64(value), 4) }

    var isPresent: Bool { get16(0) != 0xFFFF }

    /// Where a capability is, by walking the list as drivers do.
    func capability(_ identifier: UInt8) -> Int? {
        guard get16(6) & 0x10 != 0 else { return nil }
        var offset = Int(get8(0x34) & 0xFC)
        for _ in 0..<48 where offset != 0 {
            if get8(offset) == identifier { return offset }
            offset = Int(get8(offset + 1) & 0xFC)
        }
        return nil
    }

    func setCommand(_ value: UInt16) { set16(4, value) }

    /// Masks of MSI-X's control word.
    func setMSIX(isEnabled: Bool, isMasked: Bool = false) throws {
        let offset = try #require(capability(0x11))
        set16(offset + 2, (isEnabled ? 0x8000 : 0) | (isMasked ? 0x4000 : 0))
    }
}
