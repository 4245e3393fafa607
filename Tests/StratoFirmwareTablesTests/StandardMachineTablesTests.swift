import StratoFirmwareTables
import Testing

/// A q35 as it is at reset, or as the tests want it.
func standardMachine(processors: Int = 1) -> StandardMachineTables {
    var tables = StandardMachineTables(
        apicIDs: (0..<UInt32(processors)).map { $0 },
        configurationSpace: MCFG.Window(base: 0xB000_0000),
        windows: [
            PhysicalRange(base: 0xC000_0000, size: 0x3000_0000), PhysicalRange(base: 0x80_0000_0000, size: 0x80_0000_0000),
        ],
        eventDevice: .init(base: 0xF000_0000, interrupt: 20))
    tables.serialPort = .init()
    tables.firmwareConfiguration = .init()
    return tables
}

/// One with all that tables can say: many processors, ids above 254, NUMA, and configuration space above 4 GiB.
func largeMachine() -> StandardMachineTables {
    var tables = standardMachine()
    tables.apicIDs = (0..<254).map { $0 * 2 }
    tables.configurationSpace = MCFG.Window(base: 0x1_0000_0000, busCount: 64)
    tables.windows += [PhysicalRange(base: 0xF800_0000, size: 0x400_0000), PhysicalRange(base: 0x1_0000_0000, size: 0x1000_0000)]
    tables.powerManagement.generalPurposeEvents = .ich9
    tables.hardwareSignature = 0x1234_5678
    tables.nodes = [
        NUMANode(
            processors: Array(0..<100),
            memory: [PhysicalRange(base: 0, size: 0x8000_0000), PhysicalRange(base: 0x2_0000_0000, size: 0x8000_0000)]),
        NUMANode(processors: Array(100..<254), memory: [PhysicalRange(base: 0x2_8000_0000, size: 0x1_0000_0000)]),
        NUMANode(memory: [PhysicalRange(base: 0x3_8000_0000, size: 0x1000)]),
    ]
    tables.distances = [[10, 20, 30], [20, 10, 255], [30, 255, 10]]
    return tables
}

/// One with nothing that can be left out.
func smallMachine() -> StandardMachineTables {
    var tables = StandardMachineTables(
        apicIDs: [0], configurationSpace: nil, windows: [], eventDevice: .init(base: 0xF000_0000, interrupt: 20))
    tables.clock = nil
    return tables
}

@Suite("ACPI tables of the standard machine")
struct StandardMachineTablesTests {
    enum Sample: String, CaseIterable, CustomTestStringConvertible {
        case small, standard, large

        var testDescription: String { rawValue }

        var machine: StandardMachineTables {
            switch self {
            case .small: smallMachine()
            case .standard: standardMachine(processors: 2)
            case .large: largeMachine()
            }
        }
    }

    func tables(_ machine: StandardMachineTables) throws -> GuestMemoryImage.Tables {
        try GuestMemoryImage(try machine.place()).tables(rsdp: StandardMachineTables.rsdpAddress)
    }

    @Test("every table is found from the RSDP, says its length and adds up to zero", arguments: Sample.allCases)
    func headers(sample: Sample) throws {
        let tables = try tables(sample.machine)
        #expect(tables.rsdp.text(0..<8) == "RSD PTR ")
        #expect(TableBytes.sum(tables.rsdp[..<20]) == 0)
        #expect(TableBytes.sum(tables.rsdp) == 0)
        for table in tables.listed + [tables.xsdt, tables.dsdt] {
            #expect(TableBytes.sum(table) == 0, "\(table.text(0..<4))")
            #expect(table.text(10..<16) == "STRATO")
        }
        let expected =
            switch sample {
            case .small: ["APIC", "FACP"]
            case .standard: ["APIC", "FACP", "MCFG"]
            case .large: ["APIC", "FACP", "MCFG", "SLIT", "SRAT"]
            }
        #expect(tables.listed.map { $0.text(0..<4) }.sorted() == expected)
        #expect(tables.dsdt.text(0..<4) == "DSDT")
    }

