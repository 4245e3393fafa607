import StratoHost
import StratoMemory
import Testing

@testable import StratoPlatform

@Suite struct PowerManagementBlockTests {
    private struct Bridge {
        let bus = Bus(name: "port")
        let block: PowerManagementBlock
        let time = ManualTime()
        let line = LevelRecorder()
        let offs = Counter()

        init(isTimerExtended: Bool = false, loop: EventLoop? = nil) {
            let (time, offs) = (time, offs)
            block = PowerManagementBlock(
                bus: bus, interrupt: line, isTimerExtended: isTimerExtended, loop: loop, clock: { time.now },
                onPowerOff: { offs.increment() })
        }
    }

    // MARK: Events

    @Test("The power button sets its status and holds the interrupt while it is enabled and not taken back")
    func powerButton() {
        let bridge = Bridge()
        bridge.block.pressPowerButton()
        #expect(bridge.block.read16(0) == 0x0100 && !bridge.line.isAsserted)
        bridge.block.write16(0x0100, 2)
        #expect(bridge.line.isAsserted)
        bridge.block.pressPowerButton()
        #expect(bridge.line.rises == 1)
        // Zeros, and the other byte, take nothing back.
        bridge.block.write16(0, 0)
        bridge.block.write8(0xFF, 0)
        #expect(bridge.line.isAsserted)
        bridge.block.write8(0x01, 1)
        #expect(bridge.block.read32(0) == 0x0100_0000 && !bridge.line.isAsserted)
        bridge.block.pressPowerButton()
        bridge.block.write32(0x0000_0100, 0)
        #expect(bridge.block.read32(0) == 0 && !bridge.line.isAsserted)
    }

    @Test("Only enable bits that exist are kept, a byte at a time")
    func enableBits() {
        let bridge = Bridge()
        bridge.block.write16(0xFFFF, 2)
        #expect(bridge.block.read16(2) == 0x0521)
        bridge.block.write8(0, 3)
        #expect(bridge.block.read16(2) == 0x0021)
    }

    @Test("General-purpose events interrupt while enabled, all 64, and are taken back one by one")
    func generalEvents() {
        let bridge = Bridge()
        for number in 0..<64 {
            bridge.block.raiseGeneralEvent(number)
            let byte = UInt64(number / 8)
            let bit = UInt8(1) << UInt8(number % 8)
            #expect(bridge.block.read8(0x20 + byte) == bit && !bridge.line.isAsserted)
            bridge.block.write8(bit, 0x28 + byte)
            #expect(bridge.line.isAsserted)
            bridge.block.write8(bit, 0x20 + byte)
            #expect(!bridge.line.isAsserted && bridge.block.read(at: 0x20, width: 8) == 0)
        }
        #expect(bridge.block.read(at: 0x28, width: 8) == 0x8080_8080_8080_8080)
        for number in [-1, 64, Int.max, Int.min] { bridge.block.raiseGeneralEvent(number) }
        #expect(!bridge.line.isAsserted)
    }

    // MARK: Sleeping

    @Test("S5 as the DSDT, the hardware and OVMF name it turns the machine off, other sleep types do not")
    func sleepTypes() {
        for type: UInt16 in 0..<8 {
            let bridge = Bridge()
            bridge.block.write16(type << 10, 4)
            #expect(bridge.offs.count == 0)
            bridge.block.write16(type << 10 | 1 << 13, 4)
            #expect(bridge.offs.count == ([0, 5, 7].contains(type) ? 1 : 0))
            // Sleep enable reads as 0, and ACPI is always on.
            #expect(bridge.block.read16(4) == type << 10 | 1)
        }
    }

