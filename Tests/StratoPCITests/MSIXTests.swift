import StratoHost
import StratoMemory
import Testing

@testable import StratoPCI

/// A function with vectors, its table shown at a place.
private final class Bench {
    static let table: UInt64 = 0xC000_0000

    let machine: Machine
    let function: TestFunction
    let guest: Function
    let msix: MSIX

    init(vectors: Int = 4) throws {
        machine = try Machine()
        function = try TestFunction("f", vectors: vectors, messages: machine.messages, logger: machine.logger)
        try machine.host.rootBus.insert(function, device: 3)
        guest = Function(machine: machine, device: 3)
        msix = try #require(function.msix)
        guest.set32(0x14, UInt32(Bench.table))
        guest.setCommand(6)
    }

    func setEntry(_ vector: Int, address: UInt64 = 0xFEE0_0000, data: UInt32, isMasked: Bool = false) {
        let entry = Bench.table + UInt64(vector) * 16
        machine.store(address & 0xFFFF_FFFF, entry)
        machine.store(address >> 32, entry + 4)
        machine.store(UInt64(data), entry + 8)
        machine.store(isMasked ? 1 : 0, entry + 12)
    }

    func mask(_ vector: Int, _ isMasked: Bool) { machine.store(isMasked ? 1 : 0, Bench.table + UInt64(vector) * 16 + 12) }

    var pending: UInt64 { machine.load(Bench.table + 0x800, 8) ?? 0 }
    var sent: [UInt32] { machine.messages.take().map(\.data) }
}

@Suite("MSI-X")
struct MSIXTests {
    @Test("an unmasked vector sends what the table says, from the function's own address")
    func sending() throws {
        let bench = try Bench()
        try bench.guest.setMSIX(isEnabled: true)
        bench.setEntry(2, address: 0x1_FEE0_1000, data: 0x41)
        bench.msix.notify(2)
        bench.msix.notify(2)
        let message = InterruptMessage(address: 0x1_FEE0_1000, data: 0x41, deviceID: 3 << 3)
        #expect(bench.machine.messages.sent == [message, message])
        // A route is dear: one for both.
        #expect(bench.machine.messages.routes == 1)
        #expect(bench.machine.messages.lines == 1)
    }

    @Test("after power-on every vector is masked and the table holds zeros")
    func powerOn() throws {
        let bench = try Bench()
        for vector in 0..<4 {
            let entry = Bench.table + UInt64(vector) * 16
            #expect(bench.machine.load(entry, 8) == 0)
            #expect(bench.machine.load(entry + 8, 8) == 1 << 32)
        }
        try bench.guest.setMSIX(isEnabled: true)
        bench.msix.notify(0)
        #expect(bench.sent.isEmpty)
        #expect(bench.pending == 1)
    }

    @Test("a masked vector waits, and is sent once when it is unmasked")
    func masking() throws {
        let bench = try Bench()
        try bench.guest.setMSIX(isEnabled: true)
        bench.setEntry(0, data: 1)
        bench.setEntry(1, data: 2)
        bench.mask(0, true)
        for _ in 0..<3 { bench.msix.notify(0) }
        bench.msix.notify(1)
        #expect(bench.sent == [2])
        #expect(bench.pending == 1)
        bench.mask(0, false)
        #expect(bench.sent == [1])
        #expect(bench.pending == 0)
        bench.mask(0, true)
        bench.mask(0, false)
        #expect(bench.sent.isEmpty)
        #expect(bench.machine.messages.routes == 2)
    }

    @Test("a vector that was pointed elsewhere while it was masked goes there")
    func retarget() throws {
        let bench = try Bench()
        try bench.guest.setMSIX(isEnabled: true)
        bench.setEntry(0, data: 1)
        bench.mask(0, true)
        bench.msix.notify(0)
        bench.setEntry(0, data: 7)
        #expect(bench.sent == [7])
        // And pointing it elsewhere while it is unmasked works too.
        bench.machine.store(9, Bench.table + 8)
        bench.msix.notify(0)
        #expect(bench.sent == [9])
    }

