internal import StratoMemory

@testable internal import StratoPlatform

extension FuzzTarget {
    private static let uartPort: UInt64 = 0x3F8

    /// A 16550A: any access to its ports, with bytes coming from the host in between.
    static let serial16550 = FuzzTarget("serial-16550", seeds: serial16550Seeds) { input in
        let backend = FuzzBackend()
        let device = Serial16550(interrupt: SilentLine(), backend: backend)
        try runUART(device, backend, guestRange(uartPort, Serial16550.registerCount), &input, reset: device.reset) {
            device.restore(readBack(device.save()) { try Serial16550.State(decoding: $0.encoded()) })
        }
    }

    @Sendable private static func serial16550Seeds() -> [(name: String, bytes: [UInt8])] {
        let size = Serial16550.registerCount
        // Divisor, 8N1, FIFOs, modem lines, interrupts: what Linux's driver does.
        let setUp: [GuestScript.Step] = [
            .write(0x80, at: 3), .write(1, at: 0), .write(0, at: 1), .write(3, at: 3), .write(0xC7, at: 2),
            .write(0x0B, at: 4), .write(0x0F, at: 1), .read(2), .read(5),
        ]
        return [
            ("set-up", GuestScript.bytes(setUp, size: size)),
            ("send", GuestScript.bytes(setUp + "hello".utf8.map { .write(UInt64($0), at: 0) }, size: size)),
            (
                "receive",
                GuestScript.bytes(
                    setUp + [.event([0, 3, 0x61, 0x62, 0x63]), .read(2), .read(0), .read(5), .event([2]), .read(0)], size: size)
            ),
            ("loopback", GuestScript.bytes(setUp + [.write(0x1E, at: 4), .write(0x55, at: 0), .read(6), .read(0)], size: size)),
            ("wide", GuestScript.bytes([.read(0, width: 8), .write(.max, at: 0, width: 8), .event([1])], size: size)),
        ]
    }

    /// A PL011: any access to its registers, with bytes coming from the host in between.
    static let pl011 = FuzzTarget("pl011", seeds: pl011Seeds) { input in
        let backend = FuzzBackend()
        let device = PL011(interrupt: SilentLine(), backend: backend, onMarker: { _ in })
        try runUART(device, backend, guestRange(0x900_0000, PL011.registerSize), &input, reset: device.reset) {
            device.restore(readBack(device.save()) { try PL011.State(decoding: $0.encoded()) })
        }
    }

    @Sendable private static func pl011Seeds() -> [(name: String, bytes: [UInt8])] {
        let size = PL011.registerSize
        // UARTIMSC, UARTIBRD, UARTFBRD, UARTLCR_H, UARTCR, UARTIMSC (DDI 0183G, table 3-1).
        let setUp: [GuestScript.Step] = [
            .write(0, at: 0x38, width: 4), .write(13, at: 0x24, width: 4), .write(1, at: 0x28, width: 4),
            .write(0x70, at: 0x2C, width: 4), .write(0x301, at: 0x30, width: 4), .write(0x50, at: 0x38, width: 4),
        ]
        return [
            ("send", GuestScript.bytes(setUp + [.read(0x18, width: 4), .write(0x41, at: 0, width: 4)], size: size)),
            (
                "receive",
                GuestScript.bytes(
                    setUp + [
                        .event([0, 2, 0x61, 0x62]), .read(0x40, width: 4), .read(0, width: 4), .write(0x7FF, at: 0x44, width: 4),
                        .event([2]),
                    ], size: size)
            ),
            ("identify", GuestScript.bytes((0..<8).map { .read(0xFE0 + 4 * $0, width: 4) } + [.event([1])], size: size)),
            ("loopback", GuestScript.bytes(setUp + [.write(0x381, at: 0x30, width: 2), .write(0x42, at: 0)], size: size)),
        ]
    }

    /// Steps that are no accesses: 0 sends `count` bytes from the host, 1 resets, all others save and restore.
    private static func runUART(
        _ device: any BusDevice, _ backend: FuzzBackend, _ range: GuestRange, _ input: inout FuzzInput,
        reset: () -> Void, saveAndRestore: () -> Void
    ) throws {
        try GuestScript(device, at: range).run(&input) { input in
            switch input.byte() % 3 {
            case 0: backend.send(input.bytes(Int(input.byte())))
            case 1: reset()
            default: saveAndRestore()
            }
        }
        saveAndRestore()
    }
}
