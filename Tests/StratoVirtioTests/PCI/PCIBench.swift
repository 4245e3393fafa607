import Foundation
import StratoHost
import StratoMemory
import StratoPCI
import Testing

@testable import StratoVirtio

/// Offsets in the common configuration, from the specification (virtio 1.2, 4.1.4.3).
enum Common {
    static let deviceFeatureSelect: UInt64 = 0x00
    static let deviceFeature: UInt64 = 0x04
    static let driverFeatureSelect: UInt64 = 0x08
    static let driverFeature: UInt64 = 0x0C
    static let msixConfig: UInt64 = 0x10
    static let numQueues: UInt64 = 0x12
    static let status: UInt64 = 0x14
    static let generation: UInt64 = 0x15
    static let queueSelect: UInt64 = 0x16
    static let queueSize: UInt64 = 0x18
    static let queueMsix: UInt64 = 0x1A
    static let queueEnable: UInt64 = 0x1C
    static let queueNotifyOff: UInt64 = 0x1E
    static let queueDesc: UInt64 = 0x20
    static let queueDriver: UInt64 = 0x28
    static let queueDevice: UInt64 = 0x30
}

/// Message-signalled interrupts that are counted by their data.
final class PCITestMessages: MessageInterruptController {
    private let condition = NSCondition()
    nonisolated(unsafe) private var sent: [InterruptMessage] = []
    nonisolated(unsafe) private var living = 0

    /// Vectors that have not been given back.
    var lines: Int { condition.withLock { living } }
    var count: Int { condition.withLock { sent.count } }

    /// The data of what was sent since this was last asked.
    func take() -> [UInt32] {
        condition.withLock {
            defer { sent = [] }
            return sent.map(\.data)
        }
    }

    func makeLine() throws(LinuxError) -> any MessageInterruptLine {
        condition.withLock { living += 1 }
        return Line(self)
    }

    private final class Line: MessageInterruptLine {
        private let owner: PCITestMessages
        nonisolated(unsafe) private var target: InterruptMessage?

        init(_ owner: PCITestMessages) { self.owner = owner }
        deinit { owner.condition.withLock { owner.living -= 1 } }
        func route(to message: InterruptMessage?) throws(LinuxError) { owner.condition.withLock { target = message } }

        func pulse() {
            owner.condition.withLock {
                if let target { owner.sent.append(target) }
                owner.condition.broadcast()
            }
        }

        var event: EventDescriptor? { nil }
    }
}

/// A level-triggered line.
final class PCITestLine: InterruptLine {
    private let lock = NSLock()
    nonisolated(unsafe) private var isAsserted = false
    nonisolated(unsafe) private var rises = 0

    var level: Bool { lock.withLock { isAsserted } }
    var count: Int { lock.withLock { rises } }
    func pulse() {}

    func setLevel(_ isAsserted: Bool) {
        lock.withLock {
            if isAsserted, !self.isAsserted { rises += 1 }
            self.isAsserted = isAsserted
        }
    }

    var event: EventDescriptor? { nil }
}

/// A virtio device on PCI, with a driver that finds and uses it register by register.
final class PCIBench {
    static let vectors: UInt64 = 0xC000_0000
    static let registers: UInt64 = 0xC010_0000
    static let configuration: UInt64 = 0xB000_0000

    let memory = Bus(name: "MMIO")
    let ports = Bus(name: "port")
    let lines = (0..<4).map { _ in PCITestLine() }
    let messages = PCITestMessages()
    let doorbells: TestDoorbells
    let log = Lines()
    let host: PCIHostBridge
    let port: PCIExpressRootPort?
    let transport: VirtioPCITransport

    /// - Parameter placement: device 3 of the root bus, or the slot of a port there.
    init(
        _ device: any VirtioDevice, guest: Guest, placement: VirtioPCITransport.Placement = .rootBus,
        isRefusingDoorbells: Bool = false
    ) throws {
        func range(_ base: UInt64, _ size: UInt64) throws -> GuestRange {
            try #require(GuestRange(base: GuestAddress(base), size: size))
        }
        let logger = Logger(sink: log, level: .warn)
        doorbells = TestDoorbells(isRefusing: isRefusingDoorbells)
        host = PCIHostBridge(
            memory: memory, ports: ports,
            apertures: .init(
                memory: [try range(0xC000_0000, 0x3000_0000), try range(1 << 39, 1 << 39)],
                ports: [try range(0x1000, 0xF000)]),
            interrupts: try PCIInterruptRouter(lines), logger: logger)
        transport = try VirtioPCITransport(
            device: device, memory: guest.memory, placement: placement, messages: messages, doorbells: doorbells, logger: logger)
        try memory.insert(PCIEnhancedConfiguration(host: host), at: try range(PCIBench.configuration, 256 << 20))
        switch placement {
        case .rootBus:
            port = nil
            try host.rootBus.insert(transport, device: 3)
        case .port:
            let made = try PCIExpressRootPort(
                .init(name: "rp", port: 1, slot: 1), messages: messages, logger: logger, onEject: { _ in })
            try made.insert(transport)
            try host.rootBus.insert(made, device: 3)
            port = made
        }
        if port != nil { numberPort() }
    }

