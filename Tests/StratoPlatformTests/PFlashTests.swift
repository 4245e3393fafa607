import Glibc
import StratoHost
import StratoMemory
import Synchronization
import Testing

@testable import StratoPlatform

/// A file that is an array, with failures to order.
private final class ArrayStorage: FlashStorage {
    struct State {
        var bytes: [UInt8]
        var failure: LinuxError?
        var writes = 0
        var synchronizations = 0
    }

    let name = "vars.fd"
    let size: UInt64
    let isReadOnly: Bool
    let state: Monitor<State>

    init(_ bytes: [UInt8], isReadOnly: Bool = false, size: UInt64? = nil) {
        self.size = size ?? UInt64(bytes.count)
        self.isReadOnly = isReadOnly
        state = Monitor(State(bytes: bytes))
    }

    var bytes: [UInt8] { state.read { $0.bytes } }
    var writes: Int { state.read { $0.writes } }
    var synchronizations: Int { state.read { $0.synchronizations } }
    var failure: LinuxError? {
        get { state.read { $0.failure } }
        set { state.update { $0.failure = newValue } }
    }

    func load(into memory: GuestMemory, at address: GuestAddress, count: Int) throws(LinuxError) {
        let (bytes, failure) = state.read { ($0.bytes, $0.failure) }
        if let failure { throw failure }
        memory.buffer(at: address, count: count)?.copy(bytes.span, to: 0)
    }

    func write(_ bytes: Span<UInt8>, at offset: UInt64) throws(LinuxError) {
        try state.update { state throws(LinuxError) in
            if let failure = state.failure { throw failure }
            #expect(!isReadOnly)
            state.writes += 1
            for index in bytes.indices { state.bytes[Int(offset) + index] = bytes[index] }
        }
    }

    func synchronize() throws(LinuxError) {
        try state.update { state throws(LinuxError) in
            if let failure = state.failure { throw failure }
            state.synchronizations += 1
        }
    }
}

/// Remembers each switch.
private final class RecordingMapping: FlashMapping {
    private let state = Mutex((switches: [Bool](), failure: LinuxError?.none))

    var switches: [Bool] { state.withLock { $0.switches } }
    var failure: LinuxError? {
        get { state.withLock { $0.failure } }
        set { state.withLock { $0.failure = newValue } }
    }

    func setReadable(_ isReadable: Bool) throws(LinuxError) {
        try state.withLock { state throws(LinuxError) in
            if let failure = state.failure { throw failure }
            state.switches.append(isReadable)
        }
    }
}

@Suite struct PFlashTests {
    private static let base = GuestAddress(0xFFC0_0000)

    private struct Bank {
        let flash: PFlash
        let storage: ArrayStorage
        let mapping: RecordingMapping
        let log: LineCollector

        /// What the guest sees through the slot.
        var array: [UInt8] { (try? flash.contents.read(Int(flash.range.size), at: flash.range.base)) ?? [] }
    }

    private func makeBank(
        _ bytes: [UInt8], geometry: FlashGeometry = .pc, isReadOnly: Bool = false, unit: FlashUnit = .variables,
        loop: EventLoop? = nil
    ) throws -> Bank {
        let storage = ArrayStorage(bytes, isReadOnly: isReadOnly)
        return try makeBank(storage, geometry: geometry, unit: unit, loop: loop)
    }

    private func makeBank(
        _ storage: ArrayStorage, geometry: FlashGeometry = .pc, unit: FlashUnit = .variables, loop: EventLoop? = nil
    ) throws -> Bank {
        let mapping = RecordingMapping()
        let log = LineCollector()
        let range = try #require(GuestRange(base: PFlashTests.base, size: storage.size))
        let flash = try PFlash(
            unit: unit, geometry: geometry, contents: GuestMemory([range]), storage: storage, mapping: mapping, loop: loop,
            logger: log.logger)
        return Bank(flash: flash, storage: storage, mapping: mapping, log: log)
    }

