import StratoHost
import StratoMemory
import Synchronization
import Testing

@testable import StratoPlatform

/// Keeps the level, and how often it was set.
final class LevelLine: InterruptLine {
    private let state = Mutex((level: false, changes: 0))

    func pulse() { Issue.record("a level-triggered line was pulsed") }
    func setLevel(_ isAsserted: Bool) {
        state.withLock { state in
            state.level = isAsserted
            state.changes += 1
        }
    }
    var event: EventDescriptor? { nil }

    var isAsserted: Bool { state.withLock { $0.level } }
    var changes: Int { state.withLock { $0.changes } }
}

/// A UART as a driver handles it.
private struct Machine {
    let line = LevelLine()
    let backend = TestBackend()
    let uart: PL011

    init(onMarker: (@Sendable (UInt8) -> Void)? = nil) {
        uart = PL011(interrupt: line, backend: backend, onMarker: onMarker)
    }

    subscript(_ register: UInt64) -> UInt16 {
        get { UInt16(truncatingIfNeeded: uart.read(at: register, width: 4)) }
        nonmutating set { uart.write(UInt64(newValue), at: register, width: 4) }
    }
}

private let dr: UInt64 = 0x00
private let rsr: UInt64 = 0x04
private let fr: UInt64 = 0x18
private let lcrh: UInt64 = 0x2C
private let cr: UInt64 = 0x30
private let ifls: UInt64 = 0x34
private let imsc: UInt64 = 0x38
private let ris: UInt64 = 0x3C
private let mis: UInt64 = 0x40
private let icr: UInt64 = 0x44

private let receive: UInt16 = 0x10
private let transmit: UInt16 = 0x20
private let timeout: UInt16 = 0x40

