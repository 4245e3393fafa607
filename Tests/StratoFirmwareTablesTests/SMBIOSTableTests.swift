import Testing

@testable import StratoFirmwareTables

func sampleSMBIOS() -> SMBIOSTable {
    var table = SMBIOSTable(
        processors: .init(sockets: 2, coresPerSocket: 4, threadsPerCore: 2),
        memory: .init(ranges: [
            PhysicalRange(base: 0, size: 0x8000_0000), PhysicalRange(base: 0x1_0000_0000, size: 0x4_8000_0000),
        ]))
    table.firmware?.vendor = "Vendor 0"
    table.firmware?.version = "Version 0"
    table.firmware?.date = "02/03/2024"
    table.system.manufacturer = "Maker 1"
    table.system.product = "Product 1"
    table.system.version = "Version 1"
    table.system.serialNumber = "Serial 1"
    table.system.uuid = Array(0x00...0x0F)
    table.system.stockKeepingUnit = "SKU 1"
    table.system.family = "Family 1"
    table.baseboard.manufacturer = "Maker 2"
    table.baseboard.product = "Product 2"
    table.baseboard.version = "Version 2"
    table.baseboard.serialNumber = "Serial 2"
    table.baseboard.assetTag = "Asset 2"
    table.baseboard.location = "Location 2"
    table.chassis.manufacturer = "Maker 3"
    table.chassis.version = "Version 3"
    table.chassis.serialNumber = "Serial 3"
    table.chassis.assetTag = "Asset 3"
    table.chassis.stockKeepingUnit = "SKU 3"
    table.processors.socketPrefix = "Socket"
    table.processors.manufacturer = "Maker 4"
    table.processors.version = "Version 4"
    table.processors.serialNumber = "Serial 4"
    table.processors.assetTag = "Asset 4"
    table.processors.partNumber = "Part 4"
    table.processors.highestSpeed = 4000
    table.processors.currentSpeed = 3000
    table.processors.signature = 0x0005_0657
    table.processors.features = 0x0F8B_FBFF
    table.memory.locatorPrefix = "Slot"
    table.memory.bank = "Bank 17"
    table.memory.manufacturer = "Maker 17"
    table.memory.serialNumber = "Serial 17"
    table.memory.assetTag = "Asset 17"
    table.memory.partNumber = "Part 17"
    table.memory.speed = 3200
    return table
}

@Suite("SMBIOS")
struct SMBIOSTableTests {
    struct Structure {
        let type: UInt8
        let handle: UInt16
        let formatted: [UInt8]
        let strings: [String]
    }

    /// The structures, each with its strings, up to the end of the table.
    func parse(_ bytes: [UInt8]) throws -> [Structure] {
        var structures: [Structure] = []
        var offset = 0
        while offset < bytes.count {
            let length = Int(bytes[offset + 1])
            let formatted = Array(bytes[offset..<(offset + length)])
            var position = offset + length
            var strings: [String] = []
            while bytes[position] != 0 {
                let end = try #require(bytes[position...].firstIndex(of: 0))
                strings.append(bytes.text(position..<end))
                position = end + 1
            }
            offset = max(position + 1, offset + length + 2)
            structures.append(
                Structure(
                    type: formatted[0], handle: formatted.little(UInt16.self, at: 2), formatted: formatted, strings: strings))
        }
        return structures
    }

