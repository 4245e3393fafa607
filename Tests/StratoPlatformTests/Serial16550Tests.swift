import StratoHost
import StratoMemory
import Testing

@testable import StratoPlatform

/// A UART as a driver handles it.
private struct Machine {
    let line = TestLine()
    let backend = TestBackend()
    let serial: Serial16550

    init(onScratchWrite: (@Sendable (UInt8) -> Void)? = nil) {
        serial = Serial16550(interrupt: line, backend: backend, onScratchWrite: onScratchWrite)
    }

    subscript(_ register: UInt64) -> UInt8 {
        get { UInt8(truncatingIfNeeded: serial.read(at: register, width: 1)) }
        nonmutating set { serial.write(UInt64(newValue), at: register, width: 1) }
    }

    func sendText(_ text: String) { for byte in text.utf8 { self[0] = byte } }
}

private let data: UInt64 = 0
private let ier: UInt64 = 1
private let iir: UInt64 = 2
private let fcr: UInt64 = 2
private let lcr: UInt64 = 3
private let mcr: UInt64 = 4
private let lsr: UInt64 = 5
private let msr: UInt64 = 6
private let scr: UInt64 = 7

@Suite struct Serial16550Tests {
    @Test("After reset the registers hold what table III of the data sheet says")
    func resetValues() {
        let machine = Machine()
        #expect(machine[ier] == 0)
        #expect(machine[iir] == 0x01)
        #expect(machine[lcr] == 0)
        #expect(machine[mcr] == 0)
        #expect(machine[lsr] == 0x60)
        #expect(machine[msr] == 0xB0)
        #expect(machine[scr] == 0)
        #expect(machine[data] == 0)
        #expect(machine.line.take() == 0)
    }

    @Test("Bytes written go out in order, and the transmitter is always empty")
    func transmit() {
        let machine = Machine()
        for byte in "console".utf8 {
            #expect(machine[lsr] & 0x60 == 0x60)
            machine[data] = byte
        }
        #expect(machine.backend.written == Array("console".utf8))
        #expect(machine.line.take() == 0)
    }

    @Test("Without a backend bytes go nowhere")
    func noBackend() {
        let serial = Serial16550(interrupt: TestLine(), backend: nil)
        serial.write(0x41, at: 0, width: 1)
        #expect(serial.read(at: 5, width: 1) == 0x60)
    }

    @Test("The divisor latch is reached through DLAB alone, and nothing is sent or enabled by it")
    func divisorLatch() {
        let machine = Machine()
        machine[lcr] = 0x83
        #expect(machine[data] == 12)
        #expect(machine[ier] == 0)
        machine[data] = 0x34
        machine[ier] = 0x12
        #expect(machine[data] == 0x34)
        #expect(machine[ier] == 0x12)
        machine[lcr] = 0x03
        #expect(machine[ier] == 0)
        #expect(machine[data] == 0)
        #expect(machine.backend.written.isEmpty)
        #expect(machine[lcr] == 0x03)
    }

    @Test("Only the bits that the chip has can be written; LSR and MSR not at all")
    func writableBits() {
        let machine = Machine()
        machine[ier] = 0xF0
        #expect(machine[ier] == 0)
        machine[mcr] = 0xE0
        #expect(machine[mcr] == 0)
        machine[scr] = 0xA5
        #expect(machine[scr] == 0xA5)
        machine[lsr] = 0xFF
        #expect(machine[lsr] == 0x60)
        machine[msr] = 0xFF
        #expect(machine[msr] == 0xB0)
    }

    @Test("IIR shows the FIFO bits exactly while the FIFO is enabled: drivers take the chip for a 16550A")
    func fifoDetection() {
        let machine = Machine()
        #expect(machine[iir] >> 6 == 0)
        machine[fcr] = 0x01
        #expect(machine[iir] >> 6 == 3)
        machine[fcr] = 0x00
        #expect(machine[iir] >> 6 == 0)
        // Without the enable bit nothing else is taken over.
        machine[fcr] = 0xC8
        #expect(machine.serial.save().fifoControl == 0)
    }