    @Test("A sleep that is asked for by the upper byte alone, or together with other registers, is one")
    func sleepWidths() {
        let bridge = Bridge()
        bridge.block.write8(5 << 2 | 1 << 5, 5)
        #expect(bridge.offs.count == 1)
        bridge.block.write32(7 << 10 | 1 << 13, 4)
        #expect(bridge.offs.count == 2)
        bridge.block.write(UInt64(5 << 10 | 1 << 13) << 32, at: 0, width: 8)
        #expect(bridge.offs.count == 3)
        bridge.block.write8(0xFF, 4)
        #expect(bridge.offs.count == 3)
        #expect(Int(PowerManagementBlock.softOffType) == 5)
    }

    // MARK: Timer

    @Test("The timer counts 3 579 545 a second without drift, in 24 bits or 32")
    func timer() {
        for (isExtended, mask) in [(false, UInt64(0xFF_FFFF)), (true, 0xFFFF_FFFF)] {
            let bridge = Bridge(isTimerExtended: isExtended)
            #expect(bridge.block.read32(8) == 0)
            for seconds: Int64 in [1, 4, 60, 86400, 86400 * 3650] {
                bridge.time.now = seconds * 1_000_000
                #expect(UInt64(bridge.block.read32(8)) == UInt64(seconds) * 3_579_545 & mask)
            }
            bridge.time.advance(1)
            let value = bridge.block.read32(8)
            #expect((0..<4).map { bridge.block.read8(8 + $0) } == (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) })
            bridge.block.write32(0, 8)
            #expect(bridge.block.read32(8) == value)
        }
    }

    @Test("The timer never goes back, however finely it is looked at")
    func timerIsMonotonic() {
        let bridge = Bridge(isTimerExtended: true)
        var last: UInt32 = 0
        for _ in 0..<10_000 {
            bridge.time.advance(1)
            let value = bridge.block.read32(8)
            #expect(value > last && value - last <= 4)
            last = value
        }
    }

    @Test("Each change of the timer's highest bit sets its status")
    func timerStatus() {
        let bridge = Bridge()
        let half = Int64(1 << 23) * 1_000_000 / 3_579_545 + 1
        #expect(bridge.block.read16(0) == 0)
        for _ in 0..<4 {
            bridge.time.advance(half)
            #expect(bridge.block.read16(0) == 1)
            bridge.block.write16(1, 0)
            #expect(bridge.block.read16(0) == 0)
        }
        bridge.block.write16(1, 2)
        bridge.time.advance(half)
        _ = bridge.block.read16(0)
        #expect(bridge.line.isAsserted)
    }

    @Test("The timer interrupts by itself where that is enabled")
    func timerInterrupt() throws {
        let thread = try EventLoopThread(name: "timer")
        defer { thread.stop() }
        let bridge = Bridge(loop: thread.loop)
        bridge.time.now = Int64(1 << 23) * 1_000_000 / 3_579_545 - 100
        bridge.block.write16(1, 2)
        bridge.time.advance(200)
        bridge.line.waitUntilAsserted()
        #expect(bridge.block.read16(0) == 1)
    }

    // MARK: Place

    @Test("The registers are where PMBASE says, move with it, and go")
    func relocation() throws {
        let bridge = Bridge()
        var view = bridge.bus.makeView()
        #expect(bridge.block.base == nil && view.read(0x604, width: 2) == nil)
        try bridge.block.relocate(to: 0x600)
        #expect(view.read(0x604, width: 2) == 1)
        try bridge.block.relocate(to: 0x601)
        #expect(bridge.block.base == 0x600)
        try bridge.block.relocate(to: 0xB000)
        #expect(view.read(0x604, width: 2) == nil && view.read(0xB004, width: 2) == 1)
        try bridge.block.relocate(to: .max)
        #expect(bridge.block.base == 0xFF80)
        try bridge.block.relocate(to: nil)
        #expect(bridge.bus.ranges.isEmpty)
    }

