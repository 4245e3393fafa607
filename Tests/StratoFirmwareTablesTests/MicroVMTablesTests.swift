import StratoFirmwareTables
import Testing

extension [UInt8] {
    func little<T: FixedWidthInteger>(_ type: T.Type, at offset: Int) -> T {
        (0..<(T.bitWidth / 8)).reversed().reduce(0) { $0 << 8 | T(self[offset + $1]) }
    }

    func text(_ range: Range<Int>) -> String { String(decoding: self[range], as: UTF8.self) }
}

func microVM(processors: Int = 1, virtioDevices: Int = 6) -> MicroVMTables {
    var tables = MicroVMTables(
        apicIDs: (0..<UInt32(processors)).map { $0 },
        eventDevice: MicroVMTables.EventDevice(base: 0xF000_0000, interrupt: 16),
        sleepControlPort: 0xCE9, sleepStatusPort: 0xCEA)
    tables.serialPort = MicroVMTables.SerialPort()
    tables.virtioDevices = (0..<UInt32(virtioDevices)).map {
        MicroVMTables.VirtioDevice(base: 0xF010_0000 + $0 * 0x200, size: 0x200, interrupt: 5 + $0)
    }
    return tables
}

@Suite("ACPI tables of a microVM")
struct MicroVMTablesTests {
    /// The tables by the path that an operating system takes: RSDP, XSDT, FADT, DSDT.
    struct Walk {
        let tables: [PlacedBytes]

        init(_ machine: MicroVMTables) throws {
            tables = try machine.place()
        }

        func bytes(at address: UInt64) throws -> [UInt8] {
            try #require(tables.first { $0.address == address }).bytes
        }

        var rsdp: [UInt8] { get throws { try bytes(at: MicroVMTables.rsdpAddress) } }
        var xsdt: [UInt8] { get throws { try bytes(at: rsdp.little(UInt64.self, at: 24)) } }

        func table(_ signature: String) throws -> [UInt8] {
            let xsdt = try xsdt
            for offset in stride(from: 36, to: xsdt.count, by: 8) {
                let table = try bytes(at: xsdt.little(UInt64.self, at: offset))
                if table.text(0..<4) == signature { return table }
            }
            return try #require(nil, "no \(signature) in the XSDT")
        }
    }

    @Test("every table begins with its signature, says its length, and adds up to zero", arguments: [1, 8, 254])
    func headers(processors: Int) throws {
        let walk = try Walk(microVM(processors: processors, virtioDevices: 11))
        for table in walk.tables.dropLast() {
            #expect(Int(table.bytes.little(UInt32.self, at: 4)) == table.bytes.count)
            #expect(TableBytes.sum(table.bytes) == 0)
            #expect(table.bytes.text(10..<16) == "STRATO")
        }
        #expect(walk.tables.dropLast().map { $0.bytes.text(0..<4) }.sorted() == ["APIC", "DSDT", "FACP", "XSDT"])
        #expect(try walk.table("FACP").little(UInt64.self, at: 140) == walk.tables[0].address)
        #expect(walk.tables[0].bytes.text(0..<4) == "DSDT")
    }

    @Test("the RSDP is where a scan of the BIOS area finds it, with both checksums right")
    func rsdp() throws {
        let walk = try Walk(microVM())
        let rsdp = try walk.rsdp
        #expect((0xE0000...0xFFFFF).contains(MicroVMTables.rsdpAddress))
        #expect(MicroVMTables.rsdpAddress % 16 == 0)
        #expect(rsdp.count == 36)
        #expect(rsdp.text(0..<8) == "RSD PTR ")
        #expect(rsdp.text(9..<15) == "STRATO")
        #expect(rsdp[15] == 2)
        #expect(rsdp.little(UInt32.self, at: 16) == 0)
        #expect(rsdp.little(UInt32.self, at: 20) == 36)
        #expect(TableBytes.sum(rsdp[..<20]) == 0)
        #expect(TableBytes.sum(rsdp) == 0)
    }

    @Test("tables lie apart, in the area that the memory map reserves")
    func placement() throws {
        let tables = try microVM(processors: 254, virtioDevices: 11).place().sorted { $0.address < $1.address }
        #expect(try #require(tables.first).address == 0xD0000)
        #expect(try #require(tables.last).end <= 0x100000)
        for (table, next) in zip(tables, tables.dropFirst()) { #expect(table.end <= next.address) }
    }

    @Test("the FADT is revision 6, hardware-reduced, and names sleep and reset registers")
    func fadt() throws {
        let fadt = try Walk(microVM()).table("FACP")
        #expect(fadt.count == 276)
        #expect(fadt[8] == 6)
        let flags = fadt.little(UInt32.self, at: 112)
        #expect(flags & 1 << 20 != 0)
        #expect(flags & 1 << 10 != 0)
        #expect(flags & 1 << 4 != 0)
        #expect(fadt.little(UInt16.self, at: 109) == 0x34)
        #expect(Array(fadt[116..<129]) == [1, 8, 0, 1, 0x64, 0, 0, 0, 0, 0, 0, 0, 0xFE])
        #expect(Array(fadt[244..<256]) == [1, 8, 0, 1, 0xE9, 0x0C, 0, 0, 0, 0, 0, 0])
        #expect(Array(fadt[256..<268]) == [1, 8, 0, 1, 0xEA, 0x0C, 0, 0, 0, 0, 0, 0])
        #expect(fadt[148..<244].allSatisfy { $0 == 0 })
        #expect(fadt.text(268..<274) == "STRATO")
    }

    @Test("the MADT of one processor is this, byte by byte")
    func madtOfOne() throws {
        let madt = try Walk(microVM()).table("APIC")
        #expect(madt[8] == 5)
        #expect(
            Array(madt[36...]) == [
                0x00, 0x00, 0xE0, 0xFE, 1, 0, 0, 0,
                0, 8, 0, 0, 1, 0, 0, 0,
                1, 12, 2, 0, 0x00, 0x00, 0xC0, 0xFE, 0, 0, 0, 0,
                4, 6, 0xFF, 0, 0, 1,
            ])
    }