    @Test("Linux's probe takes the chip for a plain 16550A: it finds none of the extensions it looks for")
    func linuxProbe() {
        let machine = Machine()
        // The interrupt enable register exists and has four bits.
        machine[ier] = 0
        #expect(machine[ier] & 0x0F == 0)
        machine[ier] = 0x0F
        #expect(machine[ier] & 0x0F == 0x0F)
        machine[ier] = 0
        // The loop-back test.
        machine[mcr] = 0x10 | 0x0A
        #expect(machine[msr] & 0xF0 == 0x90)
        machine[mcr] = 0
        machine[lcr] = 0
        machine[fcr] = 0x01
        #expect(machine[iir] >> 6 == 3)
        // An enhanced feature register would read as zero there.
        machine[lcr] = 0x80
        #expect(machine[2] != 0)
        machine[lcr] = 0xBF
        #expect(machine[2] != 0)
        // The 64-byte FIFO of a 16750.
        machine[lcr] = 0
        machine[fcr] = 0x21
        #expect(machine[iir] & 0x20 == 0)
        machine[lcr] = 0x80
        machine[fcr] = 0x21
        #expect(machine[iir] & 0x20 == 0)
        // The UART unit enable of an XScale.
        machine[lcr] = 0
        machine[ier] = 0x40
        #expect(machine[ier] & 0x40 == 0)
    }

    @Test("Linux's tests for chips that don't tell of an empty transmitter pass")
    func linuxTransmitterTests() {
        let machine = Machine()
        machine[ier] = 0x02
        #expect(machine[lsr] & 0x40 != 0)
        #expect(machine[iir] == 0x02)
        machine[ier] = 0
        machine[ier] = 0x02
        #expect(machine[iir] == 0x02)
        machine[ier] = 0
        #expect(machine[iir] == 0x01)
    }

    @Test("Enabling the transmitter's interrupt raises it; reading IIR acknowledges it; each write raises it again")
    func transmitterInterrupt() {
        let machine = Machine()
        machine[ier] = 0x02
        #expect(machine.line.take() == 1)
        machine[ier] = 0x02
        #expect(machine.line.take() == 0)
        #expect(machine[iir] == 0x02)
        #expect(machine[iir] == 0x01)
        #expect(machine.line.take() == 0)
        // One edge for a burst, as it is not acknowledged in between.
        machine.sendText("sixteen bytes!!!")
        #expect(machine.line.take() == 1)
        #expect(machine[iir] == 0x02)
        machine.sendText("x")
        #expect(machine.line.take() == 1)
    }

