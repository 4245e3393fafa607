internal import StratoHost
internal import StratoMemory
internal import StratoVirtio

@testable internal import StratoPCI

/// A hierarchy as a standard machine has it: a virtio device on the root bus, and another in the slot of a root port.
struct PCIFuzzMachine {
    static let configuration: UInt64 = 0xB000_0000
    static let window: UInt64 = 0xC000_0000
    static let functionDevice: UInt8 = 2
    static let portDevice: UInt8 = 3
    static let busSize: UInt64 = 1 << 20
    static let functionSize: UInt64 = 1 << 12

    let memory: GuestMemory
    let host: PCIHostBridge
    let device: FuzzDevice
    let function: VirtioPCITransport

    /// A root port and what is plugged in there.
    let slot: (port: PCIExpressRootPort, function: VirtioPCITransport)?

    /// - Parameter hasSlot: false for a machine that is made faster.
    init(memoryBus: Bus, ports: Bus, hasSlot: Bool) throws {
        let logger = FormattingSink.logger
        let messages = SilentMessages()
        memory = try FuzzMemory.make()
        device = try FuzzDevice()
        host = PCIHostBridge(
            memory: memoryBus, ports: ports,
            apertures: PCIAddressMap.Windows(
                memory: [guestRange(PCIFuzzMachine.window, 0x3000_0000), guestRange(1 << 39, 1 << 39)],
                ports: [guestRange(0x1000, 0xF000)]),
            interrupts: try PCIInterruptRouter((0..<4).map { _ in SilentLine() }), logger: logger)
        function = try VirtioPCITransport(
            device: device, memory: memory, placement: .rootBus, messages: messages, doorbells: nil, logger: logger)
        try host.rootBus.insert(function, device: PCIFuzzMachine.functionDevice)
        guard hasSlot else {
            slot = nil
            return
        }
        let plugged = try VirtioPCITransport(
            device: FuzzDevice(), memory: memory, placement: .port, messages: messages, doorbells: nil, logger: logger)
        let port = try PCIExpressRootPort(
            .init(name: "port", port: 1, slot: 1), messages: messages, logger: logger, onEject: { _ in })
        try port.insert(plugged)
        try host.rootBus.insert(port, device: PCIFuzzMachine.portDevice)
        slot = (port, plugged)
    }

    /// Where a function's configuration space is.
    static func place(bus: UInt64 = 0, device: UInt8) -> GuestRange {
        guestRange(configuration + bus * busSize + UInt64(device) << 15, functionSize)
    }

    /// Saves a function and lets it go on from there. An interrupt that is due is raised anew, so that it takes a second time
    /// for all to be the same.
    static func saveAndRestore(_ function: any PCIFunction) {
        func again() -> [UInt8] {
            let bytes = function.saveState()
            always("a saved state is restored") { try function.restoreState(bytes) }
            return function.saveState()
        }
        let first = again()
        let second = again()
        expect(
            first == second,
            "what \(function.name) has restored is what was saved, also at \(first.indices.filter { first[$0] != second[$0] })")
    }

    /// Saves the port and lets it go on from there, with the device that it has.
    func saveAndRestorePort() {
        guard let port = slot?.port else { return }
        let count = port.secondaryBus.functions.count
        PCIFuzzMachine.saveAndRestore(port)
        expect(port.secondaryBus.functions.count == count, "a port that is restored keeps its device")
    }
}