    @Test(
        "tables lie apart in 0xD0000...0xEFFFF, the RSDP where a scan finds it, the FACS at a multiple of 64",
        arguments: Sample.allCases)
    func placement(sample: Sample) throws {
        let placed = try sample.machine.place()
        let ordered = placed.sorted { $0.address < $1.address }
        #expect(try #require(ordered.first).address == 0xD0000)
        #expect(try #require(ordered.last).end <= 0xF0000)
        for (table, next) in zip(ordered, ordered.dropFirst()) { #expect(table.end <= next.address) }
        #expect(try #require(placed.last).address == StandardMachineTables.rsdpAddress)
        #expect((0xE0000...0xFFFFF).contains(StandardMachineTables.rsdpAddress))
        #expect(StandardMachineTables.rsdpAddress % 16 == 0)
        #expect(try tables(sample.machine).facsAddress % 64 == 0)
    }

    @Test("the FACS is this, byte by byte")
    func facs() {
        var expected = Array("FACS".utf8)
        expected += [64, 0, 0, 0, 0x78, 0x56, 0x34, 0x12]
        expected += [UInt8](repeating: 0, count: 20)
        expected.append(2)
        expected += [UInt8](repeating: 0, count: 31)
        #expect(FACS.encode(hardwareSignature: 0x1234_5678) == expected)
    }

    @Test("the FADT has the registers of an ICH9, is in ACPI mode without a command, and resets at 0xCF9")
    func fadt() throws {
        var machine = standardMachine()
        machine.powerManagement.generalPurposeEvents = .ich9
        let fadt = try tables(machine)["FACP"]
        #expect(fadt.count == 276)
        #expect(fadt[8] == 6)
        #expect(fadt.little(UInt16.self, at: 46) == 9)
        #expect(Array(fadt[48..<56]) == [0, 0, 0, 0, 0, 0, 0, 0], "no SMI command")
        #expect(
            [56, 60, 64, 68, 72, 76, 80, 84].map { fadt.little(UInt32.self, at: $0) } == [0x600, 0, 0x604, 0, 0, 0x608, 0x620, 0])
        #expect(Array(fadt[88..<94]) == [4, 2, 0, 4, 16, 0])
        #expect(fadt[108] == 0x32)
        #expect(fadt.little(UInt16.self, at: 109) == 0b101)
        // WBINVD, C1, no fixed buttons, no fixed alarm, reset register; not hardware-reduced.
        #expect(fadt.little(UInt32.self, at: 112) == 0x0000_0475)
        #expect(Array(fadt[116..<129]) == [1, 8, 0, 1, 0xF9, 0x0C, 0, 0, 0, 0, 0, 0, 0x0F])
        #expect(Array(fadt[148..<160]) == [1, 32, 0, 2, 0x00, 0x06, 0, 0, 0, 0, 0, 0])
        #expect(Array(fadt[172..<184]) == [1, 16, 0, 2, 0x04, 0x06, 0, 0, 0, 0, 0, 0])
        #expect(Array(fadt[208..<220]) == [1, 32, 0, 3, 0x08, 0x06, 0, 0, 0, 0, 0, 0])
        #expect(Array(fadt[220..<232]) == [1, 128, 0, 1, 0x20, 0x06, 0, 0, 0, 0, 0, 0])
        #expect(Array(fadt[244..<268]) == [1, 8, 0, 1, 0xE9, 0x0C, 0, 0, 0, 0, 0, 0, 1, 8, 0, 1, 0xEA, 0x0C, 0, 0, 0, 0, 0, 0])
    }

    @Test("a machine without a clock and without general-purpose events says so in the FADT")
    func smallFADT() throws {
        let fadt = try tables(smallMachine())["FACP"]
        #expect(fadt.little(UInt16.self, at: 109) == 0b10_0101)
        #expect(fadt[108] == 0)
        #expect(fadt.little(UInt32.self, at: 80) == 0)
        #expect(fadt[92] == 0)
        #expect(fadt[220..<232].allSatisfy { $0 == 0 })
    }

