import StratoFirmwareTables
import Testing

@Suite("MP table")
struct MPTableTests {
    /// The entries behind the header, by type.
    func entries(_ block: [UInt8]) throws -> [(type: UInt8, bytes: [UInt8])] {
        let header = Array(block[16...])
        var offset = 44
        var entries: [(type: UInt8, bytes: [UInt8])] = []
        for _ in 0..<header.little(UInt16.self, at: 34) {
            let size = header[offset] == 0 ? 20 : 8
            entries.append((header[offset], Array(header[offset..<(offset + size)])))
            offset += size
        }
        #expect(offset == Int(header.little(UInt16.self, at: 4)))
        return entries
    }

    @Test("the table of one processor is this, byte by byte")
    func one() throws {
        let placed = try MPTable(apicIDs: [0]).place()
        #expect(placed.address == 0x9FC00)
        #expect(placed.bytes.count == 0x400)
        let pointer = Array(placed.bytes[..<16])
        #expect(Array(pointer[..<10]) == Array("_MP_".utf8) + [0x10, 0xFC, 0x09, 0x00, 1, 4])
        #expect(pointer[11...].allSatisfy { $0 == 0 })
        #expect(TableBytes.sum(pointer) == 0)
        let header = Array(placed.bytes[16..<60])
        #expect(header.text(0..<4) == "PCMP")
        #expect(header[6] == 4)
        #expect(header.text(8..<28) == "STRATO  1.0         ")
        #expect(header.little(UInt32.self, at: 36) == 0xFEE0_0000)
        let size = Int(header.little(UInt16.self, at: 4))
        #expect(TableBytes.sum(placed.bytes[16..<(16 + size)]) == 0)
        #expect(placed.bytes[(16 + size)...].allSatisfy { $0 == 0 })

        let entries = try entries(placed.bytes)
        #expect(entries.map(\.type) == [0, 1, 2] + [UInt8](repeating: 3, count: 16) + [4, 4])
        #expect(entries[0].bytes == [0, 0, 0x14, 3, 0, 6, 0, 0, 0x01, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        #expect(entries[1].bytes == [1, 0] + Array("ISA   ".utf8))
        #expect(entries[2].bytes == [2, 2, 0x11, 1, 0x00, 0x00, 0xC0, 0xFE])
        for number in 0..<UInt8(16) {
            #expect(entries[3 + Int(number)].bytes == [3, 0, 0, 0, 0, number, 2, number])
        }
        #expect(entries[19].bytes == [4, 3, 0, 0, 0, 0, 0, 0])
        #expect(entries[20].bytes == [4, 1, 0, 0, 0, 0, 0xFF, 1])
    }

    @Test("each processor is named, one of them is the boot processor, checksums are right", arguments: [2, 8, 40, 41, 253, 254])
    func many(processors: Int) throws {
        let placed = try MPTable(apicIDs: (0..<UInt32(processors)).map { $0 }).place()
        let size = Int(placed.bytes.little(UInt16.self, at: 20))
        #expect(TableBytes.sum(placed.bytes[..<16]) == 0)
        #expect(TableBytes.sum(placed.bytes[16..<(16 + size)]) == 0)
        #expect(UInt64(placed.bytes.little(UInt32.self, at: 4)) == placed.address + 16)
        let entries = try entries(placed.bytes)
        let processorEntries = entries.filter { $0.type == 0 }.map(\.bytes)
        #expect(processorEntries.map { Int($0[1]) } == Array(0..<processors))
        #expect(processorEntries.map { $0[3] } == [3] + [UInt8](repeating: 1, count: processors - 1))
        let ioAPIC = try #require(entries.first { $0.type == 2 }).bytes[1]
        #expect(ioAPIC != 255)
        #expect(!processorEntries.contains { $0[1] == ioAPIC })
    }

    @Test("it moves to the BIOS area where its KiB of base memory does not suffice, and is found by the scan there")
    func placement() throws {
        let last = try MPTable(apicIDs: (0..<UInt32(40)).map { $0 })
        let first = try MPTable(apicIDs: (0..<UInt32(41)).map { $0 })
        #expect(last.size <= 0x400)
        #expect(try last.place().address == 0x9FC00)
        #expect(first.size > 0x400)
        let placed = try first.place()
        #expect(placed.address == 0xF0000)
        #expect(placed.end <= 0x100000)
        #expect(placed.bytes.text(0..<4) == "_MP_")
    }

    @Test(
        "the I/O APIC's id is one more than the processors, or else the highest that is free",
        arguments: [
            ([0], 2), ([0, 1], 3), ([0, 2, 4, 5], 254), (Array(0...252), 254), (Array(0...253), 254),
            ((0...254).filter { $0 != 7 }, 7),
        ] as [([UInt32], UInt8)])
    func ioAPICIdentifier(apicIDs: [UInt32], expected: UInt8) throws {
        #expect(try MPTable(apicIDs: apicIDs).ioAPICIdentifier == expected)
        #expect(InterruptControllerIdentifier.free(beside: apicIDs) == expected)
    }

    @Test("ids that the table cannot name are left out; without a boot processor or a free id there is no table")
    func limits() throws {
        #expect(try MPTable(apicIDs: [0, 254, 255, 300]).apicIDs == [0, 254])
        #expect(throws: FirmwareTableError.self) { try MPTable(apicIDs: []) }
        #expect(throws: FirmwareTableError.self) { try MPTable(apicIDs: [255]) }
        #expect(throws: FirmwareTableError.self) { try MPTable(apicIDs: (0...254).map { $0 }) }
    }
}
