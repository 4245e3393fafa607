import Glibc
import StratoHost
import StratoMemory
import Synchronization
import Testing

@testable import StratoPlatform

/// A clock on the wall that a test moves.
private final class Wall: Sendable {
    private let time: Mutex<Int64>
    init(seconds: Int64) { time = Mutex(seconds * 1_000_000) }
    var microseconds: Int64 { time.withLock { $0 } }
    func advance(seconds: Int64) { time.withLock { $0 += seconds * 1_000_000 } }
}

private let dr: UInt64 = 0x00
private let mr: UInt64 = 0x04
private let lr: UInt64 = 0x08
private let control: UInt64 = 0x0C
private let imsc: UInt64 = 0x10
private let ris: UInt64 = 0x14
private let mis: UInt64 = 0x18
private let icr: UInt64 = 0x1C

private struct Machine {
    let line = LevelLine()
    let wall: Wall
    let clock: PL031

    init(seconds: Int64 = 1_700_000_000, loop: EventLoop? = nil) {
        let wall = Wall(seconds: seconds)
        self.wall = wall
        clock = PL031(interrupt: line, loop: loop, clock: { wall.microseconds })
    }

    subscript(_ register: UInt64) -> UInt32 {
        get { UInt32(truncatingIfNeeded: clock.read(at: register, width: 4)) }
        nonmutating set { clock.write(UInt64(newValue), at: register, width: 4) }
    }
}

@Suite struct PL031Tests {
    @Test("The time is the host's, and goes on")
    func time() {
        let machine = Machine()
        #expect(machine[dr] == 1_700_000_000)
        machine.wall.advance(seconds: 61)
        #expect(machine[dr] == 1_700_000_061)
        #expect(machine[control] == 1)
        #expect((0..<8).map { machine[0xFE0 + UInt64($0) * 4] } == [0x31, 0x10, 0x04, 0x00, 0x0D, 0xF0, 0x05, 0xB1])
    }

    @Test("A time that the guest loads goes on from there, also one beyond 2106")
    func load() {
        let machine = Machine()
        for start in [0, 5, UInt32.max] {
            machine[lr] = start
            #expect(machine[dr] == start)
            #expect(machine[lr] == start)
            machine.wall.advance(seconds: 3)
            #expect(machine[dr] == start &+ 3)
        }
    }

    @Test("The alarm comes at its second or when its second was passed, once, and is acknowledged")
    func alarm() {
        let machine = Machine()
        machine[imsc] = 1
        machine[mr] = 1_700_000_010
        machine.wall.advance(seconds: 9)
        #expect(machine[ris] == 0)
        #expect(!machine.line.isAsserted)
        machine.wall.advance(seconds: 5)
        #expect(machine[ris] == 1)
        #expect(machine[mis] == 1)
        #expect(machine.line.isAsserted)
        machine[icr] = 1
        #expect(machine[ris] == 0)
        #expect(!machine.line.isAsserted)
        machine.wall.advance(seconds: 100)
        #expect(machine[ris] == 0)
    }

    @Test("A masked alarm is seen by looking, an alarm for now comes now, and a clock that is set back raises none")
    func otherAlarms() {
        let machine = Machine()
        machine[mr] = 1_700_000_001
        machine.wall.advance(seconds: 1)
        #expect(machine[ris] == 1)
        #expect(machine[mis] == 0)
        #expect(!machine.line.isAsserted)
        machine[imsc] = 1
        #expect(machine.line.isAsserted)
        machine[icr] = 1
        machine[mr] = machine[dr]
        #expect(machine[ris] == 1)
        machine[icr] = 1
        machine[mr] = 1_700_000_050
        machine.wall.advance(seconds: -1000)
        #expect(machine[ris] == 0)
    }

    @Test("The alarm interrupts a guest that does not look")
    func alarmFromLoop() throws {
        let thread = try EventLoopThread(name: "alarm")
        defer { thread.stop() }
        let line = LevelLine()
        let clock = PL031(interrupt: line, loop: thread.loop)
        let now = clock.read(at: dr, width: 4)
        clock.write(now + 2, at: mr, width: 4)
        clock.write(1, at: imsc, width: 4)
        let deadline = MonotonicClock.now.microseconds + 30_000_000
        while !line.isAsserted, MonotonicClock.now.microseconds < deadline { usleep(10_000) }
        #expect(line.isAsserted)
        #expect(clock.read(at: dr, width: 4) >= now + 2)
    }

    @Test("A reset keeps the time and forgets the alarm; a saved state goes on; a damaged one is refused")
    func state() throws {
        let machine = Machine()
        machine[lr] = 1000
        machine[mr] = 1001
        machine[imsc] = 1
        let bytes = machine.clock.save().encoded()
        let other = Machine()
        other.clock.restore(try PL031.State(decoding: bytes))
        #expect(other[dr] == 1000)
        other.wall.advance(seconds: 1)
        #expect(other[dr] == 1001)
        #expect(other.line.isAsserted)
        other.clock.reset()
        #expect(other[dr] == 1001)
        #expect(other[imsc] == 0)
        #expect(!other.line.isAsserted)
        for count in bytes.indices { #expect(throws: StateError.self) { try PL031.State(decoding: Array(bytes[..<count])) } }
        var damaged = bytes
        damaged[bytes.count - 1] = 2
        #expect(throws: StateError.invalid("interrupt")) { try PL031.State(decoding: damaged) }
    }

    @Test("No access of any kind makes it fail")
    func hostileAccesses() {
        let machine = Machine()
        hammer(machine.clock, size: PL031.registerSize, seed: 1)
        machine.clock.reset()
        #expect(machine[imsc] == 0)
    }
}