    @Test("Another device in the way is an error, after which the registers can still go elsewhere")
    func conflict() throws {
        let bridge = Bridge()
        let other = Bridge()
        try bridge.bus.insert(other.block, at: #require(GuestRange(base: GuestAddress(0x70), size: 8)))
        try bridge.block.relocate(to: 0x600)
        #expect(throws: BusError.self) { try bridge.block.relocate(to: 0x40) }
        #expect(bridge.block.base == nil)
        try bridge.block.relocate(to: 0x600)
        #expect(bridge.bus.ranges.count == 2)
        // They hold the bus, which holds them.
        for range in bridge.bus.ranges { #expect(bridge.bus.remove(range)) }
    }

    // MARK: State

    @Test("A reset clears all but the timer, and releases the interrupt")
    func reset() {
        let bridge = Bridge()
        bridge.block.write32(0xFFFF_0000, 0)
        bridge.block.write16(5 << 10, 4)
        bridge.block.write(.max, at: 0x28, width: 8)
        bridge.block.raiseGeneralEvent(3)
        bridge.block.pressPowerButton()
        bridge.time.advance(1000)
        let count = bridge.block.read32(8)
        bridge.block.reset()
        #expect(!bridge.line.isAsserted && bridge.block.read32(8) == count && bridge.block.read16(4) == 1)
        #expect(
            bridge.block.read32(0) == 0 && bridge.block.read(at: 0x20, width: 8) == 0
                && bridge.block.read(at: 0x28, width: 8) == 0)
    }

    @Test("A saved block goes on with its events, its interrupt and the timer's count")
    func stateRoundTrip() throws {
        let first = Bridge()
        first.block.write32(0x0100_0000, 0)
        first.block.pressPowerButton()
        first.block.write32(0x1234, 0x30)
        first.time.advance(2_000_000)
        let state = try PowerManagementBlock.State(decoding: first.block.save().encoded())
        let second = Bridge()
        second.time.now = 77_000_000
        second.block.restore(state)
        #expect(second.line.isAsserted && second.block.read32(8) == first.block.read32(8))
        #expect(second.block.read32(0) == 0x0100_0100 && second.block.read32(0x30) == 0x1234)
        #expect(second.block.save() == first.block.save())
    }

    @Test("States that no block can have are refused, and none makes it trap")
    func hostileStates() throws {
        let bridge = Bridge()
        let good = bridge.block.save().encoded()
        for count in 0..<good.count {
            #expect(throws: StateError.self) { try PowerManagementBlock.State(decoding: Array(good.prefix(count))) }
        }
        #expect(throws: StateError.self) { try PowerManagementBlock.State(decoding: good + [0]) }
        var generator = SplitMix64(seed: 2)
        for _ in 0..<5000 {
            let bytes =
                Array(good.prefix(4)) + good.dropFirst(4).map { _ in UInt8.random(in: .min ... .max, using: &generator) & 0x21 }
            guard let state = try? PowerManagementBlock.State(decoding: bytes) else { continue }
            bridge.block.restore(state)
            #expect(
                bridge.line.isAsserted
                    == (bridge.block.read16(0) & bridge.block.read16(2) != 0
                        || bridge.block.read(at: 0x20, width: 8) & bridge.block.read(at: 0x28, width: 8) != 0))
        }
    }

    @Test("Every width at every alignment reads what its bytes do, and none traps", arguments: [UInt64(1), 2])
    func fuzz(seed: UInt64) throws {
        let thread = try EventLoopThread(name: "timer")
        defer { thread.stop() }
        let bridge = Bridge(loop: thread.loop)
        hammer(bridge.block, size: PowerManagementBlock.portCount, seed: seed)
        for width in 1...8 {
            for offset in 0..<(PowerManagementBlock.portCount - UInt64(width)) {
                let bytes = (0..<UInt64(width)).reduce(UInt64(0)) { $0 | UInt64(bridge.block.read8(offset + $1)) << (8 * $1) }
                #expect(bridge.block.read(at: offset, width: width) == bytes)
            }
        }
    }
}
