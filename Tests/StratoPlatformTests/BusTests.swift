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
        func range(_ base: UInt64, _ size: UInt64) throws -> GuestRange {
            try #require(GuestRange(base: GuestAddress(base), size: size))
        }
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
}
