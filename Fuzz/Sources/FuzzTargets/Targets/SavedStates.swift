internal import StratoHost
internal import StratoMemory
internal import StratoVirtio

@testable internal import StratoPCI
@testable internal import StratoPlatform

extension FuzzTarget {
    /// Saved states of devices, from whom ever they come. What is accepted is saved again as the same bytes. The first byte
    /// chooses the device.
    static let savedStates = FuzzTarget("saved-state", seeds: stateSeeds) { input in
        let choice = Int(input.byte()) % stateReaders.count
        let bytes = input.rest()
        guard let again = try stateReaders[choice](bytes) else { return }
        expect(again == bytes, "a state that is accepted is saved as it was")
    }

    /// Each reads a state and says how it would be saved; nil where that may differ.
    private static let stateReaders: [@Sendable ([UInt8]) throws -> [UInt8]?] = [
        { bytes in try Serial16550.State(decoding: bytes).encoded() },
        { bytes in try PL011.State(decoding: bytes).encoded() },
        { bytes in try PFlash.State(decoding: bytes).encoded() },
        { bytes in try CMOSClock.State(decoding: bytes).encoded() },
        { bytes in try PL031.State(decoding: bytes).encoded() },
        { bytes in try PowerManagementBlock.State(decoding: bytes).encoded() },
        { bytes in try VirtioTransportState(decoding: bytes).encoded() },
        { bytes in
            let device = Serial16550(interrupt: SilentLine(), backend: nil)
            device.restore(try Serial16550.State(decoding: bytes))
            return device.save().encoded()
        },
        { bytes in
            let clock = CMOSClock(interrupt: SilentLine(), loop: nil, clock: { 1_700_000_000_000_000 })
            clock.restore(try CMOSClock.State(decoding: bytes))
            for index in UInt64(0)..<14 {
                clock.write(index, at: 0, width: 1)
                _ = clock.read(at: 1, width: 1)
            }
            return nil
        },
        { bytes in
            let range = guestRange(0, 16 << 10)
            let bank = try PFlash(
                unit: .variables, geometry: .pc, contents: GuestMemory([range]), storage: nil, mapping: StillMapping(), loop: nil)
            try bank.restore(try PFlash.State(decoding: bytes))
            for offset in stride(from: UInt64(0), to: 64, by: 4) {
                bank.write(0x1234_5678, at: 0x1000 + offset, width: 4)
                _ = bank.read(at: offset, width: 4)
            }
            return nil
        },
        { bytes in
            let device = FirmwareConfiguration(memory: try FuzzMemory.make())
            try device.addFile("etc/file", [1, 2, 3])
            try device.addBuiltFiles(["etc/built"]) { [[4, 5]] }
            try device.addWritableFile("etc/written", [0, 0]) { _ in }
            try device.restore(bytes)
            let again = device.save()
            for _ in 0..<16 { _ = device.readData(width: 8) }
            return again
        },
        { bytes in
            let transport = VirtioMMIOTransport(
                device: try FuzzDevice(), memory: try FuzzMemory.make(), base: GuestAddress(0xFEB0_0000), interrupt: SilentLine(),
                doorbells: nil, logger: FormattingSink.logger)
            defer { transport.shutDown() }
            try transport.restoreState(try VirtioTransportState(decoding: bytes))
            let settled = transport.saveState()
            always("a saved state is restored") { try transport.restoreState(settled) }
            expect(transport.saveState() == settled, "a state that was settled once stays")
            return nil
        },
        { bytes in try restoredFunction(bytes, isPort: false) },
        { bytes in try restoredFunction(bytes, isPort: true) },
        { bytes in
            let vectors = try MSIX("fuzz", vectorCount: 3, controller: SilentMessages(), logger: .silent)
            try vectors.restoreState(bytes)
            vectors.setControl(isEnabled: true, isMasked: false, isBusMaster: true)
            return nil
        },
    ]

    /// A function drops reserved bits, and so is asked only whether it stays as it has become.
    private static func restoredFunction(_ bytes: [UInt8], isPort: Bool) throws -> [UInt8]? {
        let script = GuestScript([])
        let machine = try PCIFuzzMachine(memoryBus: script.memory, ports: script.ports, hasSlot: isPort)
        defer { machine.host.shutDown() }
        let function: any PCIFunction = machine.slot.map(\.port) ?? machine.function
        try function.restoreState(bytes)
        PCIFuzzMachine.saveAndRestore(function)
        return nil
    }

    @Sendable private static func stateSeeds() -> [(name: String, bytes: [UInt8])] {
        let vectors = try? MSIX("seed", vectorCount: 3, controller: SilentMessages(), logger: .silent)
        let script = GuestScript([])
        let machine = try? PCIFuzzMachine(memoryBus: script.memory, ports: script.ports, hasSlot: true)
        defer { machine?.host.shutDown() }
        let firmware = (try? FuzzMemory.make()).map { FirmwareConfiguration(memory: $0) }
        try? firmware?.addFile("etc/file", [1, 2, 3])
        try? firmware?.addBuiltFiles(["etc/built"]) { [[4, 5]] }
        try? firmware?.addWritableFile("etc/written", [0, 0]) { _ in }
        var transport = VirtioTransportState()
        transport.deviceType = 42
        transport.status = 15
        transport.driverFeatures = 1 << 32
        let configuration = QueueConfiguration(
            size: UInt32(QueueSeed.size), descriptorTable: QueueSeed.descriptors, availableRing: QueueSeed.available,
            usedRing: QueueSeed.used)
        transport.queues = [true, false].map { .init(configuration: configuration, isReady: $0, position: QueuePosition()) }
        let states: [[UInt8]] = [
            Serial16550.State().encoded(), PL011.State().encoded(), PFlash.State().encoded(), CMOSClock.State().encoded(),
            PL031.State().encoded(), PowerManagementBlock.State().encoded(), transport.encoded(), Serial16550.State().encoded(),
            CMOSClock.State().encoded(), PFlash.State().encoded(), firmware?.save() ?? [], transport.encoded(),
            machine?.function.saveState() ?? [], machine?.slot?.port.saveState() ?? [], vectors?.saveState() ?? [],
        ]
        return states.enumerated().map { ("device-\($0)", [UInt8($0)] + $1) }
    }
}

private final class StillMapping: FlashMapping {
    func setReadable(_ isReadable: Bool) throws(LinuxError) {}
}
