import Foundation
import StratoHost
import Testing

@testable import StratoPlatform

@Suite struct CMOSClockTests {
    /// 29 February 2024, 13:59:58 UTC, a Thursday.
    private static let moment: Int64 = 1_709_215_198_000_000

    private struct Chip {
        let clock: CMOSClock
        let time: ManualTime
        let line = LevelRecorder()

        init(_ microseconds: Int64 = moment, loop: EventLoop? = nil, offset: Int64 = 0) {
            let time = ManualTime(microseconds)
            self.time = time
            clock = CMOSClock(interrupt: line, loop: loop, offset: offset, clock: { time.now })
        }

        subscript(register: UInt8) -> UInt8 {
            get {
                clock.write8(register, 0)
                return clock.read8(1)
            }
            nonmutating set {
                clock.write8(register, 0)
                clock.write8(newValue, 1)
            }
        }

        /// Century, year, month, day, weekday, hour, minute, second.
        var shown: [UInt8] { [0x32, 9, 8, 7, 6, 4, 2, 0].map { self[$0] } }
    }

    private static let shownMoment: [UInt8] = [0x20, 0x24, 0x02, 0x29, 0x05, 0x13, 0x59, 0x58]

    // MARK: Time

    @Test("The time is the host's to the second, in BCD and 24 hours as firmware leaves them")
    func time() {
        let chip = Chip()
        #expect(chip.shown == CMOSClockTests.shownMoment)
        chip.time.advance(999_999)
        #expect(chip[0] == 0x58)
        chip.time.advance(1)
        #expect(chip[0] == 0x59)
        chip.time.advance(1_000_000)
        #expect(chip.shown == [0x20, 0x24, 0x02, 0x29, 0x05, 0x14, 0x00, 0x00])
        chip.time.advance(86_400_000_000)
        #expect(Array(chip.shown.prefix(5)) == [0x20, 0x24, 0x03, 0x01, 0x06])
        #expect(Chip(offset: 7200).shown[5] == 0x15)
        #expect(chip[0x0D] == 0x80)
        #expect(chip[0x0A] == 0x26 && chip[0x0B] == 0x02)
    }

    @Test("Without a clock of its own the time is that of the process")
    func hostTime() throws {
        let clock = CMOSClock(interrupt: LevelRecorder(), loop: nil)
        let before = WallClock.microseconds / 1_000_000
        clock.write8(0, 0)
        let second = clock.read8(1)
        let after = WallClock.microseconds / 1_000_000
        let shown = Int64(second >> 4) * 10 + Int64(second & 0x0F)
        #expect((before...after).contains { $0 % 60 == shown })
    }

    private func bcd(_ value: Int) -> UInt8 { UInt8((value / 10) << 4 | value % 10) }

    @Test("Every hour is right in all four formats")
    func formats() {
        for hour in 0..<24 {
            let midnight = CMOSClockTests.moment / 86_400_000_000 * 86_400_000_000
            let chip = Chip(midnight + Int64(hour) * 3_600_000_000)
            let twelve = UInt8(hour % 12 == 0 ? 12 : hour % 12)
            let afternoon: UInt8 = hour >= 12 ? 0x80 : 0
            chip[0x0B] = 0x06
            #expect(chip[4] == UInt8(hour))
            #expect(chip[9] == 24 && chip[0x32] == 20)
            chip[0x0B] = 0x04
            #expect(chip[4] == twelve | afternoon)
            chip[0x0B] = 0x00
            #expect(chip[4] == bcd(Int(twelve)) | afternoon)
            chip[0x0B] = 0x02
            #expect(chip[4] == bcd(hour))
            // Set in each format, the hour is read in another.
            for format: UInt8 in [0x00, 0x02, 0x04, 0x06] {
                chip[0x0B] = 0x80 | format
                let value = chip[4]
                chip[4] = 0
                chip[4] = value
                chip[0x0B] = format
                chip[0x0B] = 0x06
                #expect(chip[4] == UInt8(hour))
            }
        }
    }