    @Test("the entry point is this, byte by byte, at the place that is scanned, and points behind itself")
    func entryPoint() throws {
        let placed = try sampleSMBIOS().place()
        #expect(placed.map(\.address) == [0xF0000, 0xF0020])
        let size = placed[1].bytes.count
        let entryPoint = placed[0].bytes
        #expect(Array(entryPoint[..<5]) == Array("_SM3_".utf8))
        #expect(
            Array(entryPoint[6...])
                == [24, 3, 0, 0, 1, 0, UInt8(size & 0xFF), UInt8(size >> 8), 0, 0, 0x20, 0, 0xF, 0, 0, 0, 0, 0])
        #expect(TableBytes.sum(entryPoint) == 0)
    }

    @Test("fw_cfg's files are the same structures, and an entry point whose size is the file's")
    func files() throws {
        let table = sampleSMBIOS()
        let files = try table.files()
        #expect(files.structures == (try table.place())[1].bytes)
        #expect(Int(files.entryPoint.little(UInt32.self, at: 12)) == files.structures.count)
        #expect(files.entryPoint.little(UInt64.self, at: 16) == 0)
        #expect(TableBytes.sum(files.entryPoint) == 0)
        #expect(SMBIOSTable.structuresName == "etc/smbios/smbios-tables")
        #expect(SMBIOSTable.entryPointName == "etc/smbios/smbios-anchor")
    }

    @Test("each structure is there, with a handle of its own and the length that version 3.0 gives it")
    func structures() throws {
        let structures = try parse(try sampleSMBIOS().files().structures)
        #expect(structures.map(\.type) == [0, 1, 2, 3, 4, 4, 16, 17, 17, 19, 19, 32, 127])
        #expect(Set(structures.map(\.handle)).count == structures.count)
        let lengths: [UInt8: Int] = [
            0: 0x18, 1: 0x1B, 2: 0x0F, 3: 0x16, 4: 0x30, 16: 0x17, 17: 0x28, 19: 0x1F, 32: 0x0B, 127: 4,
        ]
        for structure in structures { #expect(structure.formatted.count == lengths[structure.type], "\(structure.type)") }
    }

    @Test("types 1 and 127 are this, byte by byte; a UUID's first groups are little-endian")
    func golden() throws {
        let bytes = try sampleSMBIOS().files().structures
        let structures = try parse(bytes)
        #expect(
            structures[1].formatted == [
                1, 0x1B, 0x00, 0x01, 1, 2, 3, 4,
                3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15, 6, 5, 6,
            ])
        #expect(structures[1].strings == ["Maker 1", "Product 1", "Version 1", "Serial 1", "SKU 1", "Family 1"])
        #expect(Array(bytes.suffix(6)) == [127, 4, 0x00, 0x7F, 0, 0])
    }

    @Test(
        "memory is divided into devices of at most 16 GiB, and its ranges are named in KiB or, where that is too narrow, in bytes"
    )
    func memory() throws {
        var table = sampleSMBIOS()
        let structures = try parse(try table.files().structures)
        let devices = structures.filter { $0.type == 17 }
        #expect(devices.map { $0.formatted.little(UInt16.self, at: 12) } == [0x4000, 0x1000])
        let array = try #require(structures.first { $0.type == 16 })
        #expect(array.formatted.little(UInt32.self, at: 7) == 20 << 20)
        #expect(devices.allSatisfy { $0.formatted.little(UInt16.self, at: 4) == array.handle })
        let ranges = structures.filter { $0.type == 19 }
        #expect(ranges.map { $0.formatted.little(UInt32.self, at: 4) } == [0, 0x40_0000])
        #expect(ranges.map { $0.formatted.little(UInt32.self, at: 8) } == [0x1F_FFFF, 0x15F_FFFF])

        table.memory.ranges = [PhysicalRange(base: 0x1_0000_0000, size: 4 << 40)]
        let large = try parse(try table.files().structures)
        let largeArray = try #require(large.first { $0.type == 16 })
        #expect(largeArray.formatted.little(UInt32.self, at: 7) == 0x8000_0000)
        #expect(largeArray.formatted.little(UInt64.self, at: 15) == 4 << 40)
        let range = try #require(large.first { $0.type == 19 })
        #expect(range.formatted.little(UInt32.self, at: 4) == .max)
        #expect(range.formatted.little(UInt64.self, at: 15) == 0x1_0000_0000)
        #expect(range.formatted.little(UInt64.self, at: 23) == 0x1_0000_0000 + (4 << 40) - 1)
        #expect(large.count { $0.type == 17 } == 256)
    }

    @Test(
        "the size of a device is in KiB, MiB, or a wider field",
        arguments: [
            (640 << 10, 0x8280, 0), (1 << 20, 1, 0), (16 << 30, 0x4000, 0), (32766 << 20, 0x7FFE, 0),
            (32767 << 20, 0x7FFF, 32767), (32 << 30, 0x7FFF, 32768),
        ] as [(UInt64, UInt16, UInt32)])
    func deviceSize(size: UInt64, field: UInt16, extended: UInt32) {
        #expect(SMBIOSTable.sizeFields(size) == (field, extended))
    }

    @Test("more than 254 cores or threads of a socket are in the wide fields")
    func manyCores() throws {
        var table = sampleSMBIOS()
        table.processors = .init(sockets: 1, coresPerSocket: 255, threadsPerCore: 2)
        let processor = try #require(try parse(try table.files().structures).first { $0.type == 4 })
        #expect(Array(processor.formatted[0x23...0x25]) == [255, 255, 255])
        #expect(processor.formatted.little(UInt16.self, at: 0x26) == 0b11100)
        #expect([0x2A, 0x2C, 0x2E].map { processor.formatted.little(UInt16.self, at: $0) } == [255, 255, 510])
    }

    @Test("text that is not given has number 0, and text that is given twice is there once")
    func text() throws {
        var table = SMBIOSTable(processors: .init(sockets: 1), memory: .init(ranges: []))
        table.chassis = .init()
        table.chassis.manufacturer = nil
        table.chassis.version = ""
        table.baseboard.product = table.baseboard.manufacturer
        let bytes = try table.files().structures
        let structures = try parse(bytes)
        let chassis = try #require(structures.first { $0.type == 3 })
        #expect(chassis.strings.isEmpty)
        #expect([4, 6, 7, 8, 21].map { chassis.formatted[$0] } == [0, 0, 0, 0, 0])
        let baseboard = try #require(structures.first { $0.type == 2 })
        #expect(baseboard.strings == ["StratoVirt"])
        #expect(Array(baseboard.formatted[4...5]) == [1, 1])
    }

    @Test("UEFI firmware can be left to describe itself")
    func noFirmware() throws {
        var table = sampleSMBIOS()
        table.firmware = nil
        #expect(try parse(try table.files().structures).map(\.type).first == 1)
    }

    @Test(
        "what can't be described is refused in words, not by a trap",
        arguments: [
            Refusal("text of 256 characters", { $0.system.product = String(repeating: "x", count: 256) }),
            Refusal("text of a megabyte", { $0.memory.partNumber = String(repeating: "x", count: 1 << 20) }),
            Refusal("a prefix that is too long", { $0.processors.socketPrefix = String(repeating: "x", count: 255) }),
            Refusal("a zero byte", { $0.chassis.assetTag = "a\0b" }),
            Refusal("a line break", { $0.baseboard.location = "a\nb" }),
            Refusal("a letter that is not ASCII", { $0.firmware?.vendor = "Straße" }),
            Refusal("a short UUID", { $0.system.uuid = [1] }),
            Refusal("an empty UUID", { $0.system.uuid = [] }),
            Refusal("a long UUID", { $0.system.uuid = [UInt8](repeating: 0, count: 17) }),
            Refusal("no socket", { $0.processors.sockets = 0 }),
            Refusal("negative sockets", { $0.processors.sockets = .min }),
            Refusal("too many sockets", { $0.processors.sockets = .max }),
            Refusal("no core", { $0.processors.coresPerSocket = 0 }),
            Refusal("negative threads", { $0.processors.threadsPerCore = -1 }),
            Refusal("too many threads", { $0.processors.threadsPerCore = .max }),
            Refusal("65535 threads", { $0.processors.coresPerSocket = 65535 }),
            Refusal("memory without an end", { $0.memory.ranges = [PhysicalRange(base: .max, size: 2)] }),
            Refusal(
                "too much memory",
                { $0.memory.ranges = [PhysicalRange(base: 0, size: .max), PhysicalRange(base: 0, size: .max)] }),
            Refusal("memory of too many devices", { $0.memory.ranges = [PhysicalRange(base: 0, size: 1 << 63)] }),
            Refusal("too many ranges", { $0.memory.ranges = (0...4096).map { PhysicalRange(base: $0 << 12, size: 1) } }),
        ] as [Refusal<SMBIOSTable>])
    func refusals(refusal: Refusal<SMBIOSTable>) {
        var table = sampleSMBIOS()
        refusal.change(&table)
        let error = #expect(throws: FirmwareTableError.self) { try table.place() }
        #expect(error?.description.isEmpty == false)
        #expect(throws: FirmwareTableError.self) { try table.files() }
    }

    @Test("text of 255 characters and 254 sockets are not too much; what does not fit below 1 MiB is")
    func limits() throws {
        var table = sampleSMBIOS()
        table.system.product = String(repeating: "x", count: 255)
        table.processors.sockets = 254
        #expect(try #require(try table.place().last).end <= 0x10_0000)
        table.memory.ranges = [PhysicalRange(base: 0, size: 1 << 44)]
        #expect(throws: FirmwareTableError.self) { try table.place() }
        #expect(try table.files().structures.count > 0x1_0000)
    }

    static let dmidecode = Tool("dmidecode")

    @Test(
        "dmidecode reads every field as it was given, and finds nothing wrong",
        .enabled(if: dmidecode != nil, "dmidecode (Debian package dmidecode) is not installed"))
    func dump() throws {
        // A dump has the entry point at 0 and the structures where that says.
        let placed = try sampleSMBIOS().place(at: 0)
        #expect(placed[1].address == 32)
        let dump = placed[0].bytes + [UInt8](repeating: 0, count: 8) + placed[1].bytes
        let tool = try #require(SMBIOSTableTests.dmidecode)
        let (result, _) = try tool.run(["--from-dump", "dump"], files: ["dump": dump])
        #expect(result.status == 0)
        #expect(result.errors.isEmpty, "\(result.errors)")
        let words = result.words
        let expected: [String] = [
            "SMBIOS 3.0.0 present.",
            "BIOS Information Vendor: Vendor 0 Version: Version 0 Release Date: 02/03/2024",
            "BIOS characteristics not supported System is a virtual machine",
            "System Information Manufacturer: Maker 1 Product Name: Product 1 Version: Version 1 Serial Number: "
                + "Serial 1 UUID: 00010203-0405-0607-0809-0a0b0c0d0e0f Wake-up Type: Power Switch SKU Number: SKU 1 Family: "
                + "Family 1",
            "Base Board Information Manufacturer: Maker 2 Product Name: Product 2 Version: Version 2 Serial Number: "
                + "Serial 2 Asset Tag: Asset 2 Features: Board is a hosting board Location In Chassis: Location 2 Chassis "
                + "Handle: 0x0300 Type: Motherboard Contained Object Handles: 0",
            "Chassis Information Manufacturer: Maker 3 Type: Other Lock: Not Present Version: Version 3 Serial "
                + "Number: Serial 3 Asset Tag: Asset 3 Boot-up State: Safe Power Supply State: Safe Thermal State: Safe "
                + "Security Status: Unknown OEM Information: 0x00000000 Height: Unspecified Number Of Power Cords: "
                + "Unspecified Contained Elements: 0 SKU Number: SKU 3",
            "Processor Information Socket Designation: Socket 0 Type: Central Processor Family: Other Manufacturer: "
                + "Maker 4 ID: 57 06 05 00 FF FB 8B 0F Version: Version 4 Voltage: Unknown External Clock: Unknown Max "
                + "Speed: 4000 MHz Current Speed: 3000 MHz Status: Populated, Enabled",
            "Serial Number: Serial 4 Asset Tag: Asset 4 Part Number: Part 4 Core Count: 4 Core Enabled: 4 Thread "
                + "Count: 8 Characteristics: 64-bit capable Multi-Core Hardware Thread",
            "Socket Designation: Socket 1",
            "Physical Memory Array Location: Other Use: System Memory Error Correction Type: None Maximum Capacity: "
                + "20 GB Error Information Handle: Not Provided Number Of Devices: 2",
            "Memory Device Array Handle: 0x1000 Error Information Handle: Not Provided Total Width: 64 bits Data "
                + "Width: 64 bits Size: 16 GB Form Factor: DIMM Set: None Locator: Slot 0 Bank Locator: Bank 17 Type: RAM "
                + "Type Detail: Other Speed: 3200 MT/s Manufacturer: Maker 17 Serial Number: Serial 17 Asset Tag: Asset 17 "
                + "Part Number: Part 17 Rank: Unknown",
            "Size: 4 GB Form Factor: DIMM Set: None Locator: Slot 1",
            "Starting Address: 0x00000000000 Ending Address: 0x0007FFFFFFF Range Size: 2 GB Physical Array Handle: "
                + "0x1000 Partition Width: 1",
            "Starting Address: 0x00100000000 Ending Address: 0x0057FFFFFFF Range Size: 18 GB",
            "System Boot Information Status: No errors detected",
            "End Of Table",
        ]
        for text in expected {
            #expect(words.contains(text), "missing: \(text)\nin: \(words)")
        }
        for complaint in ["<OUT OF SPEC>", "<BAD INDEX>", "Wrong DMI", "Invalid", "truncated", "broken"] {
            #expect(!words.contains(complaint))
        }
    }
}
