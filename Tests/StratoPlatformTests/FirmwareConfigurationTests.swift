import Foundation
import StratoHost
import StratoMemory
import Synchronization
import Testing

@testable import StratoPlatform

@Suite struct FirmwareConfigurationTests {
    private static let memorySize: UInt64 = 4 << 20
    private static let descriptor: UInt64 = 0x1000
    private static let target: UInt64 = 0x10000

    /// A device with guest memory, driven as firmware does.
    private struct Machine {
        let memory: GuestMemory
        let configuration: FirmwareConfiguration
        let ports: FirmwareConfigurationPorts
        let registers: FirmwareConfigurationRegisters
        let log = LineCollector()

        init() throws {
            let range = try #require(GuestRange(base: GuestAddress(0), size: memorySize))
            memory = try GuestMemory([range])
            configuration = FirmwareConfiguration(memory: memory, logger: log.logger)
            ports = FirmwareConfigurationPorts(configuration)
            registers = FirmwareConfigurationRegisters(configuration)
        }

        func bytes(_ selector: UInt16, count: Int) -> [UInt8] {
            ports.write16(selector, 0)
            return (0..<count).map { _ in ports.read8(1) }
        }

        /// What the control word holds after a transfer.
        @discardableResult
        func transfer(
            _ control: UInt32, length: UInt32, address: UInt64 = target, at place: UInt64 = descriptor
        ) throws -> UInt32 {
            try memory.store(control.bigEndian, at: GuestAddress(place))
            try memory.store(length.bigEndian, at: GuestAddress(place + 4))
            try memory.store(address.bigEndian, at: GuestAddress(place + 8))
            ports.write32(UInt32(truncatingIfNeeded: place >> 32).byteSwapped, 4)
            ports.write32(UInt32(truncatingIfNeeded: place).byteSwapped, 8)
            return UInt32(bigEndian: try memory.load(UInt32.self, at: GuestAddress(place)))
        }

        func read(_ selector: UInt16, count: Int) throws -> [UInt8] {
            #expect(try transfer(UInt32(selector) << 16 | 0x0A, length: UInt32(count)) == 0)
            return try memory.read(count, at: GuestAddress(target))
        }

        /// Name, size and selector as the directory tells them.
        func directory() throws -> [String: (size: Int, key: UInt16)] {
            let count = try read(0x19, count: 4).reduce(0) { $0 << 8 | Int($1) }
            let bytes = try read(0x19, count: 4 + 64 * count)
            var files: [String: (Int, UInt16)] = [:]
            for index in 0..<count {
                let entry = Array(bytes[(4 + 64 * index)..<(68 + 64 * index)])
                let size = entry[0..<4].reduce(0) { $0 << 8 | Int($1) }
                #expect(entry[6] == 0 && entry[7] == 0)
                let name = String(decoding: entry[8...].prefix { $0 != 0 }, as: UTF8.self)
                files[name] = (size, UInt16(entry[4]) << 8 | UInt16(entry[5]))
            }
            #expect(files.count == count)
            return files
        }
    }

    private static let hostileRequests: [(length: UInt32, address: UInt64)] = [
        (.max, 0x10000), (2, memorySize - 1), (1, memorySize), (1, .max), (.max, .max), (16, .max - 7), (2 << 20, 0x10000),
        (0x8000_0000, 0),
    ]

    // MARK: Registers

    @Test("The signature and the feature bits are what firmware looks for, by port and in memory")
    func identity() throws {
        let machine = try Machine()
        #expect(machine.bytes(0, count: 6) == Array("QEMU".utf8) + [0, 0])
        #expect(machine.bytes(1, count: 4) == [3, 0, 0, 0])
        #expect((0..<8).map { machine.ports.read8(4 + $0) } == Array("QEMU CFG".utf8))
        #expect(machine.ports.read32(4).byteSwapped == 0x5145_4D55)
        #expect(machine.registers.read(at: 16, width: 8).byteSwapped == 0x5145_4D55_2043_4647)
        machine.registers.write16(UInt16(1).byteSwapped, 8)
        #expect(machine.registers.read(at: 0, width: 8) == 3)
        machine.registers.write16(0, 8)
        #expect(machine.registers.read32(0).byteSwapped == 0x5145_4D55)
    }