    @Test("Dates agree with the Gregorian calendar, in both directions")
    func calendar() throws {
        var gregorian = Calendar(identifier: .gregorian)
        gregorian.timeZone = try #require(TimeZone(identifier: "UTC"))
        var generator = SplitMix64(seed: 1)
        for _ in 0..<2000 {
            let seconds = Int64.random(in: -6_000_000_000...250_000_000_000, using: &generator)
            let date = gregorian.dateComponents(
                [.year, .month, .day, .hour, .minute, .second, .weekday], from: Date(timeIntervalSince1970: Double(seconds)))
            let time = CalendarTime(seconds: seconds)
            #expect(
                time.year == Int64(date.year ?? 0) && time.month == Int64(date.month ?? 0) && time.day == Int64(date.day ?? 0))
            #expect(time.hour == Int64(date.hour ?? -1) && time.minute == Int64(date.minute ?? -1))
            #expect(time.second == Int64(date.second ?? -1))
            #expect(CalendarTime.weekday(seconds: seconds) == Int64(date.weekday ?? 0))
            #expect(time.seconds == seconds)
        }
    }

    @Test("An update is announced in the last 244 µs of a second and at no other time, so that nobody waits long")
    func updateInProgress() {
        let chip = Chip()
        var announced = 0
        for _ in 0..<100_000 {
            if chip[0x0A] & 0x80 != 0 { announced += 1 }
            chip.time.advance(10)
        }
        #expect((24...25).contains(announced))
        chip.time.now = CMOSClockTests.moment + 999_999
        #expect(chip[0x0A] == 0xA6)
        chip[0x0B] = 0x82
        #expect(chip[0x0A] == 0x26)
    }

    // MARK: Setting

    @Test("Set as Linux does it, the first second after the divider's reset comes after half of one")
    func setByLinux() {
        let chip = Chip()
        chip[0x0B] = chip[0x0B] | 0x80
        chip[0x0A] = 0x26 | 0x70
        for (register, value) in [(9, 0x30), (8, 0x12), (7, 0x31), (4, 0x23), (2, 0x59), (0, 0x59), (0x32, 0x20)] {
            chip[UInt8(register)] = UInt8(value)
        }
        chip.time.advance(5_300_000)
        #expect(chip[0] == 0x59)
        chip[0x0B] = 0x02
        chip[0x0A] = 0x26
        #expect(chip.shown == [0x20, 0x30, 0x12, 0x31, 0x03, 0x23, 0x59, 0x59])
        chip.time.advance(499_999)
        #expect(chip[0] == 0x59)
        chip.time.advance(1)
        #expect(chip.shown == [0x20, 0x31, 0x01, 0x01, 0x04, 0x00, 0x00, 0x00])
        // Off from the host's by the same from now on.
        chip.time.advance(3_600_000_000)
        #expect(chip[4] == 0x01)
    }

    @Test("A second set while the clock runs keeps its place between two seconds")
    func setRunning() {
        let chip = Chip(CMOSClockTests.moment + 700_000)
        chip[0] = 0x10
        #expect(chip.shown == [0x20, 0x24, 0x02, 0x29, 0x05, 0x13, 0x59, 0x10])
        chip.time.advance(299_999)
        #expect(chip[0] == 0x10)
        chip.time.advance(1)
        #expect(chip[0] == 0x11)
    }

    @Test("Whatever is written to the time's registers, what is shown afterwards is a time")
    func impossibleTimes() {
        for format: UInt8 in [0x00, 0x02, 0x04, 0x06] {
            let chip = Chip()
            for register: UInt8 in [0, 2, 4, 6, 7, 8, 9, 0x32] {
                for value in UInt8.min...UInt8.max {
                    chip[0x0B] = format
                    chip[register] = value
                    chip[0x0B] = 0x06
                    let shown = chip.shown
                    #expect(shown[0] < 100 && shown[1] < 100 && (1...12).contains(shown[2]) && (1...31).contains(shown[3]))
                    #expect((1...7).contains(shown[4]) && shown[5] < 24 && shown[6] < 60 && shown[7] < 60)
                }
            }
        }
    }

    // MARK: Flags and interrupts

    @Test("The alarm comes at the next time that its bytes match, wildcards included")
    func alarms() {
        // From 13:59:58: bytes of hour, minute, second, and after how many seconds.
        let alarms: [(UInt8, UInt8, UInt8, Int64)] = [
            (0x13, 0x59, 0x59, 1), (0x14, 0x00, 0x00, 2), (0xFF, 0xC0, 0x00, 2), (0xFF, 0x00, 0xFF, 2), (0xC5, 0xFF, 0xFF, 1),
            (0x13, 0x59, 0x58, 86400), (0x13, 0xFF, 0x30, 86400 - 59 * 60 - 28), (0xFF, 0x30, 0x00, 30 * 60 + 2),
        ]
        for (hour, minute, second, delay) in alarms {
            let chip = Chip()
            chip[5] = hour
            chip[3] = minute
            chip[1] = second
            chip[0x0B] = 0x22
            _ = chip[0x0C]
            chip.time.now = CMOSClockTests.moment + delay * 1_000_000 - 1
            #expect(chip[0x0C] & 0x20 == 0, "\(hour):\(minute):\(second)")
            #expect(!chip.line.isAsserted)
            chip.time.advance(1)
            #expect(chip[0x0C] & 0xA0 == 0xA0, "\(hour):\(minute):\(second)")
            #expect(chip[0x0C] == 0)
        }
        let never = Chip()
        never[1] = 0x99
        never.time.advance(200_000_000_000)
        #expect(never[0x0C] & 0x20 == 0)
    }

    @Test("Flags come up whether or not they interrupt, and reading takes them and the interrupt away")
    func flags() {
        let chip = Chip()
        #expect(chip[0x0C] == 0)
        chip.time.advance(1_000_000)
        #expect(chip[0x0C] == 0x50)
        // 1024 Hz.
        chip.time.advance(977)
        #expect(chip[0x0C] == 0x40)
        chip[0x0A] = 0x20
        chip.time.advance(500_000)
        #expect(chip[0x0C] == 0)
        chip[0x0B] = 0x12
        chip.time.advance(600_000)
        // Any access finds it, here one that has nothing to do with it.
        chip[0x0B] = 0x12
        #expect(chip.line.isAsserted)
        #expect(chip[0x0C] == 0x90)
        #expect(!chip.line.isAsserted && chip.line.rises == 1)
    }

    @Test("Periodic interrupts come from the event loop, one after each acknowledgement")
    func periodicInterrupts() throws {
        let thread = try EventLoopThread(name: "clock")
        defer { thread.stop() }
        let line = LevelRecorder()
        let clock = CMOSClock(interrupt: line, loop: thread.loop)
        clock.write8(0x0B, 0)
        clock.write8(0x42, 1)
        for _ in 0..<5 {
            line.waitUntilAsserted()
            clock.write8(0x0C, 0)
            #expect(clock.read8(1) & 0xC0 == 0xC0)
        }
        #expect(line.rises >= 5)
    }

    @Test("An alarm interrupts when its time comes, though the guest does nothing")
    func alarmInterrupt() throws {
        let thread = try EventLoopThread(name: "clock")
        defer { thread.stop() }
        let chip = Chip(loop: thread.loop)
        chip[5] = 0xFF
        chip[3] = 0xFF
        chip[1] = 0x59
        chip[0x0B] = 0x22
        #expect(!chip.line.isAsserted)
        chip.time.advance(1_000_000)
        chip.line.waitUntilAsserted()
        #expect(chip[0x0C] & 0xA0 == 0xA0)
    }

    @Test("A guest that switches interrupts on and off all the time has one timer at most, and the device can go")
    func timerChurn() throws {
        let thread = try EventLoopThread(name: "clock")
        weak var gone: CMOSClock?
        do {
            let chip = Chip(loop: thread.loop)
            gone = chip.clock
            for _ in 0..<20_000 {
                chip[0x0B] = 0x72
                chip[0x0B] = 0x02
            }
        }
        thread.stop()
        #expect(gone == nil)
    }

    // MARK: Memory

    @Test("Memory sizes stand where firmware looks for them, also after a reset")
    func memorySize() {
        let chip = Chip()
        chip.clock.setMemorySize(below4GiB: 2 << 30, above4GiB: 4 << 30)
        func number(_ registers: UInt8...) -> Int { registers.reversed().reduce(0) { $0 << 8 | Int(chip[$1]) } }
        for _ in 0..<2 {
            #expect(number(0x15, 0x16) == 640)
            #expect(number(0x17, 0x18) == 65535 && number(0x30, 0x31) == 65535)
            #expect(number(0x34, 0x35) == (2048 - 16) * 16)
            #expect(number(0x5B, 0x5C, 0x5D) == 4 << 14)
            for register: UInt8 in [0x15, 0x30, 0x34, 0x5D] { chip[register] = 0x55 }
            chip.clock.reset()
        }
        chip.clock.setMemorySize(below4GiB: 8 << 20, above4GiB: .max)
        #expect(number(0x17, 0x18) == 7 << 10 && number(0x34, 0x35) == 0 && number(0x5B, 0x5C, 0x5D) == 0xFF_FFFF)
    }

    @Test("Both banks keep what is written, at the ports and their copies; indices are written only")
    func banks() {
        let chip = Chip()
        chip[0x8F] = 0x12
        #expect(chip[0x0F] == 0x12)
        chip.clock.write8(0x7F, 6)
        chip.clock.write8(0x34, 7)
        chip.clock.write8(0xFF, 2)
        #expect(chip.clock.read8(3) == 0x34)
        chip.clock.write16(0x560F, 0)
        #expect(chip.clock.read8(5) == 0x56)
        #expect(chip.clock.read8(0) == 0xFF && chip.clock.read8(2) == 0xFF && chip.clock.read16(0) == 0x56FF)
        chip.clock.reset()
        #expect(chip[0x0F] == 0x56)
    }

    // MARK: State

    @Test("A reset switches interrupts off and leaves the time alone")
    func reset() {
        let chip = Chip()
        chip[0] = 0x30
        chip[0x0B] = 0x7A
        chip.time.advance(2_000_000)
        chip[0x0B] = 0x7A
        #expect(chip.line.isAsserted)
        chip.clock.reset()
        #expect(!chip.line.isAsserted && chip[0x0B] == 0x02 && chip[0x0C] == 0 && chip[0] == 0x32)
    }

    @Test("A saved clock goes on as far off from the host as it was, with its interrupt")
    func stateRoundTrip() throws {
        let first = Chip()
        first[2] = 0x07
        first[0x0B] = 0x12
        first[0x40] = 0x99
        first.time.advance(1_000_000)
        let saved = first.clock.save()
        #expect(first.line.isAsserted)
        let second = Chip(first.time.now + 60_000_000)
        second.clock.restore(try CMOSClock.State(decoding: saved.encoded()))
        #expect(second.line.isAsserted)
        #expect(second[2] == 0x08 && second[0] == 0x59 && second[0x40] == 0x99)
        #expect(second[0x0C] & 0x90 == 0x90 && !second.line.isAsserted)
    }

    @Test("States that no clock can have are refused, and none makes it trap")
    func hostileStates() throws {
        let chip = Chip()
        let good = chip.clock.save().encoded()
        for count in 0..<good.count {
            #expect(throws: StateError.self) { try CMOSClock.State(decoding: Array(good.prefix(count))) }
        }
        #expect(throws: StateError.self) { try CMOSClock.State(decoding: good + [0]) }
        var generator = SplitMix64(seed: 9)
        for _ in 0..<5000 {
            var bytes = good
            for _ in 0..<Int.random(in: 1...8, using: &generator) {
                bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: .min ... .max, using: &generator)
            }
            guard let state = try? CMOSClock.State(decoding: bytes) else { continue }
            chip.clock.restore(state)
            _ = chip.shown
            chip[0x0B] = 0x72
            chip.time.advance(Int64.random(in: -1_000_000_000...1_000_000_000, using: &generator))
            _ = chip[0x0C]
            _ = chip.clock.save()
        }
    }

    @Test("No access of any width traps, with interrupts on and the host's clock set back and forth", arguments: [UInt64(1), 2])
    func fuzz(seed: UInt64) throws {
        let thread = try EventLoopThread(name: "clock")
        defer { thread.stop() }
        let chip = Chip(loop: thread.loop)
        hammer(chip.clock, size: CMOSClock.portCount, seed: seed)
        var generator = SplitMix64(seed: seed)
        for _ in 0..<20_000 {
            let register = UInt8.random(in: 0..<16, using: &generator)
            chip[register == 15 ? 0x32 : register] = UInt8.random(in: .min ... .max, using: &generator)
            _ = chip[UInt8.random(in: 0..<16, using: &generator)]
            chip.time.advance(Int64.random(in: -86_400_000_000...86_400_000_000, using: &generator))
            if Int.random(in: 0..<1000, using: &generator) == 0 {
                #expect(try CMOSClock.State(decoding: chip.clock.save().encoded()).registers.count == 128)
            }
        }
        chip[0x0A] = 0x26
        chip[0x0B] = 0x02
        #expect(chip[0] < 0x60)
    }
}