@Suite struct PL011Tests {
    @Test("After reset the registers hold what table 3-1 of the manual says, and the line is there")
    func resetValues() {
        let machine = Machine()
        #expect(machine[fr] == 0x97)
        #expect(machine[cr] == 0x300)
        #expect(machine[ifls] == 0x12)
        for register in [dr, rsr, 0x20, 0x24, 0x28, lcrh, imsc, ris, mis, 0x48] { #expect(machine[register] == 0) }
        #expect(machine.line.changes == 0)
    }

    @Test("A driver recognises it: PrimeCell 041, revision r1p5, whose FIFOs have 32 bytes")
    func identification() {
        let machine = Machine()
        let bytes = (0..<8).map { machine[0xFE0 + UInt64($0) * 4] }
        #expect(bytes == [0x11, 0x10, 0x34, 0x00, 0x0D, 0xF0, 0x05, 0xB1])
        // The same read byte by byte, as Linux's AMBA bus does on some machines.
        #expect(machine.uart.read(at: 0xFE0, width: 1) == 0x11)
        #expect(machine.uart.read(at: 0xFE1, width: 1) == 0)
    }

    @Test("Bytes written go out in order, whatever the width, and the transmitter is neither full nor busy")
    func sending() {
        let machine = Machine()
        for (index, byte) in "console".utf8.enumerated() {
            #expect(machine[fr] & 0x28 == 0)
            machine.uart.write(UInt64(byte), at: dr, width: [1, 2, 4, 8][index % 4])
        }
        #expect(machine.backend.written == Array("console".utf8))
    }

    @Test("The transmit interrupt comes once something was sent, stays while a driver fills the FIFO, and ends when it is masked")
    func transmitInterrupt() {
        let machine = Machine()
        machine[lcrh] = 0x70
        machine[imsc] = transmit
        #expect(!machine.line.isAsserted)
        for byte in "sixteen bytes...".utf8 { machine[dr] = UInt16(byte) }
        #expect(machine.line.isAsserted)
        // One change for all of them: the line is not set anew with each byte.
        #expect(machine.line.changes == 1)
        #expect(machine[mis] == transmit)
        machine[imsc] = 0
        #expect(!machine.line.isAsserted)
        #expect(machine[ris] == transmit)
        machine[icr] = transmit
        #expect(machine[ris] == 0)
    }

    @Test("What comes in raises the timeout interrupt, and from the chosen level on the receive interrupt too")
    func receiveInterrupts() {
        let machine = Machine()
        machine[lcrh] = 0x70
        machine[ifls] = 0x02 << 3
        machine[imsc] = receive | timeout
        machine.backend.send([1])
        #expect(machine[ris] == timeout)
        #expect(machine.line.isAsserted)
        machine.backend.send(Array(repeating: 2, count: 15))
        #expect(machine[ris] == receive | timeout)
        #expect(machine[dr] == 1)
        #expect(machine[ris] == timeout)
        for _ in 0..<15 { #expect(machine[dr] == 2) }
        #expect(machine[ris] == 0)
        #expect(!machine.line.isAsserted)
        #expect(machine[fr] & 0x10 != 0)
        #expect(machine[dr] == 0)
    }

    @Test("Without FIFOs one byte is enough for the receive interrupt, and makes the receiver full")
    func withoutFIFOs() {
        let machine = Machine()
        machine.backend.send([7])
        #expect(machine[ris] & receive != 0)
        #expect(machine[fr] & 0x50 == 0x40)
    }

    @Test("A driver that clears the receive interrupts at its start, and reads until the receiver is empty, loses nothing")
    func clearedInterrupts() {
        let machine = Machine()
        machine[lcrh] = 0x70
        let sent = (0..<200).map { UInt8($0) }
        #expect(machine.backend.send(sent) == 200)
        machine[icr] = receive | timeout
        // Linux reads at most twice the FIFO's size before it switches interrupts on.
        var got: [UInt8] = (0..<64).map { _ in UInt8(truncatingIfNeeded: machine[dr]) }
        machine[imsc] = receive | timeout
        #expect(machine.line.isAsserted)
        while machine[fr] & 0x10 == 0 { got.append(UInt8(truncatingIfNeeded: machine[dr])) }
        #expect(got == sent)
        #expect(!machine.line.isAsserted)
    }

    @Test("The host is held back while the buffer is full, and asked for more when it is worth it")
    func flowControl() {
        let machine = Machine()
        let many = [UInt8](repeating: 9, count: 2000)
        #expect(machine.backend.send(many) == 1024)
        #expect(machine.uart.receivableCount() == 0)
        #expect(machine.backend.send(many) == 0)
        let before = machine.backend.resumes
        for _ in 0..<1024 { _ = machine[dr] }
        #expect(machine.backend.resumes - before == 2)
    }

    @Test("Looped back, what is sent is received, the outputs are the inputs, and the host waits")
    func loopback() {
        let machine = Machine()
        machine[cr] = 0x380
        #expect(machine.uart.receivableCount() == 0)
        machine[dr] = 0x41
        #expect(machine.backend.written.isEmpty)
        #expect(machine[dr] == 0x41)
        #expect(machine[fr] & 0x107 == 0)
        machine[cr] = 0x380 | 1 << 10 | 1 << 11 | 1 << 12 | 1 << 13
        #expect(machine[fr] & 0x107 == 0x107)
        #expect(machine[ris] & 0xF == 0xF)
        for _ in 0..<1025 { machine[dr] = 1 }
        #expect(machine[rsr] == 8)
        #expect(machine[ris] & 0x400 != 0)
        #expect(machine[dr] & 0x800 != 0)
        machine[rsr] = 0
        #expect(machine[rsr] == 0)
        machine[cr] = 0x300
        #expect(machine.backend.resumes > 0)
    }

    @Test("The boot marker's register reaches its callback, and nothing else does")
    func marker() {
        let marks = Mutex<[UInt8]>([])
        let machine = Machine(onMarker: { value in marks.withLock { $0.append(value) } })
        for register in stride(from: UInt64(0), to: 0x1000, by: 4) { machine[register] = 2 }
        machine.uart.write(1, at: PL011.bootMarkerOffset, width: 1)
        #expect(marks.withLock { $0 } == [2, 1])
    }

    @Test("A saved state brings registers, received bytes and the interrupt's level back; a damaged one is refused")
    func state() throws {
        let machine = Machine()
        machine[lcrh] = 0x70
        machine[imsc] = timeout
        machine[0x24] = 13
        machine.backend.send(Array("held".utf8))
        let bytes = machine.uart.save().encoded()
        let other = Machine()
        other.uart.restore(try PL011.State(decoding: bytes))
        #expect(other.line.isAsserted)
        #expect(other[0x24] == 13)
        #expect((0..<4).map { _ in UInt8(truncatingIfNeeded: other[dr]) } == Array("held".utf8))
        for count in bytes.indices { #expect(throws: StateError.self) { try PL011.State(decoding: Array(bytes[..<count])) } }
        #expect(throws: StateError.trailingBytes(1)) { try PL011.State(decoding: bytes + [0]) }
        for position in 4..<(bytes.count - 8) {
            var damaged = bytes
            damaged[position] = 0xFF
            if let state = try? PL011.State(decoding: damaged) { Machine().uart.restore(state) }
        }
        machine.uart.reset()
        #expect(machine.uart.save() == PL011.State())
        #expect(!machine.line.isAsserted)
    }

    @Test("No access of any kind, and no input between, makes it fail")
    func hostileAccesses() {
        let machine = Machine()
        for seed in 0..<4 {
            hammer(machine.uart, size: PL011.registerSize, seed: UInt64(seed))
            machine.backend.send([1, 2, 3])
        }
        machine.uart.reset()
        #expect(machine.uart.save() == PL011.State())
    }
}