    @Test("the function's mask holds all vectors back, and bus mastering as well")
    func functionMask() throws {
        let bench = try Bench()
        for vector in 0..<4 { bench.setEntry(vector, data: UInt32(vector), isMasked: vector == 3) }
        try bench.guest.setMSIX(isEnabled: true, isMasked: true)
        for vector in 0..<4 { bench.msix.notify(vector) }
        #expect(bench.sent.isEmpty)
        #expect(bench.pending == 0xF)
        try bench.guest.setMSIX(isEnabled: true)
        #expect(bench.sent == [0, 1, 2])
        #expect(bench.pending == 8)
        bench.guest.setCommand(2)
        bench.msix.notify(1)
        #expect(bench.sent.isEmpty)
        #expect(bench.pending == 0xA)
        bench.mask(3, false)
        #expect(bench.sent.isEmpty)
        bench.guest.setCommand(6)
        #expect(bench.sent == [1, 3])
        #expect(bench.pending == 0)
    }

    @Test("while MSI-X is disabled nothing is sent and nothing kept, and what the host gave goes back")
    func disabled() throws {
        let bench = try Bench()
        bench.setEntry(0, data: 1)
        bench.msix.notify(0)
        #expect(bench.pending == 0)
        #expect(bench.machine.messages.lines == 0)
        try bench.guest.setMSIX(isEnabled: true)
        #expect(bench.msix.isEnabled)
        bench.msix.notify(0)
        #expect(bench.sent == [1])
        #expect(bench.machine.messages.lines == 1)
        bench.mask(0, true)
        bench.msix.notify(0)
        try bench.guest.setMSIX(isEnabled: false)
        #expect(bench.pending == 0)
        #expect(bench.machine.messages.lines == 0)
        // The table is as it was.
        try bench.guest.setMSIX(isEnabled: true)
        bench.mask(0, false)
        bench.msix.notify(0)
        #expect(bench.sent == [1])
        bench.function.reset()
        #expect(!bench.msix.isEnabled)
        #expect(bench.machine.messages.lines == 0)
    }

    @Test("a thousand resets leave no vector behind")
    func resets() throws {
        let bench = try Bench()
        for round in 0..<1000 {
            bench.guest.set32(0x14, UInt32(Bench.table))
            bench.guest.setCommand(6)
            try bench.guest.setMSIX(isEnabled: true)
            for vector in 0..<4 { bench.setEntry(vector, data: UInt32(round)) }
            bench.msix.notify(round % 4)
            #expect(bench.machine.messages.lines == 4)
            bench.machine.host.reset()
            #expect(bench.machine.messages.lines == 0)
        }
        #expect(bench.machine.messages.sent.count == 1000)
    }

    @Test("what the host refuses sends nothing, and above all nothing to the old place; it is tried again")
    func refusals() throws {
        let bench = try Bench()
        try bench.guest.setMSIX(isEnabled: true)
        bench.machine.messages.refuse(lines: true)
        bench.setEntry(0, data: 1)
        bench.msix.notify(0)
        #expect(bench.sent.isEmpty)
        #expect(bench.machine.log.all.contains { $0.contains("pci f") && $0.contains("vector 0") })
        bench.machine.messages.refuse()
        bench.msix.notify(0)
        #expect(bench.sent == [1])
        bench.machine.messages.refuse(routes: true)
        bench.setEntry(0, data: 2)
        bench.msix.notify(0)
        #expect(bench.sent.isEmpty)
        bench.machine.messages.refuse()
        bench.msix.notify(0)
        #expect(bench.sent == [2])
        for _ in 0..<10000 { bench.setEntry(0, data: 3) }
        #expect(bench.machine.log.all.count < 30)
    }

    @Test("the table takes every width and alignment; reserved bits and the pending bits keep their value")
    func widths() throws {
        let bench = try Bench(vectors: 2)
        var model = [UInt8](repeating: 0, count: 32)
        (model[12], model[28]) = (1, 1)
        var random = SeededGenerator(5)
        for _ in 0..<5000 {
            let width = Int.random(in: 1...8, using: &random)
            let offset = Int.random(in: 0...40, using: &random)
            let value = UInt64.random(in: 0...UInt64.max, using: &random)
            bench.machine.store(value, Bench.table + UInt64(offset), width)
            for index in 0..<width where offset + index < 32 {
                let mask: UInt8
                switch (offset + index) % 16 {
                case 0: mask = 0xFC
                case 12: mask = 1
                case 13...15: mask = 0
                default: mask = 0xFF
                }
                model[offset + index] = UInt8(truncatingIfNeeded: value >> UInt64(8 * index)) & mask
            }
            let expected = (0..<8).reduce(UInt64(0)) { value, index in
                let byte: UInt8 = index + offset < 32 ? model[index + offset] : 0
                return value | UInt64(byte) << UInt64(8 * index)
            }
            #expect(bench.machine.load(Bench.table + UInt64(offset), 8) == expected)
        }
        bench.machine.store(.max, Bench.table + 0x800, 8)
        #expect(bench.pending == 0)
    }

