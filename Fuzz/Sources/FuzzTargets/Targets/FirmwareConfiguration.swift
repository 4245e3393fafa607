internal import StratoHost
internal import StratoMemory

@testable internal import StratoPlatform

/// An item of zeros.
private final class ZeroSource: FirmwareSource {
    let size: UInt32 = 10_000

    func read(at offset: UInt32, count: Int, to address: GuestAddress, in memory: GuestMemory) throws(LinuxError) {
        expect(count >= 0 && UInt64(offset) + UInt64(count) <= UInt64(size), "a source is read inside of its size")
        let buffer = memory.buffer(at: address, count: count)
        expect(buffer != nil, "a source is read to where memory is")
        buffer?.fill(0)
    }
}

extension FuzzTarget {
    private static let registers: UInt64 = 0x902_0000

    /// fw_cfg by ports (a PC) or registers (ARM), as the first byte says, with DMA to and from memory that the guest fills.
    static let firmwareConfiguration = FuzzTarget("fw-cfg", seeds: firmwareConfigurationSeeds) { input in
        let memory = try FuzzMemory.make()
        let device = FirmwareConfiguration(memory: memory, logger: FormattingSink.logger)
        try device.set(.processorCount, number: UInt16(4))
        try device.set(.kernelData, source: ZeroSource())
        try device.addFile("etc/e820", [UInt8](repeating: 7, count: 60))
        try device.addBuiltFiles(["etc/acpi/rsdp", "etc/acpi/tables"]) { [[1, 2, 3], [UInt8](repeating: 4, count: 300)] }
        try device.addWritableFile("etc/vmgenid_addr", [UInt8](repeating: 0, count: 8)) { bytes in
            expect(bytes.count == 8, "a file that is written keeps its size")
        }
        let isARM = input.byte() & 1 == 1
        let range =
            isARM
            ? guestRange(registers, FirmwareConfigurationRegisters.size)
            : guestRange(FirmwareConfigurationPorts.basePort, FirmwareConfigurationPorts.portCount)
        let front: any BusDevice = isARM ? FirmwareConfigurationRegisters(device) : FirmwareConfigurationPorts(device)
        try GuestScript(front, at: range).run(&input) { input in
            switch input.byte() % 4 {
            case 0: device.reset()
            case 1: always("a saved state is read back") { try device.restore(device.save()) }
            default: FuzzMemory.patch(memory, &input)
            }
        }
    }

    @Sendable private static func firmwareConfigurationSeeds() -> [(name: String, bytes: [UInt8])] {
        let size = FirmwareConfigurationPorts.portCount
        func select(_ key: UInt64) -> GuestScript.Step { .write(key, at: 0, width: 2) }
        /// A descriptor of a transfer, all big-endian, at 0x100.
        func descriptor(_ control: UInt32, _ length: UInt32, _ address: UInt64) -> GuestScript.Step {
            let bytes =
                little(UInt64(control.byteSwapped), 4) + little(UInt64(length.byteSwapped), 4) + little(address.byteSwapped, 8)
            return .event([2] + FuzzMemory.patchBytes(bytes, at: 0x100))
        }
        let start: [GuestScript.Step] = [.write(0, at: 4, width: 4), .write(UInt64(UInt32(0x100).byteSwapped), at: 8, width: 4)]
        func ports(_ steps: [GuestScript.Step]) -> [UInt8] { [0] + GuestScript.bytes(steps, size: size) }
        return [
            ("signature", ports([select(0)] + [GuestScript.Step](repeating: .read(1), count: 4) + [.read(4, width: 8)])),
            ("directory", ports([select(0x19)] + [GuestScript.Step](repeating: .read(1), count: 72))),
            // Select and read; read on; skip; write.
            ("dma-read", ports([descriptor(0x19 << 16 | 0x0A, 64, 0x200)] + start + [descriptor(2, 8, 0x300)] + start)),
            ("dma-source", ports([descriptor(0x11 << 16 | 0x0A, 10_001, 0x200)] + start)),
            ("dma-skip", ports([select(0x22), descriptor(4, 4, 0), .event([1])] + start + [.read(1)])),
            ("dma-write", ports([descriptor(0x23 << 16 | 0x18, 8, 0x200)] + start + [.event([0])])),
            ("dma-nowhere", ports([descriptor(0x20 << 16 | 0x0A, 60, 1 << 40)] + start)),
            (
                "registers",
                [1]
                    + GuestScript.bytes(
                        [
                            .write(0x1900, at: 8, width: 2), .read(0, width: 8), .read(0, width: 4), .read(0x10, width: 8),
                            descriptor(0x19 << 16 | 0x0A, 64, 0x200), .write(UInt64(0x100).byteSwapped, at: 0x10, width: 8),
                        ], size: FirmwareConfigurationRegisters.size)
            ),
        ]
    }
}