    @Test("Items under fixed keys are read little-endian, zeros come after their end and from items that are not there")
    func fixedItems() throws {
        let machine = try Machine()
        try machine.configuration.set(.processorCount, number: UInt16(8))
        try machine.configuration.set(.timerInterruptOverride, number: UInt32(1))
        try machine.configuration.set(.commandLineData, Array("quiet\0".utf8))
        #expect(machine.bytes(5, count: 4) == [8, 0, 0, 0])
        #expect(machine.bytes(0x8002, count: 5) == [1, 0, 0, 0, 0])
        #expect(machine.bytes(0x15, count: 7) == Array("quiet\0\0".utf8))
        // The bit that once chose writing does not matter.
        #expect(machine.bytes(0x4015, count: 2) == Array("qu".utf8))
        for missing: UInt16 in [0x02, 0x1F, 0x20, 0x3FFF, 0x8000, 0x8019, 0xFFFF] {
            #expect(machine.bytes(missing, count: 3) == [0, 0, 0])
        }
        for own in [
            FirmwareConfiguration.Key.signature, .identifier, .fileDirectory, .init(rawValue: 0x20), .init(rawValue: 0x4005),
        ] {
            #expect(throws: FirmwareConfigurationError.self) { try machine.configuration.set(own, [1]) }
        }
    }