    @Test("vectors that don't exist are ignored; the largest table works to its end", arguments: [1, 64, 65, 128, 129, 2048])
    func sizes(_ count: Int) throws {
        let bench = try Bench(vectors: count)
        #expect(bench.msix.size.nonzeroBitCount == 1)
        #expect(UInt64(bench.msix.pendingOffset) >= UInt64(count) * 16)
        #expect(bench.msix.size >= UInt64(bench.msix.pendingOffset + (count + 7) / 8))
        try bench.guest.setMSIX(isEnabled: true)
        for vector in [-1, count, count + 1, Int.max, Int.min] { bench.msix.notify(vector) }
        bench.msix.notify(count - 1)
        let pending = Bench.table + UInt64(bench.msix.pendingOffset)
        for word in 0..<((count + 63) / 64) {
            let expected: UInt64 = word == (count - 1) / 64 ? 1 << UInt64((count - 1) % 64) : 0
            #expect(bench.machine.load(pending + UInt64(word * 8), 8) == expected)
        }
        bench.setEntry(count - 1, data: 5)
        #expect(bench.sent == [5])
        #expect(bench.machine.load(Bench.table + bench.msix.size - 8, 8) == 0)
    }

    @Test("a table of no vectors or too many is refused", arguments: [0, -1, 2049])
    func badCount(_ count: Int) {
        #expect(throws: PCIError.self) {
            try MSIX("f", vectorCount: count, controller: TestMessages(), logger: .silent)
        }
    }

    @Test("a saved table goes on with its pending bits; damaged bytes are refused")
    func state() throws {
        let bench = try Bench()
        try bench.guest.setMSIX(isEnabled: true)
        bench.setEntry(1, data: 11)
        bench.mask(1, true)
        bench.msix.notify(1)
        let bytes = bench.function.saveState()
        let other = try Bench()
        try other.function.restoreState(bytes)
        #expect(other.msix.isEnabled)
        #expect(other.pending == 2)
        other.mask(1, false)
        #expect(other.sent == [11])
        for length in 0..<bytes.count {
            #expect(throws: PCIError.self) { try other.function.restoreState(Array(bytes.prefix(length))) }
        }
        #expect(throws: PCIError.self) { try other.function.restoreState(bytes + [0]) }
        #expect(throws: PCIError.self) { try Bench(vectors: 5).function.restoreState(bytes) }
        #expect(throws: PCIError.self) { try TestFunction("g").restoreState(bytes) }
        #expect(!other.msix.isEnabled)
    }

    @Test("changed states either come to an error or to a function that works", arguments: 0..<4)
    func fuzzState(seed: Int) throws {
        var random = SeededGenerator(UInt64(seed))
        let bench = try Bench()
        try bench.guest.setMSIX(isEnabled: true)
        bench.setEntry(0, data: 1)
        let bytes = bench.function.saveState()
        var accepted = 0
        for _ in 0..<500 {
            var changed = bytes
            for _ in 0..<Int.random(in: 1...8, using: &random) {
                changed[Int.random(in: 0..<changed.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            if (try? bench.function.restoreState(changed)) != nil { accepted += 1 }
            for vector in 0..<4 { bench.msix.notify(vector) }
            #expect(bench.guest.get32(0) == 0xBEEF_DEAD)
        }
        #expect(accepted > 0)
        bench.machine.host.reset()
        #expect(bench.machine.messages.lines == 0)
    }

    @Test("threads that send while the guest masks lose no interrupt")
    func threads() async throws {
        let bench = try Bench(vectors: 1)
        try bench.guest.setMSIX(isEnabled: true)
        bench.setEntry(0, data: 1)
        let msix = bench.msix
        await withTaskGroup(of: Void.self) { group in
            group.addTask { for _ in 0..<5000 { msix.notify(0) } }
            group.addTask {
                for round in 0..<5000 { msix.write(round % 2 == 0 ? 1 : 0, at: 12, width: 4) }
            }
        }
        #expect(bench.pending == 0)
        _ = bench.sent
        msix.write(1, at: 12, width: 4)
        msix.notify(0)
        msix.write(0, at: 12, width: 4)
        #expect(bench.sent == [1])
    }
}