    @Test("the MADT of two processors is this, byte by byte: the SCI is level-triggered and active high")
    func madt() throws {
        let madt = try tables(standardMachine(processors: 2))["APIC"]
        #expect(madt[8] == 5)
        #expect(
            Array(madt[36...]) == [
                0x00, 0x00, 0xE0, 0xFE, 1, 0, 0, 0,
                0, 8, 0, 0, 1, 0, 0, 0,
                0, 8, 1, 1, 1, 0, 0, 0,
                1, 12, 3, 0, 0x00, 0x00, 0xC0, 0xFE, 0, 0, 0, 0,
                2, 10, 0, 9, 9, 0, 0, 0, 0x0D, 0,
                4, 6, 0xFF, 0, 0, 1,
            ])
    }

    @Test("254 processors with ids of up to 506 are named once each, those above 254 by x2APIC entries")
    func madtBeyond254() throws {
        let madt = try tables(largeMachine())["APIC"]
        var ids: [UInt32] = []
        var ioAPIC: UInt8?
        var offset = 44
        while offset < madt.count {
            switch madt[offset] {
            case 0: ids.append(UInt32(madt[offset + 3]))
            case 1: ioAPIC = madt[offset + 2]
            case 9:
                #expect(madt.little(UInt32.self, at: offset + 4) > 254)
                ids.append(madt.little(UInt32.self, at: offset + 4))
            default: break
            }
            offset += Int(madt[offset + 1])
        }
        #expect(ids == (0..<254).map { $0 * 2 })
        #expect(!ids.contains(UInt32(try #require(ioAPIC))))
    }

    @Test("the MCFG is where configuration space is, byte by byte, and moves with it")
    func mcfg() throws {
        var machine = standardMachine()
        #expect(
            Array(try tables(machine)["MCFG"][36...])
                == [0, 0, 0, 0, 0, 0, 0, 0, 0x00, 0x00, 0x00, 0xB0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0, 0, 0, 0])
        machine.configurationSpace = MCFG.Window(base: 0xE000_0000, busCount: 128)
        let mcfg = try tables(machine)["MCFG"]
        #expect(mcfg.little(UInt64.self, at: 44) == 0xE000_0000)
        #expect(Array(mcfg[54..<56]) == [0, 127])
    }

    @Test("SRAT entries of each kind are these, byte by byte")
    func srat() {
        let srat = SRAT.encode(
            [
                NUMANode(processors: [0]),
                NUMANode(processors: [1], memory: [PhysicalRange(base: 0x1_0000_0000, size: 0x2_0000_0000)]),
            ], apicIDs: [7, 300])
        #expect(srat[8] == 3)
        #expect(Array(srat[36..<48]) == [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        #expect(Array(srat[48..<64]) == [0, 16, 0, 7, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        #expect(Array(srat[64..<88]) == [2, 24, 0, 0, 1, 0, 0, 0, 0x2C, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        #expect(
            Array(srat[88...]) == [
                1, 40, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0,
                0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            ])
    }

    @Test("the SLIT has the distances row by row")
    func slit() throws {
        #expect(Array(try SLIT.encode([[10, 21], [31, 10]])[36...]) == [2, 0, 0, 0, 0, 0, 0, 0, 10, 21, 31, 10])
        #expect(throws: FirmwareTableError.self) { try SLIT.encode([[10, 21], [31]]) }
        #expect(throws: FirmwareTableError.self) { try SLIT.encode([[10, 10], [31, 10]]) }
        #expect(throws: FirmwareTableError.self) { try SLIT.encode([[11, 21], [31, 10]]) }
    }

    @Test(
        "iasl disassembles every table and compiles it to the same bytes, without an error or a warning",
        .enabled(if: !IASL.isMissing, "iasl (Debian package acpica-tools) is not installed"), arguments: Sample.allCases)
    func roundTrip(sample: Sample) throws {
        for table in try tables(sample.machine).all {
            let result = try IASL.roundTrip(table)
            let signature = table.text(0..<4)
            #expect(result.report.contains("0 Errors, 0 Warnings"), "\(signature): \(result.report)\n\(result.source)")
            #expect(!result.source.contains("Reserved Method must"), "\(result.source)")
            if signature == "DSDT" { #expect(result.report.contains("0 Remarks"), "\(result.report)") }
            // iasl puts its own name and a new checksum into the header that all but the FACS have.
            let header = signature == "FACS" ? 0 : 36
            #expect(Array(result.table.dropFirst(header)) == Array(table.dropFirst(header)), "\(signature): \(result.source)")
        }
    }

    /// The DSDT as iasl shows it, in single spaces.
    func disassembly(_ machine: StandardMachineTables) throws -> String {
        let result = try IASL.roundTrip(try tables(machine).dsdt)
        return result.source.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    }

    @Test(
        "the DSDT says what the machine has, in iasl's words",
        .enabled(if: !IASL.isMissing, "iasl (Debian package acpica-tools) is not installed"))
    func disassembly() throws {
        let words = try disassembly(standardMachine())
        let expected: [String] = [
            "Device (PCI0) { Name (_HID, EisaId (\"PNP0A08\") /* PCI Express Bus */)",
            "Name (_CID, EisaId (\"PNP0A03\") /* PCI Bus */)",
            "WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode, 0x0000, // Granularity 0x0000, // Range "
                + "Minimum 0x00FF,",
            "IO (Decode16, 0x0CF8, // Range Minimum 0x0CF8, // Range Maximum 0x01, // Alignment 0x08, // Length )",
            "WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange, 0x0000, // Granularity 0x0000, // "
                + "Range Minimum 0x0CF7,",
            "0x0D00, // Range Minimum 0xFFFF, // Range Maximum 0x0000, // Translation Offset 0xF300, // Length",
            "DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite, 0x00000000, // "
                + "Granularity 0xC0000000, // Range Minimum 0xEFFFFFFF, // Range Maximum 0x00000000, // Translation Offset "
                + "0x30000000,",
            "QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite, "
                + "0x0000000000000000, // Granularity 0x0000008000000000, // Range Minimum 0x000000FFFFFFFFFF,",
            "Package (0x04) { 0xFFFF, Zero, GSI0, Zero }", "Package (0x04) { 0x0003FFFF, 0x02, GSI1, Zero }",
            "Package (0x04) { 0x001FFFFF, 0x03, GSI2, Zero }",
            "If ((Arg0 == ToUUID (\"33db4d5b-1ff7-401c-9657-7441c03dd766\") /* PCI Host Bridge Device */))",
            "Local0 = (CDW3 & 0x1D)",
            "Device (ISA) { Name (_ADR, 0x001F0000) // _ADR: Address Device (COM1) { Name (_HID, EisaId (\"PNP0501\")",
            "Device (RTC) { Name (_HID, EisaId (\"PNP0B00\")",
            "IO (Decode16, 0x0070, // Range Minimum 0x0070, // Range Maximum 0x01, // Alignment 0x08, // Length )",
            "Device (GSI3) { Name (_HID, EisaId (\"PNP0C0F\")",
            "Interrupt (ResourceConsumer, Level, ActiveHigh, Shared, ,, ) { 0x00000013, }",
            "Device (MBRD) { Name (_HID, EisaId (\"PNP0C02\")",
            "IO (Decode16, 0x0600, // Range Minimum 0x0600, // Range Maximum 0x01, // Alignment 0x80, // Length )",
            "Memory32Fixed (ReadWrite, 0xB0000000, // Address Base 0x10000000, // Address Length )",
            "Device (PWRB) { Name (_HID, EisaId (\"PNP0C0C\")",
            "Device (GED) { Name (_HID, \"ACPI0013\"",
            "Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive, ,, ) { 0x00000014, }",
            "Device (FWCF) { Name (_HID, \"QEMU0002\"",
            "IO (Decode16, 0x0510, // Range Minimum 0x0510, // Range Maximum 0x01, // Alignment 0x0C, // Length )",
            "Name (\\_S5, Package (0x04) // _S5_: S5 System State { 0x05, Zero, Zero, Zero })",
        ]
        for text in expected {
            #expect(words.contains(text), "missing: \(text)\nin: \(words)")
        }
        #expect(words.components(of: "Package (0x04) { 0x") == 32 * 4)
    }

    @Test(
        "configuration space that firmware moved into a window is cut out of it, and reserved where it is now",
        .enabled(if: !IASL.isMissing, "iasl (Debian package acpica-tools) is not installed"))
    func movedConfigurationSpace() throws {
        var machine = standardMachine()
        machine.configurationSpace = MCFG.Window(base: 0xE000_0000, busCount: 128)
        machine.windows = [PhysicalRange(base: 0x8000_0000, size: 0x7000_0000)]
        let words = try disassembly(machine)
        #expect(words.contains("0x80000000, // Range Minimum 0xDFFFFFFF, // Range Maximum"), "\(words)")
        #expect(words.contains("0xE8000000, // Range Minimum 0xEFFFFFFF, // Range Maximum"))
        #expect(words.contains("Memory32Fixed (ReadWrite, 0xE0000000, // Address Base 0x08000000, // Address Length )"))
        #expect(words.contains("0x0000, // Range Minimum 0x007F, // Range Maximum"))
        #expect(!words.contains("0xB0000000"))

        machine.configurationSpace = MCFG.Window(base: 0x10_0000_0000)
        #expect(
            try disassembly(machine).contains(
                "QWordMemory (ResourceConsumer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite, 0x0000000000000000, "
                    + "// Granularity 0x0000001000000000, // Range Minimum 0x000000100FFFFFFF,"
            ))
    }

    static let interpreter = Tool("acpiexec")

    /// What an operating system gets back from a method, in the words of ACPICA's interpreter.
    func execute(_ command: String, _ machine: StandardMachineTables) throws -> Tool.Result {
        let interpreter = try #require(StandardMachineTablesTests.interpreter)
        let (result, _) = try interpreter.run(["-b", command, "dsdt"], files: ["dsdt": try tables(machine).dsdt])
        #expect(result.status == 0)
        #expect(!result.output.contains("Error"), "\(result.output)")
        return result
    }

    @Test(
        "_OSC gives what is asked for and may be given, and says what is wrong with the rest",
        .enabled(if: interpreter != nil, "acpiexec (Debian package acpica-tools) is not installed"),
        arguments: [
            // All that there is, then only what is granted, then nothing.
            (1, "5B4DDB33F71F1C4096577441C03DD766", "000000001F0000001F000000", "10 00 00 00 1F 00 00 00 1D 00 00 00"),
            (1, "5B4DDB33F71F1C4096577441C03DD766", "000000001F0000001D000000", "00 00 00 00 1F 00 00 00 1D 00 00 00"),
            (1, "5B4DDB33F71F1C4096577441C03DD766", "010000001F00000000000000", "01 00 00 00 1F 00 00 00 00 00 00 00"),
            // Another revision, and another interface.
            (2, "5B4DDB33F71F1C4096577441C03DD766", "000000001F00000001000000", "08 00 00 00 1F 00 00 00 01 00 00 00"),
            (1, "00000000000000000000000000000000", "000000001F0000001F000000", "04 00 00 00 1F 00 00 00 1F 00 00 00"),
        ])
    func operatingSystemCapabilities(revision: Int, interface: String, asked: String, answered: String) throws {
        let result = try execute("execute \\_SB.PCI0._OSC (\(interface)) \(revision) 3 (\(asked))", standardMachine())
        #expect(result.output.contains("0000: \(answered) "), "\(result.output)")
    }

    @Test(
        "every object with a predefined name is of the type that its name promises",
        .enabled(if: interpreter != nil, "acpiexec (Debian package acpica-tools) is not installed"), arguments: Sample.allCases)
    func predefinedNames(sample: Sample) throws {
        let result = try execute("execute predefined", sample.machine)
        // The interpreter's own arguments, of no type that a method wants, are no fault of ours.
        let warnings = result.output.split(separator: "\n").filter { $0.contains("Warning") && !$0.contains("Argument #") }
        #expect(warnings.isEmpty)
        for name in ["PCI0._HID", "PCI0._CRS", "PCI0._OSC", "GSI3._PRS", "GSI3._SRS", "MBRD._CRS", "GED_._EVT"] {
            #expect(result.output.contains("\\_SB_.\(name) "), "\(name)")
        }
        #expect(result.output.contains("PCI0._PXM ") == (sample == .large))
    }

    @Test("what is not there is not in the DSDT")
    func absentDevices() throws {
        let small = try tables(smallMachine()).dsdt
        let standard = try tables(standardMachine()).dsdt
        for name in ["COM1", "RTC_", "FWCF"] {
            #expect(!small.text(0..<small.count).contains(name))
            #expect(standard.text(0..<standard.count).contains(name))
        }
    }

    @Test("no window, 64 windows, windows that fill all of the address space up to 52 bits")
    func windows() throws {
        var machine = smallMachine()
        _ = try machine.place()
        machine.windows = (0..<64).map { PhysicalRange(base: 0x8000_0000 + $0 * 0x10_0000, size: 0x8_0000) }.reversed()
        _ = try machine.place()
        machine.windows = [PhysicalRange(base: 0, size: 1 << 52)]
        machine.configurationSpace = MCFG.Window(base: 0, busCount: 1)
        _ = try machine.place()
        machine.windows = [PhysicalRange(base: 0, size: 0x10_0000)]
        _ = try machine.place()
    }

    @Test(
        "what can't be described is refused in words, not by a trap",
        arguments: [
            Refusal("no processor", { $0.apicIDs = [] }),
            Refusal("the same id twice", { $0.apicIDs = [3, 4, 3] }),
            Refusal("the id of all", { $0.apicIDs = [0, .max] }),
            Refusal("no id for the I/O APIC", { $0.apicIDs = Array(0...254) }),
            Refusal("more than fits", { $0.apicIDs = (0..<20000).map { 1000 + $0 } }),
            Refusal("65 windows", { $0.windows = (0..<65).map { PhysicalRange(base: $0 << 32, size: 1) } }),
            Refusal("an empty window", { $0.windows = [PhysicalRange(base: 0x1000, size: 0)] }),
            Refusal("a window beyond 64 bits", { $0.windows = [PhysicalRange(base: .max, size: 2)] }),
            Refusal("a window of all 64 bits", { $0.windows = [PhysicalRange(base: 0, size: .max)] }),
            Refusal("a window beyond 52 bits", { $0.windows = [PhysicalRange(base: 1 << 52 - 1, size: 2)] }),
            Refusal("windows that overlap", { $0.windows = [PhysicalRange(base: 8, size: 8), PhysicalRange(base: 0, size: 9)] }),
            Refusal("configuration space without buses", { $0.configurationSpace = MCFG.Window(base: 0, busCount: 0) }),
            Refusal("with negative ones", { $0.configurationSpace = MCFG.Window(base: 0, busCount: .min) }),
            Refusal("with 257", { $0.configurationSpace = MCFG.Window(base: 0, busCount: 257) }),
            Refusal("not aligned", { $0.configurationSpace = MCFG.Window(base: 0xB000_1000) }),
            Refusal("beyond 64 bits", { $0.configurationSpace = MCFG.Window(base: 0xFFFF_FFFF_FFF0_0000) }),
            Refusal("beyond 52 bits", { $0.configurationSpace = MCFG.Window(base: 1 << 52) }),
            Refusal("an event device on a PCI interrupt", { $0.eventDevice.interrupt = 16 }),
            Refusal("an SCI on a PCI interrupt", { $0.powerManagement.interrupt = 19 }),
            Refusal("an interrupt that is not there", { $0.eventDevice.interrupt = 24 }),
            Refusal("two devices on one interrupt", { $0.clock?.interrupt = 4 }),
            Refusal("two overrides of the SCI", { $0.interruptOverrides = [.init(source: 9, globalSystemInterrupt: 9)] }),
            Refusal("registers that are not aligned", { $0.powerManagement.base = 0x640 }),
            Refusal("odd events", { $0.powerManagement.generalPurposeEvents = .init(offset: 0x20, size: 3) }),
            Refusal("events outside", { $0.powerManagement.generalPurposeEvents = .init(offset: 0x78, size: 16) }),
            Refusal("too many events", { $0.powerManagement.generalPurposeEvents = .init(offset: .max, size: .max) }),
            Refusal("distances without nodes", { $0.distances = [[10]] }),
            Refusal("a processor without a node", { $0.nodes = [NUMANode()] }),
            Refusal("a processor in two nodes", { $0.nodes = [NUMANode(processors: [0]), NUMANode(processors: [0])] }),
            Refusal("a processor that is not there", { $0.nodes = [NUMANode(processors: [0, 1])] }),
            Refusal("a negative one", { $0.nodes = [NUMANode(processors: [0, -1])] }),
            Refusal("memory without size", { $0.nodes = [NUMANode(processors: [0], memory: [PhysicalRange(base: 0, size: 0)])] }),
            Refusal(
                "memory in two nodes",
                {
                    $0.nodes = [
                        NUMANode(processors: [0], memory: [PhysicalRange(base: 0x1000, size: 0x1000)]),
                        NUMANode(memory: [PhysicalRange(base: 0, size: 0x1001)]),
                    ]
                }
            ),
        ] as [Refusal<StandardMachineTables>])
    func refusals(refusal: Refusal<StandardMachineTables>) throws {
        var machine = standardMachine()
        refusal.change(&machine)
        let error = #expect(throws: FirmwareTableError.self) { try machine.place() }
        #expect(error?.description.isEmpty == false)
        if refusal.testDescription != "more than fits" {
            #expect(throws: FirmwareTableError.self) { try machine.files() }
        }
    }
}

extension String {
    /// How often a text is in this one.
    func components(of text: String) -> Int {
        var count = 0
        var rest = self[...]
        while let range = rest.firstRange(of: text) {
            count += 1
            rest = rest[range.upperBound...]
        }
        return count
    }
}