    @Test("Received data raises one edge, is identified, and the line is quiet once it is read")
    func receiverInterrupt() {
        let machine = Machine()
        machine[fcr] = 0xC1
        machine[ier] = 0x01
        machine.backend.send([1])
        #expect(machine.line.take() == 1)
        // Fewer than the trigger level of 14.
        #expect(machine[iir] == 0xCC)
        machine.backend.send((2...14).map { $0 })
        #expect(machine.line.take() == 0)
        #expect(machine[iir] == 0xC4)
        #expect(machine[lsr] & 0x01 != 0)
        for expected in UInt8(1)...14 { #expect(machine[data] == expected) }
        #expect(machine[lsr] & 0x01 == 0)
        #expect(machine[iir] == 0xC1)
        #expect(machine.line.take() == 0)
        machine.backend.send([9])
        #expect(machine.line.take() == 1)
    }

    @Test("A driver that gives up in the midst of a flood gets another edge after each 256 bytes that it has read")
    func reminder() {
        let machine = Machine()
        machine[fcr] = 0x01
        machine[ier] = 0x01
        machine.backend.send([UInt8](repeating: 3, count: 1024))
        #expect(machine.line.take() == 1)
        for _ in 0..<3 {
            for _ in 0..<255 { _ = machine[data] }
            #expect(machine.line.take() == 0)
            _ = machine[data]
            #expect(machine.line.take() == 1)
        }
        for _ in 0..<256 { _ = machine[data] }
        #expect(machine.line.take() == 0)
        #expect(machine[iir] == 0xC1)
    }

    @Test("Data that came while its interrupt was off raises it when it is switched on")
    func lateEnable() {
        let machine = Machine()
        machine.backend.send([1])
        #expect(machine.line.take() == 0)
        #expect(machine[iir] == 0x01)
        machine[ier] = 0x01
        #expect(machine.line.take() == 1)
        #expect(machine[iir] == 0x04)
    }

    @Test("A reason that is left after another was acknowledged gets an edge of its own")
    func noLostEdge() {
        let machine = Machine()
        machine[ier] = 0x0A
        #expect(machine.line.take() == 1)
        // The modem's lines change while the transmitter's interrupt is pending: no edge yet.
        machine[mcr] = 0x10
        #expect(machine.line.take() == 0)
        #expect(machine[iir] == 0x02)
        #expect(machine.line.take() == 1)
        #expect(machine[iir] == 0x00)
        #expect(machine.line.take() == 0)
        #expect(machine[msr] & 0x0F != 0)
        #expect(machine[iir] == 0x01)
    }

    @Test("The priorities are those of table IV: line status, data, transmitter, modem")
    func priorities() {
        let machine = Machine()
        machine[mcr] = 0x10
        for _ in 0...1024 { machine[data] = 7 }
        machine[ier] = 0x0F
        machine[mcr] = 0x12
        #expect(machine[iir] == 0x06)
        #expect(machine[lsr] & 0x02 != 0)
        #expect(machine[iir] == 0x04)
        for _ in 0..<1024 { #expect(machine[data] == 7) }
        #expect(machine[iir] == 0x02)
        #expect(machine[iir] == 0x00)
        _ = machine[msr]
        #expect(machine[iir] == 0x01)
    }

    @Test("A driver that serves one reason per edge until IIR shows none gets every byte, whatever comes when")
    func edgeDriver() {
        let machine = Machine()
        var generator = SplitMix64(seed: 7)
        machine[fcr] = 0x01
        machine[ier] = 0x03
        var sent: [UInt8] = []
        var received: [UInt8] = []
        var toWrite = (0..<2000).map { UInt8(truncatingIfNeeded: $0) }
        let all = toWrite
        for step in 0..<20_000 {
            if sent.count < 2000, Int.random(in: 0..<3, using: &generator) == 0 {
                let chunk = (0..<Int.random(in: 1...40, using: &generator)).map { UInt8(truncatingIfNeeded: sent.count + $0) }
                sent += chunk.prefix(machine.backend.send(chunk))
            }
            guard machine.line.take() > 0 else { continue }
            while true {
                let reason = machine[iir] & 0x0F
                if reason == 0x01 { break }
                if reason == 0x04 || reason == 0x0C {
                    while machine[lsr] & 1 != 0 { received.append(machine[data]) }
                } else if reason == 0x02 {
                    for _ in 0..<min(16, toWrite.count) { machine[data] = toWrite.removeFirst() }
                    // New data may come at any moment.
                    if step % 3 == 0, sent.count < 2000 {
                        sent += [UInt8(truncatingIfNeeded: sent.count)].prefix(
                            machine.backend.send([UInt8(truncatingIfNeeded: sent.count)]))
                    }
                }
            }
        }
        #expect(received == sent)
        #expect(machine.backend.written == all)
    }

    @Test("The host is held back at 1024 bytes and called again as the guest reads; nothing is lost")
    func backpressure() {
        let machine = Machine()
        let flood = (0..<5000).map { UInt8(truncatingIfNeeded: $0) }
        var sent = machine.backend.send(flood)
        #expect(sent == 1024)
        #expect(machine.backend.send([1]) == 0)
        var received: [UInt8] = []
        var resumes = machine.backend.resumes
        while received.count < flood.count {
            #expect(machine[lsr] & 0x01 != 0)
            received.append(machine[data])
            if machine.backend.resumes > resumes {
                resumes = machine.backend.resumes
                sent += machine.backend.send(Array(flood[sent...]))
            }
        }
        #expect(received == flood)
        #expect(machine[lsr] & 0x02 == 0)
        // Not a call for every byte.
        #expect(resumes < 100)
    }

    @Test("CVE-2020-27174: a host that sends more than there is room for loses the rest, and the guest is none the worse")
    func overfilled() {
        let machine = Machine()
        machine.serial.receive([UInt8](repeating: 5, count: 3000).span)
        #expect(machine.serial.receivableCount() == 0)
        #expect(machine.serial.save().received.count == 1024)
    }

    @Test("Resetting the FIFO throws away what the chip itself would hold, not what waits on the line")
    func fifoReset() {
        let machine = Machine()
        machine[fcr] = 0x01
        machine.backend.send((0..<100).map { $0 })
        let resumes = machine.backend.resumes
        machine[fcr] = 0x03
        #expect(machine[data] == 16)
        #expect(machine.backend.resumes > resumes)
        // Switching it resets it too.
        machine[fcr] = 0x00
        #expect(machine[data] == 33)
        // A reset bit without the enable bit does nothing.
        machine[fcr] = 0x02
        #expect(machine[data] == 34)
    }

    @Test("Looped back, bytes come back, the line hears nothing and is not heard, and the outputs show on the inputs")
    func loopback() {
        let machine = Machine()
        machine[mcr] = 0x10
        machine[ier] = 0x01
        machine[data] = 0x5A
        #expect(machine.line.take() == 1)
        #expect(machine[data] == 0x5A)
        #expect(machine.backend.written.isEmpty)
        #expect(machine.backend.send([1]) == 0)
        for (output, input) in [(0x01, 0x20), (0x02, 0x10), (0x04, 0x40), (0x08, 0x80)] as [(UInt8, UInt8)] {
            machine[mcr] = 0x10 | output
            #expect(machine[msr] & 0xF0 == input)
        }
        _ = machine[msr]
        machine[mcr] = 0x14
        #expect(machine[msr] & 0x0F == 0x08)
        // A ring tells of its end alone.
        machine[mcr] = 0x10
        #expect(machine[msr] == 0x04)
        let resumes = machine.backend.resumes
        machine[mcr] = 0
        #expect(machine.backend.resumes == resumes + 1)
        #expect(machine[msr] == 0xBB)
        #expect(machine[msr] == 0xB0)
        #expect(machine.backend.send([1]) == 1)
    }

    @Test("Wider accesses are one to each register in turn, at every offset and width")
    func widths() {
        let machine = Machine()
        machine[lcr] = 0x80
        machine.serial.write(0x0123, at: 0, width: 2)
        #expect(machine.serial.save().divisor == 0x0123)
        machine.serial.write(0x0000_0003_C7, at: 2, width: 2)
        #expect(machine[lcr] == 0x03)
        #expect(machine.serial.read(at: 2, width: 2) == 0x03C1)
        machine[scr] = 0x77
        #expect(machine.serial.read(at: 0, width: 8) == 0x77B0_6000_03C1_0000)
        #expect(machine.serial.read(at: 4, width: 4) == 0x77B0_6000)
        for offset in UInt64(0)..<8 {
            for width in 1...8 {
                let value = machine.serial.read(at: offset, width: width)
                if width < 8 { #expect(value >> UInt64(8 * width) == 0) }
            }
        }
        // Beyond the registers, where no bus leads.
        #expect(machine.serial.read(at: 8, width: 1) == 0)
        #expect(machine.serial.read(at: .max, width: 8) & 0xFF == 0)
        machine.serial.write(.max, at: .max, width: 8)
        #expect(machine.serial.read(at: 0, width: 0) == 0)
        #expect(machine.serial.read(at: 0, width: -1) == 0)
    }

    @Test("Each byte written to the scratch register is shown to the observer")
    func scratchObserver() {
        let counter = Counter()
        let machine = Machine(onScratchWrite: { if $0 == 1 || $0 == 2 { counter.increment() } })
        machine[scr] = 1
        machine[scr] = 2
        machine[scr] = 3
        machine.serial.write(0x0100_0000, at: 4, width: 4)
        #expect(counter.count == 3)
        #expect(machine[scr] == 1)
    }

    @Test("Any access with any value is answered", arguments: [UInt64(1), 2, 3, 4])
    func hostileGuest(_ seed: UInt64) throws {
        let machine = Machine()
        machine.backend.send([UInt8](repeating: 1, count: 500))
        hammer(machine.serial, size: Serial16550.registerCount, seed: seed)
        #expect(machine.line.levelCount == 0)
        #expect(machine.serial.receivableCount() <= 1024)
        // What came of it can be saved and read again.
        let state = machine.serial.save()
        #expect(try Serial16550.State(decoding: state.encoded()) == state)
    }

    @Test("Several virtual CPUs and the host at once lose nothing")
    func concurrency() throws {
        let machine = Machine()
        let counter = Counter()
        machine[fcr] = 0x01
        let serial = machine.serial
        let backend = machine.backend
        let writers = try (0..<2).map { _ in
            try HostThread.start(name: "vcpu") { for _ in 0..<5000 { serial.write(0x41, at: 0, width: 1) } }
        }
        let host = try HostThread.start(name: "host") {
            var sent = 0
            while sent < 5000 { sent += backend.send([0x42]) }
        }
        let reader = try HostThread.start(name: "vcpu") {
            var received = 0
            while received < 5000 {
                if serial.read(at: 5, width: 1) & 1 != 0 {
                    if serial.read(at: 0, width: 1) == 0x42 { counter.increment() }
                    received += 1
                }
            }
        }
        for thread in writers + [host, reader] { thread.join() }
        #expect(backend.written.count == 10_000)
        #expect(counter.count == 5000)
    }

    @Test("A saved state goes on elsewhere as if nothing had happened, with its bytes and its interrupt")
    func saveAndRestore() throws {
        let machine = Machine()
        machine[lcr] = 0x80
        machine[data] = 1
        machine[ier] = 0
        machine[lcr] = 0x1B
        machine[fcr] = 0x81
        machine[ier] = 0x03
        machine[mcr] = 0x0B
        machine[scr] = 0x99
        machine.backend.send((0..<200).map { $0 })
        for _ in 0..<100 { _ = machine[data] }
        _ = machine[iir]

        let bytes = machine.serial.save().encoded()
        let other = Machine()
        other.serial.restore(try Serial16550.State(decoding: bytes))
        #expect(other.line.take() == 1)
        #expect(other.serial.save() == machine.serial.save())
        for register in [ier, lcr, mcr, scr, msr, iir, lsr] { #expect(other[register] == machine[register]) }
        for expected in UInt8(100)..<200 { #expect(other[data] == expected) }

        other.serial.reset()
        #expect(other.serial.save() == Serial16550.State())
        #expect(other.backend.resumes > 0)
    }

    @Test("No bytes are taken for a state but those that can be one")
    func hostileStates() throws {
        let machine = Machine()
        machine.backend.send([1, 2, 3])
        let good = machine.serial.save().encoded()
        for count in 0..<good.count {
            #expect(throws: StateError.truncated) { _ = try Serial16550.State(decoding: Array(good.prefix(count))) }
        }
        #expect(throws: StateError.trailingBytes(1)) { _ = try Serial16550.State(decoding: good + [0]) }
        var other = good
        other[0] = 2
        #expect(throws: StateError.unknownVersion(2)) { _ = try Serial16550.State(decoding: other) }
        for (offset, value) in [(4, 0x10), (5, 0x02), (7, 0x20), (8, 0x01), (13, 2)] as [(Int, UInt8)] {
            other = good
            other[offset] = value
            #expect(throws: StateError.self) { _ = try Serial16550.State(decoding: other) }
        }
        // A length beyond the bytes, and one beyond what the chip holds.
        other = good
        other[14] = 4
        #expect(throws: StateError.truncated) { _ = try Serial16550.State(decoding: other) }
        other = good
        other[15] = 0xFF
        #expect(throws: StateError.self) { _ = try Serial16550.State(decoding: other) }

        var generator = SplitMix64(seed: 11)
        for _ in 0..<20_000 {
            var bytes = good
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
            }
            if let state = try? Serial16550.State(decoding: bytes) {
                let target = Machine()
                target.serial.restore(state)
                hammerBriefly(target.serial, &generator)
            }
        }
    }

    private func hammerBriefly(_ serial: Serial16550, _ generator: inout SplitMix64) {
        for _ in 0..<10 {
            serial.write(UInt64(generator.next() & 0xFF), at: generator.next() % 8, width: 1)
            _ = serial.read(at: generator.next() % 8, width: 1)
        }
    }
}
