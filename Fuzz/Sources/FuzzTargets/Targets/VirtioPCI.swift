internal import StratoMemory

@testable internal import StratoPCI
@testable internal import StratoVirtio

extension FuzzTarget {
    private static let vectors = PCIFuzzMachine.window
    private static let registers = PCIFuzzMachine.window + 0x1_0000

    private static let places: [GuestScript.Place] = [
        .init(range: guestRange(registers, VirtioPCIRegisters.Layout.size), isFixed: false),
        .init(range: guestRange(vectors, 0x1000), isFixed: false),
        .init(range: PCIFuzzMachine.place(device: PCIFuzzMachine.functionDevice), isFixed: false),
    ]

    /// Base addresses given, memory accesses and bus mastering switched on.
    private static let enable: [GuestScript.Step] = [
        .write(vectors, at: 0x14, width: 4, in: 2), .write(registers, at: 0x18, width: 8, in: 2),
        .write(6, at: 4, width: 2, in: 2),
    ]

    /// The registers of virtio-pci, its vectors and its configuration space in any order, with the device at work in between.
    /// Firmware has been there before.
    static let virtioPCI = FuzzTarget("virtio-pci", maximumLength: 1024, seeds: virtioPCISeeds) { input in
        let script = GuestScript(places)
        let machine = try PCIFuzzMachine(memoryBus: script.memory, ports: script.ports, hasSlot: false)
        defer { machine.host.shutDown() }
        try machine.addChipSet(script)
        var firmware = FuzzInput(GuestScript.bytes(enable, sizes: places.map(\.range.size)))
        script.run(&firmware)
        script.run(&input) { input in
            switch input.byte() % 5 {
            case 0: FuzzMemory.patch(machine.memory, &input)
            case 1: machine.device.serve()
            case 2: machine.function.reset()
            case 3: PCIFuzzMachine.saveAndRestore(machine.function)
            default: input.byte() & 1 == 0 ? machine.function.pause() : machine.function.resume()
            }
        }
    }

    @Sendable private static func virtioPCISeeds() -> [(name: String, bytes: [UInt8])] {
        func seed(_ steps: [GuestScript.Step]) -> [UInt8] { GuestScript.bytes(steps, sizes: places.map(\.range.size)) }
        let probe: [GuestScript.Step] = [
            .read(0x04, width: 4), .read(0x12, width: 2), .read(0x14), .read(0x15), .read(0x18, width: 2), .read(0x1E, width: 2),
            .read(0x1000), .read(0x2000, width: 4),
        ]
        let negotiate: [GuestScript.Step] = [
            .write(0, at: 0x14), .write(1, at: 0x14), .write(3, at: 0x14), .write(1, at: 0x08, width: 4),
            .write(1, at: 0x0C, width: 4), .write(0, at: 0x08, width: 4), .write(0x3000_0000, at: 0x0C, width: 4),
            .write(11, at: 0x14),
        ]
        let queue: [GuestScript.Step] = [
            .write(0, at: 0x16, width: 2), .write(QueueSeed.size, at: 0x18, width: 2), .write(1, at: 0x1A, width: 2),
            .write(QueueSeed.descriptors, at: 0x20, width: 8), .write(QueueSeed.available, at: 0x28, width: 8),
            .write(QueueSeed.used, at: 0x30, width: 4), .write(0, at: 0x34, width: 4), .write(1, at: 0x1C, width: 2),
        ]
        let msix: [GuestScript.Step] = [
            .write(0xFEE0_0000, at: 0x10, width: 8, in: 1), .write(0x41, at: 0x18, width: 4, in: 1),
            .write(0, at: 0x1C, width: 4, in: 1), .write(0x8000, at: 0x42, width: 2, in: 2),
        ]
        let chain = (QueueSeed.chain([(0x2000, 16), (0x3000, 512)], readable: 1) + [QueueSeed.offer([0])])
            .map { GuestScript.Step.event([0] + $0) }
        let run = msix + negotiate + queue + [.write(15, at: 0x14)]
        let notify: [GuestScript.Step] = chain + [.write(0, at: 0x3000, width: 2), .event([1]), .read(0x1000)]
        return [
            ("probe", seed(probe)),
            ("run", seed(run + notify + probe)),
            ("save", seed(run + [.event([3])] + notify + [.event([3]), .event([2])])),
            ("size-after-driver-ok", seed(run + [.write(0x8000, at: 0x18, width: 2)] + notify)),
            ("bus-master-off", seed(run + [.write(2, at: 4, width: 2, in: 2)] + notify + [.write(6, at: 4, width: 2, in: 2)])),
            ("pause", seed(run + [.event([4, 0])] + notify + [.event([4, 1])])),
            (
                "configuration-access",
                seed([
                    .write(2, at: 0x84, in: 2), .write(0x14, at: 0x88, width: 4, in: 2), .write(1, at: 0x8C, width: 4, in: 2),
                    .read(0x90, width: 4, in: 2), .write(1, at: 0x90, in: 2),
                ])
            ),
        ]
    }
}
