import StratoFirmwareTables
import Testing

extension ARMMachineTree {
    /// What a virt with flash, firmware configuration and PCI has.
    static func standardSample(processors count: Int = 2) -> ARMMachineTree {
        var machine = ARMMachineTree.sample
        machine.processors = (0..<count).map { index in
            ARMMachineTree.Processor(
                affinity: ARMMachineTree.affinity(of: index), position: ARMMachineTree.Position(socket: 0, core: index))
        }
        machine.virtioDevices = []
        machine.flash = [PhysicalRange(base: 0, size: 0x20_0000), PhysicalRange(base: 0x400_0000, size: 0x10_0000)]
        machine.firmwareConfiguration = PhysicalRange(base: 0x902_0000, size: 0x18)
        machine.pci = ARMMachineTree.PCIHost(
            configurationSpace: PhysicalRange(base: 0x7F_C000_0000, size: 0x1000_0000),
            ports: PhysicalRange(base: 0x3EFF_0000, size: 0x1_0000),
            windows: [
                PhysicalRange(base: 0x1000_0000, size: 0x2EFF_0000),
                PhysicalRange(base: 0x80_0000_0000, size: 0x80_0000_0000),
            ], firstInterrupt: 16)
        return machine
    }
}

extension ARMMachineTables {
    /// A virt with two processors, or more.
    static func sample(processors count: Int = 2) -> ARMMachineTables {
        ARMMachineTables(
            machine: .standardSample(processors: count),
            eventDevice: EventDeviceDescription(base: 0x908_0000, interrupt: 41))
    }

    /// The tables in the file, in their order.
    func split() throws -> [[UInt8]] {
        let bytes = try files().tables
        var tables: [[UInt8]] = []
        var offset = 0
        while offset + 36 <= bytes.count, bytes[offset] != 0 {
            let size = Int(bytes.little(UInt32.self, at: offset + 4))
            tables.append(Array(bytes[offset..<offset + size]))
            offset = (offset + size + 15) & ~15
        }
        return tables
    }
}

@Suite("ACPI tables of the standard machine on aarch64")
struct ARMMachineTablesTests {
    @Test("These tables are there, and the first is found by the loader")
    func tables() throws {
        let tables = try ARMMachineTables.sample().split()
        #expect(
            tables.map { $0.text(0..<4) } == ["DSDT", "FACP", "APIC", "GTDT", "MCFG", "IORT", "SPCR", "DBG2", "XSDT"])
        var machine = ARMMachineTables.sample()
        machine.machine.serialPort = nil
        machine.machine.pci = nil
        #expect(try machine.split().map { $0.text(0..<4) } == ["DSDT", "FACP", "APIC", "GTDT", "XSDT"])
    }

    @Test(
        "iasl disassembles every table and compiles it to the same bytes, without an error or a warning",
        .enabled(if: !IASL.isMissing, "iasl (Debian package acpica-tools) is not installed"), arguments: [1, 2, 254])
    func iasl(_ count: Int) throws {
        for table in try ARMMachineTables.sample(processors: count).split() {
            let name = table.text(0..<4)
            // Where these two point to, firmware decides.
            guard name != "XSDT" else { continue }
            let result = try IASL.roundTrip(table)
            for word in ["Error", "Warning"] where !result.report.contains("0 \(word)s") {
                #expect(!result.report.contains(word), "\(name): \(result.report)")
            }
            // iasl puts its own name and a new checksum into the header; the checksum of these is made by the loader.
            #expect(Array(result.table.dropFirst(36)) == Array(table.dropFirst(36)), "\(name)\n\(result.source)")
        }
    }

    @Test(
        "What they say in iasl's words",
        .enabled(if: !IASL.isMissing, "iasl (Debian package acpica-tools) is not installed"))
    func words() throws {
        let tables = try ARMMachineTables.sample().split()
        func source(_ name: String) throws -> String {
            let table = try #require(tables.first { $0.text(0..<4) == name })
            return try IASL.roundTrip(table).source.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        }
        let fadt = try source("FACP")
        #expect(fadt.contains("PSCI Compliant : 1") && fadt.contains("Must use HVC for PSCI : 1"))
        #expect(fadt.contains("Hardware Reduced (V5) : 1"))
        let madt = try source("APIC")
        #expect(madt.contains("Base Address : 0000000008000000"))
        #expect(madt.contains("MPIDR : 0000000000000001"))
        let timer = try source("GTDT")
        #expect(timer.contains("Virtual Timer Interrupt : 0000001B"))
        let console = try source("SPCR")
        #expect(console.contains("Interrupt : 00000021"))
        let dsdt = try source("DSDT")
        for text in ["\"ARMH0011\"", "\"ACPI0007\"", "\"QEMU0002\"", "Device (PCI0)", "Device (GED)", "Device (PWRB)"] {
            #expect(dsdt.contains(text), "\(text)")
        }
    }

    @Test("A window that goes beyond the last address is refused")
    func refusals() {
        var tables = ARMMachineTables.sample()
        tables.machine.pci?.windows = [PhysicalRange(base: .max, size: 2)]
        #expect(throws: FirmwareTableError.self) { try tables.files() }
    }
}
