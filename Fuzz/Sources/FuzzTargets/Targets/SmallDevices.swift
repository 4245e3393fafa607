internal import StratoHost
internal import StratoMemory

@testable internal import StratoPlatform

extension FuzzTarget {
    /// The keyboard controller's ports, which can do nothing but pull the reset line.
    static let i8042 = FuzzTarget("i8042", maximumLength: 256, seeds: i8042Seeds) { input in
        let range = guestRange(I8042.basePort, I8042.portCount)
        try GuestScript(I8042(onReset: {}), at: range).run(&input)
    }

    @Sendable private static func i8042Seeds() -> [(name: String, bytes: [UInt8])] {
        let size = I8042.portCount
        return [
            ("reset", GuestScript.bytes([.read(4), .write(0xFE, at: 4)], size: size)),
            ("port-b", GuestScript.bytes([.read(1), .write(0xFF, at: 1), .read(1), .read(0, width: 5)], size: size)),
        ]
    }

    /// A PC's clock and ARM's, with a host's clock that goes on, stands still or is set. The first byte chooses the clock.
    static let clocks = FuzzTarget("clocks", seeds: clockSeeds) { input in
        let clock = FuzzClock(1_700_000_000_000_000)
        let advance = { (input: inout FuzzInput) in
            // From microseconds to decades.
            let scale = UInt64(1) << UInt64(input.byte() & 0x1F)
            clock.advance(Int64(bitPattern: UInt64(bitPattern: Int64(Int16(bitPattern: input.number()))) &* scale))
        }
        if input.byte() & 1 == 0 {
            let device = CMOSClock(interrupt: SilentLine(), loop: nil, offset: 0, clock: { clock.now })
            let range = guestRange(CMOSClock.basePort, CMOSClock.portCount)
            try GuestScript(device, at: range).run(&input) { input in
                switch input.byte() % 3 {
                case 0: advance(&input)
                case 1: device.reset()
                default:
                    device.restore(
                        readBack(device.save()) { try CMOSClock.State(decoding: $0.encoded()) })
                }
            }
            _ = readBack(device.save()) { try CMOSClock.State(decoding: $0.encoded()) }
        } else {
            let device = PL031(interrupt: SilentLine(), loop: nil, clock: { clock.now })
            let range = guestRange(0x901_0000, PL031.registerSize)
            try GuestScript(device, at: range).run(&input) { input in
                switch input.byte() % 3 {
                case 0: advance(&input)
                case 1: device.reset()
                default:
                    device.restore(readBack(device.save()) { try PL031.State(decoding: $0.encoded()) })
                }
            }
            _ = readBack(device.save()) { try PL031.State(decoding: $0.encoded()) }
        }
    }

    @Sendable private static func clockSeeds() -> [(name: String, bytes: [UInt8])] {
        func cmos(_ steps: [GuestScript.Step]) -> [UInt8] { [0] + GuestScript.bytes(steps, size: CMOSClock.portCount) }
        func pl031(_ steps: [GuestScript.Step]) -> [UInt8] { [1] + GuestScript.bytes(steps, size: PL031.registerSize) }
        let second: GuestScript.Step = .event([0, 20, 1, 0])
        return [
            ("cmos-read", cmos((0..<14).flatMap { [.write($0, at: 0), .read(1)] })),
            (
                "cmos-set",
                cmos(
                    [.write(11, at: 0), .write(0x82, at: 1)]
                        + (0..<10).flatMap { [.write($0, at: 0), .write(0x12, at: 1)] }
                        + [.write(11, at: 0), .write(0x72, at: 1), second, .write(12, at: 0), .read(1), .event([2])])
            ),
            ("cmos-extended", cmos([.write(0x20, at: 2), .write(1, at: 3), .read(3), .event([1])])),
            (
                "pl031-alarm",
                pl031([
                    .read(0, width: 4), .write(1_700_000_005, at: 4, width: 4), .write(1, at: 0x10, width: 4), second, second,
                    .read(0x14, width: 4), .write(1, at: 0x1C, width: 4), .write(0, at: 8, width: 4), .event([2]), .event([1]),
                ])
            ),
        ]
    }

    /// A PC's power management registers, its sleep and reset registers, and the generic event device. The first byte chooses.
    static let powerManagement = FuzzTarget("power-management", seeds: powerSeeds) { input in
        let choice = input.byte()
        guard choice & 3 == 0 else { return try runSmall(choice, &input) }
        let clock = FuzzClock(0)
        let device = PowerManagementBlock(
            bus: nil, interrupt: SilentLine(), isTimerExtended: choice & 4 != 0, loop: nil, clock: { clock.now }, onPowerOff: {})
        let range = guestRange(PowerManagementBlock.defaultBase, PowerManagementBlock.portCount)
        try GuestScript(device, at: range).run(&input) { input in
            switch input.byte() % 5 {
            case 0: clock.advance(Int64(input.number(UInt32.self)))
            case 1: device.reset()
            case 2: device.pressPowerButton()
            case 3: device.raiseGeneralEvent(Int(input.byte()))
            default:
                device.restore(
                    readBack(device.save()) { try PowerManagementBlock.State(decoding: $0.encoded()) })
            }
        }
        _ = readBack(device.save()) { try PowerManagementBlock.State(decoding: $0.encoded()) }
    }

    private static func runSmall(_ choice: UInt8, _ input: inout FuzzInput) throws {
        let range: GuestRange
        let device: any BusDevice
        switch choice & 3 {
        case 1: (device, range) = (SleepControl(onPowerOff: {}), guestRange(0x600, 4))
        case 2: (device, range) = (ResetControl(onReset: {}), guestRange(0xCF9, 1))
        default:
            let events = GenericEventDevice(interrupt: SilentLine())
            events.raise([.powerButton, .processors])
            (device, range) = (events, guestRange(0xFEF0_0000, GenericEventDevice.registerSize))
        }
        try GuestScript(device, at: range).run(&input)
    }

    @Sendable private static func powerSeeds() -> [(name: String, bytes: [UInt8])] {
        let size = PowerManagementBlock.portCount
        return [
            (
                "block",
                [0]
                    + GuestScript.bytes(
                        [
                            .write(0x0101, at: 2, width: 2), .read(0, width: 4), .read(8, width: 4), .event([0, 0, 0, 0x40, 0]),
                            .read(8, width: 4), .event([2]), .event([3, 5]), .write(0xFF, at: 0x20, width: 8),
                            .write(0xFFFF, at: 0, width: 2), .event([4]), .event([1]),
                        ], size: size)
            ),
            ("soft-off", [4] + GuestScript.bytes([.write(5 << 10 | 1 << 13, at: 4, width: 2)], size: size)),
            ("sleep", [1] + GuestScript.bytes([.write(0x34, at: 0), .read(0, width: 4)], size: 4)),
            ("reset", [2] + GuestScript.bytes([.write(2, at: 0), .write(6, at: 0), .read(0)], size: 1)),
            ("events", [3] + GuestScript.bytes([.read(0, width: 4), .write(1, at: 0, width: 4)], size: 4)),
        ]
    }
}
