import StratoHost
import StratoMemory
import Testing

@testable import StratoPlatform

@Suite struct I8042Tests {
    @Test("Command 0xFE pulls the reset line; nothing else does")
    func reset() {
        let counter = Counter()
        let device = I8042(onReset: { counter.increment() })
        for command in UInt64(0)...0xFF where command != 0xFE { device.write(command, at: 4, width: 1) }
        for offset in UInt64(0)..<4 { device.write(0xFE, at: offset, width: 1) }
        #expect(counter.count == 0)
        device.write(0xFE, at: 4, width: 1)
        #expect(counter.count == 1)
    }

    @Test("Linux's restart waits for an empty input buffer, and finds one")
    func restartWait() {
        let device = I8042(onReset: {})
        #expect(device.read(at: 4, width: 1) & 0x02 == 0)
    }

    @Test("Linux's driver empties the output buffer up to 16 times, and then knows that there is no controller")
    func driverProbe() {
        let device = I8042(onReset: {})
        var reads = 0
        while device.read(at: 4, width: 1) & 0x01 != 0, reads <= 16 {
            _ = device.read(at: 0, width: 1)
            reads += 1
        }
        #expect(reads == 17)
        // Real-mode code takes 0xFF for no controller at all, and that is not what is said.
        #expect(device.read(at: 4, width: 1) != 0xFF)
    }

    @Test("Port B keeps its four writable bits, toggles the refresh bit and shows timer 2 as run out")
    func portB() {
        let device = I8042(onReset: {})
        let first = device.read(at: 1, width: 1)
        let second = device.read(at: 1, width: 1)
        #expect((first ^ second) == 0x10)
        #expect(first & 0x20 != 0)
        device.write(0xFD, at: 1, width: 1)
        #expect(device.read(at: 1, width: 1) & ~0x10 == 0x2D)
        // No parity error, no channel check: an NMI's reason is looked up there.
        #expect(device.read(at: 1, width: 1) & 0xC0 == 0)
    }

    @Test("Wider accesses are one to each port in turn; ports of nobody read as ones")
    func widths() {
        let counter = Counter()
        let device = I8042(onReset: { counter.increment() })
        #expect(device.read(at: 0, width: 4) & ~0x1000 == 0xFFFF_2000)
        #expect(device.read(at: 2, width: 2) == 0xFFFF)
        device.write(0xFE_0000_0000, at: 0, width: 5)
        #expect(counter.count == 1)
    }

    @Test("Any access with any value is answered")
    func hostileGuest() {
        hammer(I8042(onReset: {}), size: I8042.portCount, seed: 1)
    }
}

@Suite struct GenericEventDeviceTests {
    @Test("Events interrupt, are read once, and add up until they are")
    func events() {
        let line = TestLine()
        let device = GenericEventDevice(interrupt: line)
        #expect(device.read(at: 0, width: 4) == 0)
        device.raise(.powerButton)
        #expect(line.take() == 1)
        #expect(device.read(at: 0, width: 4) == 1)
        #expect(device.read(at: 0, width: 4) == 0)
        device.raise(.powerButton)
        device.raise([.processors, .acAdapter])
        #expect(device.read(at: 0, width: 4) == 0x13)
        #expect(line.levelCount == 0)
    }

    @Test("Each event interrupts again, even if nobody listened to the last")
    func repeatedEvents() {
        let line = TestLine()
        let device = GenericEventDevice(interrupt: line)
        device.raise(.powerButton)
        device.raise(.powerButton)
        #expect(line.take() == 2)
        #expect(device.read(at: 0, width: 4) == 1)
    }

    @Test("A read takes away only the events that it shows, at every offset and width")
    func partialReads() {
        for offset in UInt64(0)..<10 {
            for width in 1...8 {
                let device = GenericEventDevice(interrupt: TestLine())
                device.raise(GenericEventDevice.Events(rawValue: 0x8877_6655))
                let shown = device.read(at: offset, width: width)
                let rest = device.read(at: 0, width: 4)
                let all = offset < 4 ? (0x8877_6655 as UInt64) >> (8 * offset) : 0
                let mask: UInt64 = width >= 8 ? .max : (1 << UInt64(8 * width)) - 1
                #expect(shown == all & mask)
                #expect(shown << (8 * min(offset, 4)) | rest == 0x8877_6655)
                #expect((shown << (8 * min(offset, 4))) & rest == 0)
            }
        }
        #expect(GenericEventDevice(interrupt: TestLine()).read(at: 0, width: 0) == 0)
    }

