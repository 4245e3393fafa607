import StratoFirmwareTables
import Testing

/// What firmware does with `etc/table-loader`, after QEMU's description of it.
struct TableLoaderFirmware {
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    private var files: [String: [UInt8]]
    private var addresses: [String: UInt64] = [:]
    private(set) var allocations: [(file: String, alignment: UInt32, zone: UInt8)] = []
    private(set) var pointers: [(file: String, target: String, offset: Int, width: Int)] = []

    init(_ files: [String: [UInt8]]) {
        self.files = files
    }

    /// Carries the script out.
    mutating func run(_ script: [UInt8], place: (String) -> UInt64) throws {
        guard script.count % 128 == 0 else { throw Failure(description: "a script of \(script.count) bytes") }
        for start in stride(from: 0, to: script.count, by: 128) {
            let command = Array(script[start..<(start + 128)])
            let first = try name(command, at: 4)
            switch command.little(UInt32.self, at: 0) {
            case 1:
                guard files[first] != nil, addresses[first] == nil else { throw Failure(description: "allocation of \(first)") }
                let alignment = command.little(UInt32.self, at: 60)
                addresses[first] = place(first)
                allocations.append((first, alignment, command[64]))
                guard command[65...].allSatisfy({ $0 == 0 }) else { throw Failure(description: "rubbish behind a command") }
            case 2:
                let second = try name(command, at: 60)
                let offset = Int(command.little(UInt32.self, at: 116))
                let width = Int(command[120])
                guard let target = addresses[second], addresses[first] != nil, var bytes = files[first] else {
                    throw Failure(description: "pointer from \(first) to \(second)")
                }
                var value = (0..<width).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64(bytes[offset + $1]) }
                guard value < UInt64(files[second]?.count ?? 0) else { throw Failure(description: "pointer out of \(second)") }
                value += target
                guard width == 8 || value >> UInt64(8 * width) == 0 else { throw Failure(description: "pointer too short") }
                for position in 0..<width { bytes[offset + position] = UInt8(truncatingIfNeeded: value >> UInt64(8 * position)) }
                files[first] = bytes
                pointers.append((first, second, offset, width))
            case 3:
                let offset = Int(command.little(UInt32.self, at: 60))
                let begin = Int(command.little(UInt32.self, at: 64))
                let end = begin + Int(command.little(UInt32.self, at: 68))
                guard addresses[first] != nil, var bytes = files[first], end <= bytes.count, (begin..<end).contains(offset),
                    bytes[offset] == 0
                else { throw Failure(description: "checksum in \(first)") }
                bytes[offset] = 0 &- bytes[begin..<end].reduce(0, &+)
                files[first] = bytes
            case let other: throw Failure(description: "command \(other)")
            }
        }
    }

    /// What is in memory then.
    var memory: [PlacedBytes] {
        addresses.map { PlacedBytes(address: $0.value, bytes: files[$0.key] ?? []) }
    }

    private func name(_ command: [UInt8], at offset: Int) throws -> String {
        let field = command[offset..<(offset + 56)]
        guard let end = field.firstIndex(of: 0) else { throw Failure(description: "a name without an end") }
        return String(decoding: field[..<end], as: UTF8.self)
    }
}

@Suite("ACPI tables through fw_cfg")
struct ACPITableFilesTests {
    func load(_ files: ACPITableFiles, at base: UInt64) throws -> (TableLoaderFirmware, GuestMemoryImage.Tables) {
        var firmware = TableLoaderFirmware([
            ACPITableFiles.tablesName: files.tables, ACPITableFiles.pointerName: files.pointer,
        ])
        try firmware.run(files.loader) { $0 == ACPITableFiles.pointerName ? 0xF_5A40 : base }
        return (firmware, try GuestMemoryImage(firmware.memory).tables(rsdp: 0xF_5A40))
    }