    /// Bytes none of which OVMF takes for a status.
    private static func pattern(_ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 8) | 1 }
    }

    // MARK: Making

    @Test(
        "Images that can't be flash are refused with the file's name and the reason",
        arguments: [
            (FlashUnit.variables, 0, false, "is empty"), (.variables, 4095, false, "multiple of 4 KiB"),
            (.variables, 64 << 20 | 4096, false, "the limit is"), (.variables, 8192, true, "read-only"),
            (.code, 128 << 10, true, "Is it the variables file?"), (.code, 4 << 10, true, "larger than 128 KiB"),
        ])
    func refusedImages(unit: FlashUnit, size: Int, isReadOnly: Bool, reason: String) {
        let storage = ArrayStorage([], isReadOnly: isReadOnly, size: UInt64(size))
        let error = #expect(throws: FlashError.self) { try unit.check(storage, geometry: .pc) }
        #expect(error?.description.contains("vars.fd") == true)
        #expect(error?.description.contains(reason) == true, "\(String(describing: error))")
    }

    @Test("Debian's OVMF sizes and ARM's padded images pass; an unpadded one on ARM does not")
    func acceptedImages() throws {
        for (code, variables) in [(0x1E0000, 0x20000), (0x37C000, 0x84000)] {
            try FlashUnit.code.check(ArrayStorage([], isReadOnly: true, size: UInt64(code)), geometry: .pc)
            try FlashUnit.variables.check(ArrayStorage([], size: UInt64(variables)), geometry: .pc)
        }
        try FlashUnit.code.check(ArrayStorage([], isReadOnly: true, size: 64 << 20), geometry: .virt)
        let unpadded = ArrayStorage([], isReadOnly: true, size: 2 << 20 | 4096)
        let error = #expect(throws: FlashError.self) { try FlashUnit.code.check(unpadded, geometry: .virt) }
        #expect(error?.description.contains("pad the image") == true)
    }

    @Test("A file that can't be read, and a bank of another size, are errors that name the file")
    func failuresWhileMaking() throws {
        let storage = ArrayStorage([UInt8](repeating: 0, count: 8192))
        storage.failure = LinuxError(code: EIO, operation: "read")
        let error = #expect(throws: FlashError.self) { try makeBank(storage) }
        #expect(error?.description.contains("vars.fd") == true)
        storage.failure = nil
        let range = try #require(GuestRange(base: PFlashTests.base, size: 4096))
        #expect(throws: FlashError.self) {
            try PFlash(
                unit: .variables, geometry: .pc, contents: GuestMemory([range]), storage: storage, mapping: RecordingMapping(),
                loop: nil)
        }
        let mapping = RecordingMapping()
        mapping.failure = LinuxError(code: ENOMEM, operation: "map")
        #expect(throws: FlashError.self) {
            try PFlash(
                unit: .variables, geometry: .pc, contents: GuestMemory([range]), storage: nil, mapping: mapping, loop: nil)
        }
    }

    @Test("A bank without a file begins erased and keeps what is programmed for as long as it lives")
    func volatileBank() throws {
        let range = try #require(GuestRange(base: PFlashTests.base, size: 8192))
        let flash = try PFlash(
            unit: .variables, geometry: .pc, contents: GuestMemory([range]), storage: nil, mapping: RecordingMapping(), loop: nil)
        #expect(flash.read32(4) == .max)
        flash.write8(0x10, 4)
        flash.write8(0x5A, 4)
        flash.write8(0xFF, 4)
        #expect(flash.read32(4) == 0xFFFF_FF5A)
        try flash.flush()
    }

    // MARK: As OVMF does it

    @Test("OVMF's probe finds flash: the array, after a clear and a status command zero, then the array again")
    func probe() throws {
        let bank = try makeBank(PFlashTests.pattern(8192))
        let original = bank.flash.read8(0)
        #expect(![0x50, 0x70, 0x00].contains(original))
        bank.flash.write8(0x50, 0)
        #expect(bank.flash.read8(0) == original)
        bank.flash.write8(0x70, 0)
        #expect(bank.flash.read8(0) == 0)
        bank.flash.write8(0xFF, 0)
        #expect(bank.flash.read8(0) == original)
        #expect(bank.mapping.switches == [true, false, true])
    }

    @Test("Erase and byte programming as OVMF does them are in memory and file at once, with one switch of the mapping")
    func programBytes() throws {
        let bank = try makeBank(PFlashTests.pattern(12288))
        let before = bank.array
        bank.flash.write8(0x20, 4096)
        bank.flash.write8(0xD0, 4096)
        let text = Array("efibootmgr".utf8)
        for (index, byte) in text.enumerated() {
            bank.flash.write8(0x10, 4100 + UInt64(index))
            bank.flash.write8(byte, 4100 + UInt64(index))
            #expect(bank.storage.bytes[4100 + index] == byte)
        }
        bank.flash.write8(0xFF, 4100 + UInt64(text.count) - 1)
        var expected = before
        for index in 4096..<8192 { expected[index] = 0xFF }
        expected.replaceSubrange(4100..<4100 + text.count, with: text)
        #expect(bank.array == expected)
        #expect(bank.storage.bytes == expected)
        #expect(bank.mapping.switches == [true, false, true])
        #expect(bank.flash.read8(4100) == text[0])
    }

    @Test("What was programmed is there for the next machine, though the last was killed before it flushed")
    func survivesKill() throws {
        let storage = ArrayStorage([UInt8](repeating: 0xFF, count: 4096))
        let helper = try EventLoop(name: "never run")
        do {
            let bank = try makeBank(storage, loop: helper)
            bank.flash.write8(0x40, 9)
            bank.flash.write8(0x42, 9)
        }
        #expect(storage.synchronizations == 0)
        #expect(try makeBank(storage).flash.read8(9) == 0x42)
    }

    @Test("Programming only clears bits, at every width and alignment")
    func programmingClearsBits() throws {
        var generator = SplitMix64(seed: 3)
        var expected = PFlashTests.pattern(4096)
        let bank = try makeBank(expected)
        for width in 1...8 {
            for offset in 64..<80 {
                let value = generator.next()
                bank.flash.write8(0x40, UInt64(offset))
                bank.flash.write(value, at: UInt64(offset), width: width)
                for index in 0..<width {
                    expected[offset + index] &= UInt8(truncatingIfNeeded: value >> UInt64(8 * index))
                }
                #expect(bank.flash.read8(0) == 0x80)
            }
        }
        bank.flash.write8(0xFF, 0)
        #expect(bank.array == expected)
        #expect(bank.storage.bytes == expected)
        for width in 1...8 {
            for offset in 0..<16 {
                let value = (0..<width).reduce(UInt64(0)) { $0 | UInt64(expected[offset + $1]) << UInt64(8 * $1) }
                #expect(bank.flash.read(at: UInt64(offset), width: width) == value)
            }
        }
    }

    @Test("An access that reaches past the end changes nothing")
    func pastTheEnd() throws {
        let bank = try makeBank(PFlashTests.pattern(4096))
        let before = bank.array
        bank.flash.write8(0x40, 0)
        bank.flash.write(0, at: 4093, width: 4)
        bank.flash.write(0, at: .max, width: 8)
        bank.flash.write8(0xFF, 0)
        #expect(bank.array == before)
        #expect(bank.flash.read(at: 4092, width: 8) >> 32 == 0)
        #expect(bank.flash.read(at: .max, width: 8) & 0xFF == 0)
    }

    // MARK: As drivers for two chips do it

    @Test("Status, identifier and query are repeated in each chip's lane")
    func lanes() throws {
        let pc = try makeBank([UInt8](repeating: 0xFF, count: 8192)).flash
        let virt = try makeBank([UInt8](repeating: 0xFF, count: 1 << 20), geometry: .virt).flash
        for flash in [pc, virt] { flash.write32(0x0070_0070, 0) }
        #expect(pc.read32(0) == 0x8080_8080)
        #expect(pc.read16(4) == 0x8080)
        #expect(virt.read32(0) == 0x0080_0080)
        #expect(virt.read16(6) == 0x0080)
        #expect(virt.read8(1) == 0)
        #expect(virt.read(at: 0, width: 8) == 0x0080_0080_0080_0080)
        for flash in [pc, virt] { flash.write32(0x0090_0090, 0) }
        #expect(pc.read32(0) == 0x8989_8989)
        #expect(virt.read32(0) == 0x0089_0089)
        #expect(virt.read32(4) == 0x0018_0018)
        #expect(virt.read32(256 << 10 | 8) == 0)
        for flash in [pc, virt] { flash.write32(0x0098_0098, 0x55 * 4) }
        #expect((0x10...0x12).map { virt.read32($0 * 4) } == [0x0051_0051, 0x0052_0052, 0x0059_0059])
        #expect((0x10...0x12).map { pc.read32($0 * 4) } == [0x5151_5151, 0x5252_5252, 0x5959_5959])
        #expect(virt.read32(0) == 0 && virt.read32(0x200) == 0)
    }

    @Test("The query table describes the bank: size, blocks, buffer and command set", arguments: [FlashGeometry.pc, .virt])
    func query(geometry: FlashGeometry) throws {
        let size = 3 << 20
        let flash = try makeBank([UInt8](repeating: 0xFF, count: size), geometry: geometry).flash
        flash.write8(0x98, 0)
        func word(_ index: UInt64) -> Int { Int(flash.read8(index * 4)) }
        #expect(word(0x13) == 1 && word(0x14) == 0)
        let chips = geometry.bankWidth / geometry.deviceWidth
        #expect(1 << word(0x27) >= size / chips && 1 << (word(0x27) - 1) < size / chips)
        #expect(word(0x2C) == 1)
        let blocks = (word(0x2D) | word(0x2E) << 8) + 1
        let blockSize = (word(0x2F) | word(0x30) << 8) * 256
        #expect(blocks * blockSize * chips == size)
        #expect(blockSize * chips == Int(geometry.sectorSize))
        let table = UInt64(word(0x15) | word(0x16) << 8)
        #expect((0..<3).map { word(table + $0) } == [0x50, 0x52, 0x49])
        #expect(1 << (word(0x2A) | word(0x2B) << 8) == 256)
        // The largest buffer that the table offers is taken.
        flash.write32(0x00E8_00E8, 0)
        let words = UInt32(256 / geometry.deviceWidth - 1)
        flash.write32(words | words << 16, 0)
        for offset in stride(from: UInt64(0), to: UInt64(256 * chips), by: 4) { flash.write32(0x1234_5678, offset) }
        flash.write32(0x00D0_00D0, 0)
        #expect(flash.read8(0) == 0x80)
        flash.write8(0xFF, 0)
        #expect(flash.read32(UInt64(256 * chips) - 4) == 0x1234_5678)
        #expect(flash.read32(UInt64(256 * chips)) == .max)
    }

    @Test("ARM firmware's sequence of unlocking, erasing and buffered programming works, polled as it polls")
    func bufferedProgram() throws {
        let bank = try makeBank(PFlashTests.pattern(1 << 20), geometry: .virt)
        let block: UInt64 = 256 << 10
        bank.flash.write32(0x0050_0050, block)
        bank.flash.write32(0x0060_0060, block)
        bank.flash.write32(0x00D0_00D0, block)
        #expect(bank.flash.read32(block) == 0x0080_0080)
        bank.flash.write32(0x0020_0020, block)
        bank.flash.write32(0x00D0_00D0, block)
        #expect(bank.flash.read32(block) == 0x0080_0080)
        bank.flash.write32(0x0050_0050, block)
        let start = block + 128
        bank.flash.write32(0x00E8_00E8, start)
        #expect(bank.flash.read32(start) == 0x0080_0080)
        bank.flash.write32(0x001F_001F, start)
        let writes = bank.storage.writes
        for word in 0..<UInt32(32) { bank.flash.write32(0xAB00_0000 | word, start + UInt64(word) * 4) }
        #expect(bank.storage.writes == writes)
        bank.flash.write32(0x00D0_00D0, start)
        #expect(bank.storage.writes == writes + 1)
        #expect(bank.flash.read32(start) == 0x0080_0080)
        bank.flash.write32(0x00FF_00FF, start)
        for word in 0..<UInt32(32) { #expect(bank.flash.read32(start + UInt64(word) * 4) == 0xAB00_0000 | word) }
        #expect(bank.flash.read32(start - 4) == .max && bank.flash.read32(start + 128) == .max)
        #expect(bank.array == bank.storage.bytes)
    }

    @Test(
        "A wrong second command, and a buffer that leaves its block or is too large, set both error bits and change nothing",
        arguments: [
            [(0x20, 0), (0x10, 0)], [(0x60, 0), (0x01, 0)], [(0x60, 0), (0x2F, 0)],
            // Two words of four bytes, then something else than a confirmation.
            [(0xE8, 0), (1, 0), (0, 0), (0, 4), (0x40, 0)],
            // The second word is in another block.
            [(0xE8, 4096), (1, 4096), (0, 8188), (0, 8192)],
            // Before the first word, and beyond what was announced.
            [(0xE8, 0), (1, 0), (0, 64), (0, 60)], [(0xE8, 0), (1, 0), (0, 64), (0, 72)],
        ])
    func brokenSequences(steps: [(Int, Int)]) throws {
        let bank = try makeBank(PFlashTests.pattern(16384))
        let before = bank.array
        for (value, offset) in steps { bank.flash.write32(UInt32(value), UInt64(offset)) }
        #expect(bank.flash.read8(0) == 0xB0)
        bank.flash.write8(0x50, 0)
        #expect(bank.flash.read8(0) == 0)
        bank.flash.write8(0xFF, 0)
        #expect(bank.array == before && bank.storage.bytes == before)
    }

    @Test("A buffer larger than the chips' is refused")
    func oversizedBuffer() throws {
        let flash = try makeBank(PFlashTests.pattern(1 << 20), geometry: .virt).flash
        flash.write32(0x00E8_00E8, 0)
        flash.write32(0xFFFF_FFFF, 0)
        #expect(flash.read8(0) == 0xB0)
    }

    @Test("The array command ends every sequence that waits for a confirmation", arguments: [0x20, 0x60])
    func arrayCommandAborts(command: UInt8) throws {
        let bank = try makeBank(PFlashTests.pattern(8192))
        bank.flash.write8(command, 0)
        bank.flash.write8(0xFF, 0)
        #expect(bank.flash.read8(0) == bank.array[0])
        #expect(bank.mapping.switches == [true, false, true])
    }

    // MARK: Failures

    @Test("Read-only firmware answers programming and erasing with an error and a locked block, and its file is left alone")
    func readOnly() throws {
        let bank = try makeBank(PFlashTests.pattern(256 << 10), isReadOnly: true, unit: .code)
        let before = bank.array
        bank.flash.write8(0x40, 0)
        bank.flash.write8(0x00, 0)
        #expect(bank.flash.read8(0) == 0x92)
        bank.flash.write8(0x50, 0)
        bank.flash.write8(0x20, 0)
        bank.flash.write8(0xD0, 0)
        #expect(bank.flash.read8(0) == 0xA2)
        bank.flash.write8(0x50, 0)
        bank.flash.write8(0xE8, 0)
        bank.flash.write8(0, 0)
        bank.flash.write32(0, 0)
        bank.flash.write8(0xD0, 0)
        #expect(bank.flash.read8(0) == 0x92)
        bank.flash.write8(0x90, 0)
        #expect(bank.flash.read8(8) == 1)
        try bank.flash.writeBackContents()
        #expect(bank.array == before && bank.storage.writes == 0)
    }

    @Test("A full disk is told to the guest by the error bit and to the log; memory stays what the file holds")
    func storageFailure() throws {
        let bank = try makeBank(PFlashTests.pattern(8192))
        let before = bank.array
        bank.storage.failure = LinuxError(code: ENOSPC, operation: "write vars.fd")
        bank.flash.write8(0x40, 0)
        bank.flash.write8(0, 0)
        #expect(bank.flash.read8(0) == 0x90)
        bank.flash.write8(0x50, 0)
        bank.flash.write8(0x20, 0)
        bank.flash.write8(0xD0, 0)
        #expect(bank.flash.read8(0) == 0xA0)
        #expect(bank.array == before)
        #expect(bank.log.lines.contains { $0.contains("vars.fd") && $0.contains("No space left") })
        bank.storage.failure = nil
        bank.flash.write8(0x40, 0)
        bank.flash.write8(0, 0)
        #expect(bank.array[0] == 0)
    }

    @Test("Where the slot can't be switched the guest reads through the device, and each command tries again")
    func mappingFailure() throws {
        let bank = try makeBank(PFlashTests.pattern(8192))
        bank.flash.write8(0x70, 0)
        bank.mapping.failure = LinuxError(code: ENOMEM, operation: "map")
        bank.flash.write8(0xFF, 0)
        #expect(bank.flash.read8(5) == bank.array[5])
        #expect(bank.log.lines.count == 1)
        bank.mapping.failure = nil
        bank.flash.write8(0xFF, 0)
        #expect(bank.mapping.switches == [true, false, true])
    }

    // MARK: Flushing

    @Test("Many changes are flushed by the event loop, once; what comes later is flushed again")
    func flushes() throws {
        let thread = try EventLoopThread(name: "flash")
        defer { thread.stop() }
        let bank = try makeBank([UInt8](repeating: 0xFF, count: 4096), loop: thread.loop)
        for round in 1...2 {
            for offset in 0..<UInt64(64) {
                bank.flash.write8(0x40, offset)
                bank.flash.write8(UInt8(0xF0 >> round), offset)
            }
            bank.storage.state.wait(until: { $0.synchronizations >= round ? () : nil })
        }
        #expect(bank.storage.synchronizations < 2 * 64)
        let count = bank.storage.synchronizations
        try bank.flash.flush()
        #expect(bank.storage.synchronizations == count)
    }

    @Test("A flush that fails is an error, and the next one tries again")
    func failedFlush() throws {
        let bank = try makeBank([UInt8](repeating: 0xFF, count: 4096), loop: EventLoop(name: "never run"))
        bank.flash.write8(0x40, 0)
        bank.flash.write8(0, 0)
        bank.storage.failure = LinuxError(code: EIO, operation: "fdatasync vars.fd")
        #expect(throws: LinuxError.self) { try bank.flash.flush() }
        bank.storage.failure = nil
        try bank.flash.flush()
        try bank.flash.flush()
        #expect(bank.storage.synchronizations == 1)
    }

    @Test("Contents that came with a saved machine are written to the file")
    func writeBack() throws {
        let bank = try makeBank([UInt8](repeating: 0xFF, count: 12288))
        let bytes = PFlashTests.pattern(12288)
        try bank.flash.contents.write(bytes, at: PFlashTests.base)
        try bank.flash.writeBackContents()
        #expect(bank.storage.bytes == bytes)
        #expect(bank.storage.synchronizations == 1)
    }

    // MARK: State

    @Test("A state saved in the middle of any sequence goes on in another bank")
    func stateRoundTrip() throws {
        let sequence: [(UInt32, UInt64)] = [
            (0xE8, 4096), (1, 4096), (0x1122_3344, 4200), (0x5566_7788, 4204), (0xD0, 4096), (0x40, 8), (0x99, 8), (0x20, 0),
            (0xD0, 0), (0xFF, 0),
        ]
        for cut in 0...sequence.count {
            let whole = try makeBank(PFlashTests.pattern(8192))
            for (value, offset) in sequence { whole.flash.write32(value, offset) }
            let first = try makeBank(PFlashTests.pattern(8192))
            for (value, offset) in sequence.prefix(cut) { first.flash.write32(value, offset) }
            let second = try makeBank(first.storage)
            try second.flash.restore(PFlash.State(decoding: first.flash.save().encoded()))
            #expect(second.flash.save() == first.flash.save())
            #expect(second.flash.read32(0) == first.flash.read32(0))
            for (value, offset) in sequence.dropFirst(cut) { second.flash.write32(value, offset) }
            #expect(second.array == whole.array)
            #expect(second.mapping.switches.last == true)
        }
    }

    @Test("States that no bank can have are refused, and none makes it trap")
    func hostileStates() throws {
        let bank = try makeBank(PFlashTests.pattern(8192))
        bank.flash.write32(0xE8, 4096)
        bank.flash.write32(7, 4096)
        bank.flash.write32(1, 4096)
        let good = bank.flash.save().encoded()
        for count in 0..<good.count {
            #expect(throws: StateError.self) { try PFlash.State(decoding: Array(good.prefix(count))) }
        }
        #expect(throws: StateError.self) { try PFlash.State(decoding: good + [0]) }
        var generator = SplitMix64(seed: 11)
        for _ in 0..<5000 {
            var bytes = good
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: .min ... .max, using: &generator)
            }
            guard let state = try? PFlash.State(decoding: bytes), (try? bank.flash.restore(state)) != nil else { continue }
            for _ in 0..<8 {
                bank.flash.write(generator.next(), at: UInt64.random(in: 0..<8192, using: &generator), width: 4)
            }
            _ = bank.flash.read(at: 0, width: 8)
        }
        #expect(bank.array == bank.storage.bytes)
    }

    @Test("A reset shows the array again, and what was to be programmed is forgotten")
    func reset() throws {
        let bank = try makeBank(PFlashTests.pattern(8192))
        bank.flash.write8(0x40, 0)
        bank.flash.reset()
        #expect(bank.mapping.switches == [true, false, true])
        bank.flash.write8(0x70, 0)
        #expect(bank.flash.read8(0) == 0x80)
        #expect(bank.array == PFlashTests.pattern(8192))
    }

    @Test(
        "No access of any width at any offset traps, and memory and file stay the same",
        arguments: [FlashGeometry.pc, .virt], [UInt64(1), 2])
    func fuzz(geometry: FlashGeometry, seed: UInt64) throws {
        let bank = try makeBank(PFlashTests.pattern(Int(geometry.sectorSize) * 2), geometry: geometry)
        hammer(bank.flash, size: bank.storage.size, seed: seed)
        // Commands that mean something, which random bytes seldom are.
        var generator = SplitMix64(seed: seed)
        let commands: [UInt64] = [0x10, 0x20, 0x40, 0x50, 0x60, 0x70, 0x90, 0x98, 0xB0, 0xD0, 0xE8, 0xFF, 0, 1, 3, 0x1F]
        for _ in 0..<20_000 {
            let command = commands[Int.random(in: 0..<commands.count, using: &generator)]
            let offset = UInt64.random(in: 0..<bank.storage.size, using: &generator)
            bank.flash.write(command, at: offset, width: Int.random(in: 1...8, using: &generator))
            _ = bank.flash.read(at: offset, width: Int.random(in: 1...8, using: &generator))
        }
        bank.flash.reset()
        #expect(bank.array == bank.storage.bytes)
        let switches = bank.mapping.switches
        #expect(zip(switches, switches.dropFirst()).allSatisfy { $0 != $1 } && switches.last == true)
    }
}