    deinit { host.shutDown() }

    func numberPort() {
        let port = PCIBench.configuration | 3 << 15
        store(0x01_01_00, port + 0x18, 3)
        store(0xC0F0_C000, port + 0x20, 4)
        store(0x7, port + 4, 2)
    }

    // MARK: Accesses

    func load(_ address: UInt64, _ width: Int) -> UInt64? {
        var view = memory.makeView()
        return view.read(address, width: width)
    }

    @discardableResult
    func store(_ value: UInt64, _ address: UInt64, _ width: Int) -> Bool {
        var view = memory.makeView()
        return view.write(value, to: address, width: width)
    }

    private var function: UInt64 { PCIBench.configuration | (port == nil ? 3 << 15 : 1 << 20) }

    func configurationGet(_ offset: Int, _ width: Int) -> UInt64 { load(function + UInt64(offset), width) ?? .max }
    func configurationSet(_ offset: Int, _ value: UInt64, _ width: Int) { store(value, function + UInt64(offset), width) }

    func get(_ offset: UInt64, _ width: Int) -> UInt64 { load(PCIBench.registers + offset, width) ?? .max }
    func set(_ offset: UInt64, _ value: UInt64, _ width: Int) { store(value, PCIBench.registers + offset, width) }

    // MARK: A driver's steps

    /// Capabilities by identifier, in the order of the list.
    func capabilities(_ identifier: UInt8) -> [Int] {
        var found: [Int] = []
        var offset = Int(configurationGet(0x34, 1))
        while offset != 0, found.count < 48 {
            if configurationGet(offset, 1) == UInt64(identifier) { found.append(offset) }
            offset = Int(configurationGet(offset + 1, 1))
        }
        return found
    }

    /// Places the ranges and switches decoding and bus mastering on.
    func enable(command: UInt64 = 6) {
        configurationSet(0x14, PCIBench.vectors, 4)
        configurationSet(0x18, PCIBench.registers, 8)
        configurationSet(4, command, 2)
    }

    func setMSIX(isEnabled: Bool, isMasked: Bool = false) throws {
        let offset = try #require(capabilities(0x11).first)
        configurationSet(offset + 2, (isEnabled ? 0x8000 : 0) | (isMasked ? 0x4000 : 0), 2)
    }

    func setVector(_ vector: Int, data: UInt32, isMasked: Bool = false) {
        let entry = PCIBench.vectors + UInt64(vector) * 16
        store(0xFEE0_0000, entry, 8)
        store(UInt64(data), entry + 8, 4)
        store(isMasked ? 1 : 0, entry + 12, 4)
    }

    var status: UInt64 {
        get { get(Common.status, 1) }
        set { self.set(Common.status, newValue, 1) }
    }

    var offered: UInt64 {
        self.set(Common.deviceFeatureSelect, 1, 4)
        let high = get(Common.deviceFeature, 4)
        self.set(Common.deviceFeatureSelect, 0, 4)
        return high << 32 | get(Common.deviceFeature, 4)
    }

    func accept(_ features: UInt64) {
        set(Common.driverFeatureSelect, 1, 4)
        set(Common.driverFeature, features >> 32, 4)
        set(Common.driverFeatureSelect, 0, 4)
        set(Common.driverFeature, features & 0xFFFF_FFFF, 4)
    }

    /// Up to FEATURES_OK; nil accepts all that is offered.
    func negotiate(_ features: UInt64? = nil) {
        status = 0
        status = 1
        status = 3
        accept(features ?? offered)
        status = 11
    }

    func setUp(_ queue: DriverQueue, at index: UInt64 = 0, vector: UInt64 = 0xFFFF) {
        set(Common.queueSelect, index, 2)
        set(Common.queueSize, UInt64(queue.size), 2)
        set(Common.queueMsix, vector, 2)
        for (offset, address) in [
            (Common.queueDesc, queue.descriptorTable), (Common.queueDriver, queue.availableRing),
            (Common.queueDevice, queue.usedRing),
        ] {
            set(offset, address & 0xFFFF_FFFF, 4)
            set(offset + 4, address >> 32, 4)
        }
        set(Common.queueEnable, 1, 2)
    }

    func notify(_ queue: UInt64) { set(0x3000 + queue * 4, queue, 2) }
}
