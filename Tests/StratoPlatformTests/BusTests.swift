import StratoHost
import StratoMemory
import Testing

@testable import StratoPlatform

@Suite struct PlatformBusTests {
    @Test("The devices stand side by side on a port bus and answer there")
    func ports() throws {
        let bus = Bus(name: "port")
        let resets = Counter()
        let powerOffs = Counter()
        let line = TestLine()
        try bus.insert(
            I8042(onReset: { resets.increment() }), at: range(I8042.basePort, I8042.portCount))
        try bus.insert(
            Serial16550(interrupt: line, backend: nil), at: range(0x3F8, Serial16550.registerCount))
        try bus.insert(ResetControl(onReset: { resets.increment() }), at: range(ResetControl.port, 1))
        try bus.insert(
            SleepControl(onPowerOff: { powerOffs.increment() }), at: range(0xCE9, SleepControl.registerCount))
        var view = bus.makeView()
        let lineStatus = view.read(0x3FD, width: 1)
        #expect(lineStatus == 0x60)
        for (address, value) in [(0x64, 0xFE), (0xCF9, 0x06), (0xCE9, 0x34)] as [(UInt64, UInt64)] {
            let isAnswered = view.write(value, to: address, width: 1)
            #expect(isAnswered)
        }
        #expect(resets.count == 2)
        #expect(powerOffs.count == 1)
        let whole = view.read(0x3F8, width: 8)
        let beyond = view.read(0x3FF, width: 2)
        #expect(whole != nil)
        #expect(beyond == nil)
    }

    @Test("Cloud Hypervisor #8405: every register of every device at every width and alignment, also across the end")
    func everyAccess() throws {
        let memory = try GuestMemory([try range(0, 64 << 10)])
        let line = TestLine()
        let bank = try range(0, 16 << 10)
        let devices: [(any BusDevice, UInt64)] = [
            (Serial16550(interrupt: line, backend: nil), Serial16550.registerCount),
            (PL011(interrupt: line, backend: nil), PL011.registerSize),
            (I8042(onReset: {}), I8042.portCount),
            (ResetControl(onReset: {}), 1),
            (SleepControl(onPowerOff: {}), SleepControl.registerCount),
            (GenericEventDevice(interrupt: line), GenericEventDevice.registerSize),
            (CMOSClock(interrupt: line, loop: nil), CMOSClock.portCount),
            (PL031(interrupt: line, loop: nil), PL031.registerSize),
            (
                PowerManagementBlock(bus: nil, interrupt: line, loop: nil, onPowerOff: {}), PowerManagementBlock.portCount
            ),
            (FirmwareConfigurationPorts(FirmwareConfiguration(memory: memory)), FirmwareConfigurationPorts.portCount),
            (FirmwareConfigurationRegisters(FirmwareConfiguration(memory: memory)), FirmwareConfigurationRegisters.size),
            (
                try PFlash(
                    unit: .variables, geometry: .pc, contents: GuestMemory([bank]), storage: nil, mapping: StillMapping(),
                    loop: nil), bank.size
            ),
        ]
        for (device, size) in devices {
            let bus = Bus(name: "test")
            try bus.insert(device, at: range(0x1000, size))
            var view = bus.makeView()
            for offset in 0..<(size + 16) {
                for width in [1, 2, 4, 8] {
                    let address = 0x1000 - 8 + offset
                    let isInside = offset >= 8 && offset - 8 + UInt64(width) <= size
                    for value in [0, .max, 0x5555_5555_5555_5555] as [UInt64] {
                        let mask: UInt64 = width == 8 ? .max : 1 << UInt64(8 * width) - 1
                        let isTaken = view.write(value & mask, to: address, width: width)
                        let read = view.read(address, width: width)
                        // Checked by hand, as an expectation for each of so many accesses would take minutes.
                        if isTaken != isInside || (read != nil) != isInside || (read ?? 0) & ~mask != 0 {
                            Issue.record("\(type(of: device)): \(width) bytes at \(Int64(offset) - 8)")
                        }
                    }
                }
            }
        }
    }

    private func range(_ base: UInt64, _ size: UInt64) throws -> GuestRange {
        try #require(GuestRange(base: GuestAddress(base), size: size))
    }
}

private final class StillMapping: FlashMapping {
    func setReadable(_ isReadable: Bool) throws(LinuxError) {}
}