    @Test("Writing does nothing, and any access is answered")
    func hostileGuest() {
        let line = TestLine()
        let device = GenericEventDevice(interrupt: line)
        device.write(0xFFFF_FFFF, at: 0, width: 4)
        #expect(device.read(at: 0, width: 4) == 0)
        hammer(device, size: GenericEventDevice.registerSize, seed: 2)
        #expect(line.take() == 0)
    }

    @Test("A saved state keeps the events and interrupts anew; other bytes are refused and change nothing")
    func state() throws {
        let device = GenericEventDevice(interrupt: TestLine())
        device.raise(.powerButton)
        let bytes = device.save()
        let line = TestLine()
        let other = GenericEventDevice(interrupt: line)
        try other.restore(bytes)
        #expect(line.take() == 1)
        for count in 0..<bytes.count {
            #expect(throws: StateError.truncated) { try other.restore(Array(bytes.prefix(count))) }
        }
        #expect(throws: StateError.trailingBytes(2)) { try other.restore(bytes + [0, 0]) }
        #expect(throws: StateError.unknownVersion(9)) { try other.restore([9, 0, 0, 0, 0, 0, 0, 0]) }
        #expect(other.read(at: 0, width: 4) == 1)
        try other.restore([1, 0, 0, 0, 0, 0, 0, 0])
        #expect(line.take() == 0)
        other.raise(.powerButton)
        other.reset()
        #expect(other.read(at: 0, width: 4) == 0)
    }
}

@Suite struct SleepControlTests {
    @Test("Only SLP_EN with the type of S5 powers off", arguments: UInt64(0)...0xFF)
    func powerOff(_ value: UInt64) {
        let counter = Counter()
        let device = SleepControl(onPowerOff: { counter.increment() })
        device.write(value, at: 0, width: 1)
        #expect(counter.count == (value & 0x20 != 0 && (value >> 2) & 7 == 5 ? 1 : 0))
        // SLP_EN and the reserved bits read as zero.
        #expect(device.read(at: 0, width: 1) == value & 0x1C)
        #expect(device.read(at: 1, width: 1) == 0)
    }

    @Test("The status register takes no value, and wider accesses are one to each register")
    func status() {
        let counter = Counter()
        let device = SleepControl(onPowerOff: { counter.increment() })
        device.write(0x34, at: 1, width: 1)
        #expect(counter.count == 0)
        #expect(device.read(at: 0, width: 2) == 0)
        device.write(0xFF34, at: 0, width: 2)
        #expect(counter.count == 1)
        #expect(device.read(at: 0, width: 2) == 0x14)
    }

    @Test("Any access with any value is answered")
    func hostileGuest() {
        hammer(SleepControl(onPowerOff: {}), size: SleepControl.registerCount, seed: 3)
    }
}

@Suite struct ResetControlTests {
    @Test("Linux's way of writing resets once")
    func linuxSequence() {
        let counter = Counter()
        let device = ResetControl(onReset: { counter.increment() })
        let value = device.read(at: 0, width: 1) & ~0x0E
        device.write(value | 0x02, at: 0, width: 1)
        #expect(counter.count == 0)
        device.write(value | 0x0E, at: 0, width: 1)
        #expect(counter.count == 1)
        #expect(device.read(at: 0, width: 1) == 0x0E)
        // RST_CPU begins a reset as it goes from 0 to 1.
        device.write(0x06, at: 0, width: 1)
        #expect(counter.count == 1)
        device.reset()
        device.write(0x06, at: 0, width: 1)
        #expect(counter.count == 2)
    }

    @Test("Only RST_CPU resets", arguments: UInt64(0)...0xFF)
    func values(_ value: UInt64) {
        let counter = Counter()
        let device = ResetControl(onReset: { counter.increment() })
        device.write(value, at: 0, width: 1)
        #expect(counter.count == (value & 0x04 != 0 ? 1 : 0))
        #expect(device.read(at: 0, width: 1) == value & 0x0E)
    }

    @Test("Any access with any value is answered")
    func hostileGuest() {
        hammer(ResetControl(onReset: {}), size: 1, seed: 4)
        let device = ResetControl(onReset: {})
        #expect(device.read(at: 1, width: 4) == 0)
    }
}
