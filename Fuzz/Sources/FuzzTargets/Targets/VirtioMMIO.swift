internal import StratoHost
internal import StratoMemory
internal import StratoVirtio

extension FuzzTarget {
    private static let transportBase: UInt64 = 0xFEB0_0000

    /// The registers of virtio-mmio in any order, with the device at work in between.
    static let virtioMMIO = FuzzTarget("virtio-mmio", seeds: virtioMMIOSeeds) { input in
        let memory = try FuzzMemory.make()
        let device = try FuzzDevice()
        let transport = VirtioMMIOTransport(
            device: device, memory: memory, base: GuestAddress(transportBase), interrupt: SilentLine(), doorbells: nil,
            logger: FormattingSink.logger)
        defer { transport.shutDown() }
        try GuestScript(transport, at: guestRange(transportBase, VirtioMMIOTransport.size)).run(&input) { input in
            switch input.byte() & 3 {
            case 0: FuzzMemory.patch(memory, &input)
            case 1: device.serve()
            case 2: transport.reset()
            default:
                let restored = readBack(transport.saveState()) { try VirtioTransportState(decoding: $0.encoded()) }
                always("a saved state fits its device") { try transport.restoreState(restored) }
            }
        }
    }

    @Sendable private static func virtioMMIOSeeds() -> [(name: String, bytes: [UInt8])] {
        func word(_ value: UInt64, _ register: UInt64) -> GuestScript.Step { .write(value, at: register, width: 4) }
        func seed(_ steps: [GuestScript.Step]) -> [UInt8] { GuestScript.bytes(steps, size: VirtioMMIOTransport.size) }
        let probe: [GuestScript.Step] = [0, 4, 8, 12, 0x10, 0x34, 0x44, 0x60, 0x70, 0xFC, 0x100].map { .read($0, width: 4) }
        // Linux's vm_setup_vq, after the negotiation of 3.1.1.
        let negotiate = [
            word(0, 0x70), word(1, 0x70), word(3, 0x70), word(1, 0x24), word(1, 0x20), word(0, 0x24), word(0x3000_0000, 0x20),
            word(11, 0x70),
        ]
        let queue = [
            word(0, 0x30), word(QueueSeed.size, 0x38), word(QueueSeed.descriptors, 0x80), word(0, 0x84),
            word(QueueSeed.available, 0x90), word(0, 0x94), word(QueueSeed.used, 0xA0), word(0, 0xA4), word(1, 0x44),
        ]
        let chain = (QueueSeed.chain([(0x2000, 16), (0x3000, 512)], readable: 1) + [QueueSeed.offer([0])])
            .map { GuestScript.Step.event([0] + $0) }
        let run = negotiate + queue + [word(15, 0x70)]
        let notify: [GuestScript.Step] = chain + [word(0, 0x50), .event([1]), .read(0x60, width: 4), word(1, 0x64)]
        return [
            ("probe", seed(probe)),
            ("run", seed(run + notify + probe)),
            ("save", seed(run + [.event([3])] + notify + [.event([3])])),
            ("size-after-driver-ok", seed(run + [word(0x8000, 0x38), word(0, 0x80)] + notify)),
            ("disable", seed(run + [word(0, 0x44)] + notify + [word(0, 0x70), .event([2])])),
            ("bad-queue", seed(negotiate + [word(3, 0x38), word(1, 0x44), word(15, 0x70)])),
        ]
    }
}