    @Test("Each register answers only the widths that it has")
    func widths() throws {
        let machine = try Machine()
        try machine.configuration.set(.processorCount, number: UInt16(0x1234))
        machine.ports.write16(5, 0)
        machine.ports.write8(0, 0)
        machine.ports.write32(0, 0)
        machine.ports.write8(9, 1)
        #expect(machine.ports.read8(0) == 0)
        #expect(machine.ports.read(at: 1, width: 4) == 0x34)
        #expect(machine.ports.read8(1) == 0x12)
        machine.registers.write32(0, 8)
        machine.registers.write16(0, 9)
        #expect(machine.registers.read16(8) == 0)
        // No transfer begins but with the lower half.
        try machine.memory.store(UInt32(8 | 2).bigEndian, at: GuestAddress(FirmwareConfigurationTests.descriptor))
        for (offset, width) in [(4, 1), (4, 2), (6, 4), (8, 1), (8, 2), (9, 4), (8, 8), (5, 8)] {
            machine.ports.write(0x0010_0000, at: UInt64(offset), width: width)
        }
        #expect(
            try machine.memory.load(UInt32.self, at: GuestAddress(FirmwareConfigurationTests.descriptor)) == UInt32(10).bigEndian)
        machine.registers.write(FirmwareConfigurationTests.descriptor.byteSwapped, at: 16, width: 8)
        #expect(try machine.memory.load(UInt32.self, at: GuestAddress(FirmwareConfigurationTests.descriptor)) == 0)
    }

    // MARK: Files

    @Test("The directory lists every file with its size, sorted, and its selector gives the file's bytes")
    func files() throws {
        let machine = try Machine()
        let longest = String(repeating: "n", count: 55)
        try machine.configuration.addFile("etc/e820", [1, 2, 3])
        try machine.configuration.addFile("bootorder", Array("/pci@i0cf8\0".utf8))
        try machine.configuration.addFile(longest, [])
        let files = try machine.directory()
        #expect(files["etc/e820"]?.size == 3 && files["bootorder"]?.size == 11 && files[longest]?.size == 0)
        #expect(Set(files.values.map(\.key)) == [0x20, 0x21, 0x22])
        #expect(machine.bytes(try #require(files["etc/e820"]).key, count: 4) == [1, 2, 3, 0])
        let names = stride(from: 12, to: 4 + 64 * 3, by: 64).map { start in machine.bytes(0x19, count: 196)[start] }
        #expect(names == names.sorted())
    }

    @Test(
        "Names that the directory can't hold, or that are taken, are refused",
        arguments: ["", "a b", "ä", "etc/e820", String(repeating: "n", count: 56)])
    func refusedNames(name: String) throws {
        let machine = try Machine()
        try machine.configuration.addFile("etc/e820", [])
        #expect(throws: FirmwareConfigurationError.self) { try machine.configuration.addFile(name, []) }
        #expect(throws: FirmwareConfigurationError.self) { try machine.configuration.addBuiltFiles(["x", name]) { [] } }
        #expect(throws: FirmwareConfigurationError.self) { try machine.configuration.addBuiltFiles(["x", "x"]) { [] } }
        #expect(try machine.directory().count == 1)
    }

    @Test("An item larger than the device holds is refused")
    func oversizedItems() throws {
        let machine = try Machine()
        let bytes = [UInt8](repeating: 0, count: FirmwareConfiguration.maximumItemSize + 1)
        #expect(throws: FirmwareConfigurationError.self) { try machine.configuration.addFile("big", bytes) }
        #expect(throws: FirmwareConfigurationError.self) { try machine.configuration.set(.setupData, bytes) }
    }

    @Test("Built files are built anew, all of a group, when one or the directory is selected, and never otherwise")
    func builtFiles() throws {
        let machine = try Machine()
        let builds = Counter()
        try machine.configuration.addBuiltFiles(["etc/acpi/tables", "etc/acpi/rsdp"]) {
            builds.increment()
            let number = UInt8(builds.count)
            return [[UInt8](repeating: number, count: Int(number)), [number]]
        }
        try machine.configuration.addFile("other", [7])
        #expect(builds.count == 0)
        let files = try machine.directory()
        // Twice: the number of entries, then the entries.
        #expect(builds.count == 2)
        #expect(files["etc/acpi/tables"]?.size == 2 && files["etc/acpi/rsdp"]?.size == 1)
        #expect(try machine.read(try #require(files["etc/acpi/tables"]).key, count: 3) == [3, 3, 3])
        #expect(try machine.read(try #require(files["etc/acpi/rsdp"]).key, count: 1) == [4])
        #expect(try machine.read(try #require(files["other"]).key, count: 1) == [7])
        try machine.transfer(2, length: 1)
        #expect(builds.count == 4)
    }

    @Test("A builder that leaves files out or makes them too large has them empty, and the log tells")
    func incompleteBuild() throws {
        let machine = try Machine()
        try machine.configuration.addBuiltFiles(["a", "b", "c"]) {
            [[1], [UInt8](repeating: 0, count: FirmwareConfiguration.maximumItemSize + 1)]
        }
        let files = try machine.directory()
        #expect(files["a"]?.size == 1 && files["b"]?.size == 0 && files["c"]?.size == 0)
        #expect(!machine.log.lines.isEmpty)
    }

    @Test("A builder may use the device itself")
    func builderReenters() throws {
        let machine = try Machine()
        let configuration = machine.configuration
        try configuration.addFile("plain", [5])
        try configuration.addBuiltFiles(["built"]) { [unowned configuration] in
            configuration.select(0x20)
            return [[UInt8(truncatingIfNeeded: configuration.readData(width: 1))]]
        }
        #expect(try machine.read(0x21, count: 1) == [5])
    }

    // MARK: Transfers

    @Test("A transfer selects, skips and reads, goes on where the last ended, and fills up with zeros")
    func transfers() throws {
        let machine = try Machine()
        let bytes = (0..<200).map { UInt8($0) }
        try machine.configuration.addFile("file", bytes)
        #expect(try machine.transfer(0x20_0008, length: 99) == 0)
        #expect(try machine.transfer(4, length: 10) == 0)
        #expect(try machine.transfer(2, length: 5) == 0)
        #expect(try machine.memory.read(5, at: GuestAddress(FirmwareConfigurationTests.target)) == [10, 11, 12, 13, 14])
        #expect(try machine.transfer(2, length: 200) == 0)
        let rest = try machine.memory.read(200, at: GuestAddress(FirmwareConfigurationTests.target))
        #expect(rest == Array(bytes[15...]) + [UInt8](repeating: 0, count: 15))
        // A descriptor that is itself the target ends with the result.
        #expect(try machine.transfer(0x20_000A, length: 16, address: FirmwareConfigurationTests.descriptor) == 0)
        // An item that is not there is all zeros.
        #expect(try machine.read(0x3F, count: 8) == [UInt8](repeating: 0, count: 8))
    }

    @Test(
        "Hostile lengths and addresses end with the error bit and leave memory alone",
        arguments: hostileRequests)
    func hostileTransfers(request: (length: UInt32, address: UInt64)) throws {
        let (length, address) = request
        let machine = try Machine()
        try machine.configuration.addFile("file", [1, 2, 3])
        try machine.configuration.addWritableFile("sink", [0, 0]) { _ in Issue.record("nothing was written") }
        try machine.memory.write([9, 9, 9, 9], at: GuestAddress(FirmwareConfigurationTests.target))
        #expect(try machine.transfer(0x20_000A, length: length, address: address) == 1)
        #expect(try machine.transfer(0x21_0018, length: length, address: address) == 1)
        #expect(try machine.memory.read(4, at: GuestAddress(FirmwareConfigurationTests.target)) == [9, 9, 9, 9])
        // Skipping as far as that is no work, and what follows are zeros.
        for _ in 0..<3 { #expect(try machine.transfer(4, length: .max) == 0) }
        #expect(try machine.transfer(2, length: 1) == 0)
        #expect(try machine.memory.read(1, at: GuestAddress(FirmwareConfigurationTests.target)) == [0])
    }

    @Test(
        "A descriptor outside of memory is ignored, and the log does not fill",
        arguments: [memorySize - 15, memorySize, UInt64.max, UInt64.max - 15])
    func descriptorOutside(address: UInt64) throws {
        let machine = try Machine()
        for _ in 0..<1000 {
            machine.ports.write32(UInt32(truncatingIfNeeded: address >> 32).byteSwapped, 4)
            machine.ports.write32(UInt32(truncatingIfNeeded: address).byteSwapped, 8)
        }
        #expect((1..<20).contains(machine.log.lines.count))
    }

    @Test("CVE-2021-20255: a transfer from or to registers fails, and reaches no device")
    func transferOfRegisters() throws {
        let machine = try Machine()
        try machine.configuration.addWritableFile("etc/written", [1, 2, 3, 4]) { _ in Issue.record("was written") }
        let registers: UInt64 = 0x0902_0010
        #expect(try machine.transfer(0x20_000A, length: 4, address: registers) == 1)
        #expect(try machine.transfer(0x20_0018, length: 4, address: registers) == 1)
        // Nor is a descriptor read from there: nothing is selected, and nothing begins anew.
        machine.ports.write16(0x20, 0)
        machine.ports.write32(0, 4)
        machine.ports.write32(UInt32(registers).byteSwapped, 8)
        #expect((0..<4).map { _ in machine.ports.read8(1) } == [1, 2, 3, 4])
    }

    @Test("A writable file takes writes inside of it, in parts, and its handler sees all of it before the transfer ends")
    func writableFiles() throws {
        let machine = try Machine()
        let seen = Mutex<[[UInt8]]>([])
        let memory = machine.memory
        try machine.configuration.addWritableFile("etc/ramfb", [0, 0, 0, 0]) { bytes in
            // The guest has not been told yet.
            #expect((try? memory.load(UInt32.self, at: GuestAddress(FirmwareConfigurationTests.descriptor))) != 0)
            seen.withLock { $0.append(bytes) }
        }
        try memory.write([1, 2, 3, 4], at: GuestAddress(FirmwareConfigurationTests.target))
        #expect(try machine.transfer(0x20_0018, length: 2) == 0)
        #expect(try machine.transfer(0x10, length: 2, address: FirmwareConfigurationTests.target + 2) == 0)
        #expect(try machine.transfer(0x10, length: 1) == 1)
        #expect(try machine.transfer(0x20_0018, length: 5) == 1)
        #expect(seen.withLock { $0 } == [[1, 2, 0, 0], [1, 2, 3, 4]])
        #expect(try machine.read(0x20, count: 4) == [1, 2, 3, 4])
        // Items that are not writable, or not there.
        #expect(try machine.transfer(0x00_0018, length: 1) == 1)
        #expect(try machine.transfer(0x3F_0018, length: 1) == 1)
        machine.configuration.reset()
        #expect(try machine.read(0x20, count: 4) == [0, 0, 0, 0])
        #expect(seen.withLock { $0.count } == 2)
    }

    // MARK: Sources

    private func withFile(_ bytes: [UInt8], _ body: (String) throws -> Void) throws {
        let path = FileManager.default.temporaryDirectory.appending(path: "fwcfg-\(UUID().uuidString)").path
        try Data(bytes).write(to: URL(filePath: path))
        defer { try? FileManager.default.removeItem(atPath: path) }
        try body(path)
    }

    @Test("A part of a file is read by transfers and byte by byte, without the rest of it")
    func fileSource() throws {
        let bytes = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
        try withFile(bytes) { path in
            let machine = try Machine()
            let source = FirmwareFile(try OwnedDescriptor(opening: path, flags: O_RDONLY), offset: 500, size: 99_000)
            try machine.configuration.set(.kernelData, source: source)
            let expected = Array(bytes[500..<99_500])
            #expect(try machine.read(0x11, count: 99_000) == expected)
            #expect(try machine.read(0x11, count: 99_010) == expected + [UInt8](repeating: 0, count: 10))
            #expect(machine.bytes(0x11, count: 9_000) == Array(expected.prefix(9_000)))
            #expect(try machine.transfer(4, length: 89_000) == 0)
            #expect((0..<1_002).map { _ in machine.ports.read8(1) } == Array(expected.suffix(1_000)) + [0, 0])
        }
    }

    @Test("A file that became shorter is an error of the transfer and zeros by byte, and the log tells")
    func truncatedFile() throws {
        try withFile([1, 2, 3]) { path in
            let machine = try Machine()
            let source = FirmwareFile(try OwnedDescriptor(opening: path, flags: O_RDONLY), offset: 0, size: .max)
            try machine.configuration.addFile("initrd", source: source)
            #expect(try machine.directory()["initrd"]?.size == Int(UInt32.max))
            #expect(try machine.transfer(0x20_000A, length: 100) == 1)
            #expect(try machine.transfer(0x20_000A, length: .max) == 1)
            #expect(machine.bytes(0x20, count: 3) == [0, 0, 0])
            #expect(machine.log.lines.contains { $0.contains("ends early") })
            let beyond = FirmwareFile(try OwnedDescriptor(opening: path, flags: O_RDONLY), offset: .max, size: 8)
            try machine.configuration.addFile("beyond", source: beyond)
            #expect(try machine.transfer(0x21_000A, length: 8) == 1)
        }
    }

    // MARK: State

    private func machineWithFiles() throws -> Machine {
        let machine = try Machine()
        try machine.configuration.addFile("plain", [1, 2, 3, 4, 5, 6])
        let builds = Counter()
        try machine.configuration.addBuiltFiles(["built"]) {
            builds.increment()
            return [[UInt8](repeating: UInt8(truncatingIfNeeded: builds.count), count: 6)]
        }
        try machine.configuration.addWritableFile("written", [0, 0, 0, 0]) { _ in }
        return machine
    }

    @Test("A device goes on elsewhere in the middle of an item, with what was built and written")
    func stateRoundTrip() throws {
        for key: UInt16 in [0x20, 0x21, 0x22, 0x19, 0x3F] {
            let first = try machineWithFiles()
            try first.memory.write([4, 5, 6, 7], at: GuestAddress(FirmwareConfigurationTests.target))
            #expect(try first.transfer(0x22_0018, length: 4) == 0)
            _ = first.bytes(0x21, count: 1)
            _ = first.bytes(key, count: 2)
            first.ports.write32(0x1234_5678, 4)
            let second = try machineWithFiles()
            try second.configuration.restore(first.configuration.save())
            #expect(second.configuration.save() == first.configuration.save())
            #expect((0..<6).map { _ in second.ports.read8(1) } == (0..<6).map { _ in first.ports.read8(1) })
            #expect(try second.read(0x22, count: 4) == [4, 5, 6, 7])
        }
    }

    @Test("States that no such device can have are refused, change nothing, and none makes it trap")
    func hostileStates() throws {
        let machine = try machineWithFiles()
        _ = machine.bytes(0x21, count: 2)
        let good = machine.configuration.save()
        for count in 0..<good.count {
            #expect(throws: StateError.self) { try machine.configuration.restore(Array(good.prefix(count))) }
        }
        #expect(throws: StateError.self) { try machine.configuration.restore(good + [0]) }
        #expect(throws: StateError.self) { try Machine().configuration.restore(good) }
        #expect(machine.configuration.save() == good)
        var generator = SplitMix64(seed: 5)
        for _ in 0..<5000 {
            var bytes = good
            bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: .min ... .max, using: &generator)
            try? machine.configuration.restore(bytes)
            _ = machine.ports.read8(1)
            try machine.transfer(0x12, length: 4)
        }
    }

    @Test("No access of any width at any offset traps or reaches outside of memory", arguments: [UInt64(1), 2])
    func fuzz(seed: UInt64) throws {
        let machine = try machineWithFiles()
        hammer(machine.ports, size: FirmwareConfigurationPorts.portCount, seed: seed)
        hammer(machine.registers, size: FirmwareConfigurationRegisters.size, seed: seed)
        var generator = SplitMix64(seed: seed)
        let keys: [UInt16] = [0, 1, 5, 0x19, 0x20, 0x21, 0x22, 0x23, 0xFFFF]
        let lengths: [UInt32] = [0, 1, 5, 6, 7, 4096, 1 << 20, .max]
        for _ in 0..<5_000 {
            let key = keys[Int.random(in: 0..<keys.count, using: &generator)]
            let control = UInt32.random(in: 0..<32, using: &generator) | UInt32(key) << 16
            let length = lengths[Int.random(in: 0..<lengths.count, using: &generator)]
            let address = UInt64.random(in: 0..<FirmwareConfigurationTests.memorySize * 2, using: &generator)
            let place = UInt64.random(in: 0..<FirmwareConfigurationTests.memorySize - 16, using: &generator)
            #expect(try machine.transfer(control, length: length, address: address, at: place) <= 1)
        }
    }
}