    @Test("the MADT names ids above 254 by x2APIC entries, and their NMI")
    func madtBeyond254() {
        let madt = MADT(apicIDs: [0, 254, 255, 300], localAPICAddress: 0, ioAPICIdentifier: 5, ioAPICAddress: 0).encode()
        #expect(
            Array(madt[44..<92]) == [
                0, 8, 0, 0, 1, 0, 0, 0,
                0, 8, 1, 254, 1, 0, 0, 0,
                9, 16, 0, 0, 255, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0,
                9, 16, 0, 0, 0x2C, 1, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0,
            ])
        #expect(Array(madt.suffix(12)) == [10, 12, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0])
    }

    @Test("an interrupt source override says polarity and trigger outright")
    func overrides() {
        let madt = MADT(
            apicIDs: [0], localAPICAddress: 0, ioAPICIdentifier: 2, ioAPICAddress: 0,
            overrides: [
                .init(source: 0, globalSystemInterrupt: 2),
                .init(source: 9, globalSystemInterrupt: 9, isLevelTriggered: true, isActiveLow: true),
            ]
        ).encode()
        #expect(Array(madt[64..<84]) == [2, 10, 0, 0, 2, 0, 0, 0, 0x05, 0, 2, 10, 0, 9, 9, 0, 0, 0, 0x0F, 0])
    }

    @Test("254 processors are named once each, and the I/O APIC has an id beside theirs")
    func madtOf254() throws {
        let madt = try Walk(microVM(processors: 254)).table("APIC")
        var seen: [UInt8] = []
        var ioAPIC: UInt8?
        var offset = 44
        while offset < madt.count {
            if madt[offset] == 0 { seen.append(madt[offset + 3]) }
            if madt[offset] == 1 { ioAPIC = madt[offset + 2] }
            offset += Int(madt[offset + 1])
        }
        #expect(offset == madt.count)
        #expect(seen == Array(0...253))
        #expect(ioAPIC == 254)
    }

    @Test("what fits nowhere is refused, not cut off")
    func refusals() {
        #expect(throws: FirmwareTableError.self) { try microVM(processors: 255).place() }
        #expect(throws: FirmwareTableError.self) { try microVM(virtioDevices: 257).place() }
        #expect(throws: FirmwareTableError.self) {
            var machine = microVM()
            machine.apicIDs = (0..<8000).map { UInt32($0) + 1000 }
            _ = try machine.place()
        }
    }

    @Test(
        "iasl disassembles every table and compiles it to the same bytes, without an error or a warning",
        .enabled(if: !IASL.isMissing, "iasl (Debian package acpica-tools) is not installed"), arguments: [1, 254])
    func roundTrip(processors: Int) throws {
        for table in try microVM(processors: processors, virtioDevices: 11).place().dropLast() {
            let result = try IASL.roundTrip(table.bytes)
            let signature = table.bytes.text(0..<4)
            if signature == "DSDT" {
                #expect(result.report.contains("0 Errors, 0 Warnings"), "\(signature): \(result.report)")
            } else {
                #expect(result.report.contains("Compilation successful. 0 Errors, 0 Warnings"), "\(result.report)")
            }
            // iasl puts its own name and a new checksum into the header.
            #expect(Array(result.table.dropFirst(36)) == Array(table.bytes.dropFirst(36)), "\(signature): \(result.source)")
            #expect(!result.source.contains("Reserved Method must"), "\(result.source)")
        }
    }

    @Test(
        "the DSDT says what the machine has, in iasl's words",
        .enabled(if: !IASL.isMissing, "iasl (Debian package acpica-tools) is not installed"))
    func disassembly() throws {
        let table = try #require(try microVM(virtioDevices: 2).place().first)
        let result = try IASL.roundTrip(table.bytes)
        let words = result.source.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        let expected = [
            "Device (PWRB) { Name (_HID, EisaId (\"PNP0C0C\")",
            "Device (GED) { Name (_HID, \"ACPI0013\"",
            "OperationRegion (EREG, SystemMemory, 0xF0000000, 0x04)",
            "Field (EREG, DWordAcc, NoLock, WriteAsZeros) { ESEL, 32 }",
            "Method (_EVT, 1, Serialized) // _EVT: Event { Local0 = ESEL",
            "If ((Local0 & One)) { Notify (PWRB, 0x80)",
            "Device (COM1) { Name (_HID, EisaId (\"PNP0501\")",
            "IO (Decode16, 0x03F8, // Range Minimum 0x03F8, // Range Maximum 0x01, // Alignment 0x08, // Length )",
            "Device (VR01) { Name (_HID, \"LNRO0005\")",
            "Memory32Fixed (ReadWrite, 0xF0100200, // Address Base 0x00000200, // Address Length )",
            "Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive, ,, ) { 0x00000006, }",
            "Name (\\_S5, Package (0x04) // _S5_: S5 System State { 0x05, Zero, Zero, Zero })",
        ]
        for text in expected {
            #expect(words.contains(text), "missing: \(text)\nin: \(words)")
        }
    }

    @Test("a machine without a serial port has none in its DSDT")
    func noSerialPort() throws {
        var machine = microVM()
        machine.serialPort = nil
        let dsdt = try #require(try machine.place().first).bytes
        let with = try #require(try microVM().place().first).bytes
        #expect(!dsdt.text(0..<dsdt.count).contains("COM1"))
        #expect(with.text(0..<with.count).contains("COM1"))
    }
}
