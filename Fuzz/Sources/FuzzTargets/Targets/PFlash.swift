internal import StratoHost
internal import StratoMemory
internal import Synchronization

@testable internal import StratoPlatform

/// A flash image in memory.
private final class MemoryStorage: FlashStorage {
    let name = "fuzz.fd"
    let size: UInt64
    let isReadOnly = false
    private let stored: Mutex<[UInt8]>

    init(size: UInt64) {
        self.size = size
        stored = Mutex([UInt8](repeating: 0xFF, count: Int(size)))
    }

    var bytes: [UInt8] { stored.withLock { $0 } }

    func load(into memory: GuestMemory, at address: GuestAddress, count: Int) throws(LinuxError) {
        memory.buffer(at: address, count: count)?.fill(0xFF)
    }

    func write(_ bytes: Span<UInt8>, at offset: UInt64) throws(LinuxError) {
        expect(offset <= size && UInt64(bytes.count) <= size - offset, "nothing is written past the end of the image")
        stored.withLock { stored in
            for index in bytes.indices { stored[Int(offset) + index] = bytes[index] }
        }
    }

    func synchronize() throws(LinuxError) {}
}

private final class SilentMapping: FlashMapping {
    func setReadable(_ isReadable: Bool) throws(LinuxError) {}
}

extension FuzzTarget {
    private static let flashBase: UInt64 = 0xFFC0_0000
    private static let pcFlashSize: UInt64 = 16 << 10

    /// A bank of NOR flash under any sequence of commands; what the guest reads is what the image holds. The first byte chooses
    /// a PC's bank or ARM's.
    static let pflash = FuzzTarget("pflash", seeds: pflashSeeds) { input in
        let isARM = input.byte() & 7 == 7
        let size = isARM ? 256 << 10 : pcFlashSize
        let range = guestRange(flashBase, size)
        let storage = MemoryStorage(size: size)
        let device = try PFlash(
            unit: .variables, geometry: isARM ? .virt : .pc, contents: GuestMemory([range]), storage: storage,
            mapping: SilentMapping(), loop: nil, logger: FormattingSink.logger)
        try GuestScript(device, at: range).run(&input) { input in
            if input.byte() & 1 == 0 { return device.reset() }
            let restored = readBack(device.save()) { try PFlash.State(decoding: $0.encoded()) }
            always("a saved state fits its bank") { try device.restore(restored) }
        }
        let contents = try device.contents.read(Int(size), at: range.base)
        expect(contents == storage.bytes, "what the guest has programmed is in the image")
    }

    @Sendable private static func pflashSeeds() -> [(name: String, bytes: [UInt8])] {
        func pc(_ steps: [GuestScript.Step]) -> [UInt8] { [0] + GuestScript.bytes(steps, size: pcFlashSize) }
        let unlock: [GuestScript.Step] = [.write(0x60, at: 0x1000), .write(0xD0, at: 0x1000)]
        return [
            ("program", pc(unlock + [.write(0x40, at: 0x1004), .write(0x5A, at: 0x1004), .read(0x1004), .write(0xFF, at: 0)])),
            ("erase", pc(unlock + [.write(0x20, at: 0x1000), .write(0xD0, at: 0x1000), .read(0x1000), .write(0x50, at: 0)])),
            (
                "buffer",
                pc(
                    unlock + [.write(0xE8, at: 0x1000), .write(3, at: 0x1000)]
                        + (0..<4).map { .write($0, at: 0x1000 + $0) }
                        + [.event([1]), .write(0xD0, at: 0x1000), .read(0x1000), .write(0xFF, at: 0), .read(0x1000, width: 8)])
            ),
            (
                "identify",
                pc([.write(0x90, at: 0), .read(0), .read(4), .write(0x98, at: 0x55), .read(0x40, width: 4), .event([0])])
            ),
            (
                "words",
                [7]
                    + GuestScript.bytes(
                        [
                            .write(0x0040_0040, at: 0, width: 4), .write(0x1234_5678, at: 0, width: 4), .read(0, width: 4),
                            .write(0x00E8_00E8, at: 0x100, width: 4), .write(0x0001_0001, at: 0x100, width: 4),
                        ], size: 256 << 10)
            ),
        ]
    }
}