    @Test(
        "firmware that follows the script has the tables that direct boot has, wherever it puts them",
        arguments: StandardMachineTablesTests.Sample.allCases, [0x1000, 0xD_0000, 0x7FB7_E000, 0xFFF0_0000])
    func equality(sample: StandardMachineTablesTests.Sample, base: UInt64) throws {
        let files = try sample.machine.files()
        let (firmware, loaded) = try load(files, at: base)
        #expect(TableBytes.sum(loaded.rsdp[..<20]) == 0)
        #expect(TableBytes.sum(loaded.rsdp) == 0)
        for table in loaded.listed + [loaded.xsdt, loaded.dsdt] {
            #expect(TableBytes.sum(table) == 0, "\(table.text(0..<4))")
        }
        let placed = try GuestMemoryImage(try sample.machine.place()).tables(rsdp: StandardMachineTables.rsdpAddress)
        #expect(loaded.dsdt == placed.dsdt)
        #expect(loaded.facs == placed.facs)
        for table in placed.listed where table.text(0..<4) != "FACP" {
            #expect(try loaded[table.text(0..<4)] == table)
        }
        #expect(loaded.facsAddress % 64 == base % 64)
        if base == 0xD_0000 { #expect(loaded.all == placed.all) }
        #expect(firmware.allocations.map(\.file) == [ACPITableFiles.pointerName, ACPITableFiles.tablesName])
        #expect(firmware.allocations.map(\.alignment) == [16, 64])
        #expect(firmware.allocations.map(\.zone) == [2, 1])
        // FADT: two tables by two fields each; XSDT: one each; RSDP: one.
        #expect(firmware.pointers.count == 4 + loaded.listed.count + 1)
    }

    @Test("the loader's commands are these, byte by byte")
    func commands() {
        var loader = TableLoader()
        loader.allocate("a", alignment: 64, zone: .anywhere)
        loader.addPointer(in: "a", at: 0x102, width: 8, to: "b")
        loader.addChecksum(in: "b", at: 9, over: 4..<0x204)
        func command(_ parts: [UInt8]...) -> [UInt8] {
            let bytes = parts.flatMap { $0 }
            return bytes + [UInt8](repeating: 0, count: max(0, 128 - bytes.count))
        }
        func name(_ letter: Character) -> [UInt8] {
            [letter.asciiValue ?? 0] + [UInt8](repeating: 0, count: 55)
        }
        let allocation = command([1, 0, 0, 0], name("a"), [64, 0, 0, 0, 1])
        #expect(Array(loader.bytes[0..<128]) == allocation)
        let pointer = command([2, 0, 0, 0], name("a"), name("b"), [2, 1, 0, 0, 8])
        #expect(Array(loader.bytes[128..<256]) == pointer)
        let checksum = command([3, 0, 0, 0], name("b"), [9, 0, 0, 0, 4, 0, 0, 0, 0, 2, 0, 0])
        #expect(Array(loader.bytes[256...]) == checksum)
    }

    @Test("the names are those that firmware asks for")
    func names() {
        #expect(ACPITableFiles.tablesName == "etc/acpi/tables")
        #expect(ACPITableFiles.pointerName == "etc/acpi/rsdp")
        #expect(ACPITableFiles.loaderName == "etc/table-loader")
    }

    @Test("tables that are made anew keep the size that firmware knows, also with a window more")
    func size() throws {
        var machine = standardMachine()
        machine.configurationSpace = nil
        machine.windows = []
        let first = try machine.files()
        #expect(first.tables.count % 4096 == 0)
        machine.configurationSpace = MCFG.Window(base: 0xE000_0000)
        machine.windows = [
            PhysicalRange(base: 0x8000_0000, size: 0x7C00_0000), PhysicalRange(base: 0x80_0000_0000, size: 0x80_0000_0000),
        ]
        let second = try machine.files(size: first.tables.count)
        #expect(second.tables.count == first.tables.count)
        #expect(try load(second, at: 0x1000).1["MCFG"].little(UInt64.self, at: 44) == 0xE000_0000)
        #expect(throws: FirmwareTableError.self) { try machine.files(size: 100) }
        #expect(throws: FirmwareTableError.self) { try machine.files(size: -1) }
        #expect(throws: FirmwareTableError.self) { try machine.files(size: .max) }
    }
}

@Suite("Memory map through fw_cfg")
struct E820TableTests {
    @Test("records are this, byte by byte, in the order of addresses, without empty ones")
    func records() throws {
        let table = E820Table([
            .init(PhysicalRange(base: 0x1_0000_0000, size: 0x4000_0000), .memory),
            .init(PhysicalRange(base: 0xFEF0_C000, size: 0x4000), .reserved),
            .init(PhysicalRange(base: 0x1000, size: 0), .reserved),
            .init(PhysicalRange(base: 0, size: 0x8000_0000), .memory),
        ])
        #expect(
            try table.encode() == [
                0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 1, 0, 0, 0,
                0, 0xC0, 0xF0, 0xFE, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0,
                0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 1, 0, 0, 0,
            ])
        #expect(try E820Table([]).encode().isEmpty)
        #expect(E820Table.fileName == "etc/e820")
    }

    @Test("ranges that overlap or have no end are refused")
    func refusals() {
        let overlapping = E820Table([
            .init(PhysicalRange(base: 0x1000, size: 0x1000), .reserved), .init(PhysicalRange(base: 0, size: 0x1001), .memory),
        ])
        #expect(throws: FirmwareTableError.self) { try overlapping.encode() }
        let endless = E820Table([.init(PhysicalRange(base: .max, size: 2), .memory)])
        #expect(throws: FirmwareTableError.self) { try endless.encode() }
    }

    @Test("a range that ends at the last address is one like any other")
    func last() throws {
        #expect(try E820Table([.init(PhysicalRange(base: .max, size: 1), .memory)]).encode().count == 20)
    }
}
