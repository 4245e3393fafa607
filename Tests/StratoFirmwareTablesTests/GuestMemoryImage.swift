import StratoFirmwareTables
import Testing

/// Guest memory with tables in it, read as an operating system reads it.
struct GuestMemoryImage {
    private(set) var blocks: [PlacedBytes]

    init(_ blocks: [PlacedBytes]) {
        self.blocks = blocks
    }

    /// `count` bytes at an address that must lie in one block.
    func bytes(at address: UInt64, _ count: Int) throws -> [UInt8] {
        let block = try #require(
            blocks.first { $0.address <= address && address + UInt64(count) <= $0.end },
            "nothing at \(String(address, radix: 16))")
        let start = Int(address - block.address)
        return Array(block.bytes[start..<(start + count)])
    }

    /// The table at an address, as long as its header says.
    func table(at address: UInt64) throws -> [UInt8] {
        try bytes(at: address, Int(try bytes(at: address, 8).little(UInt32.self, at: 4)))
    }

    /// By the path that an operating system takes: the tables that the XSDT names, and the FACS and DSDT that the FADT names.
    struct Tables {
        let rsdp: [UInt8]
        let xsdt: [UInt8]
        let listed: [[UInt8]]
        let facsAddress: UInt64
        let facs: [UInt8]
        let dsdt: [UInt8]

        subscript(signature: String) -> [UInt8] {
            get throws {
                try #require(listed.first { $0.text(0..<4) == signature }, "no \(signature)")
            }
        }

        /// All but the RSDP.
        var all: [[UInt8]] { [xsdt, facs, dsdt] + listed }
    }

    func tables(rsdp address: UInt64) throws -> Tables {
        let rsdp = try bytes(at: address, 36)
        let xsdt = try table(at: rsdp.little(UInt64.self, at: 24))
        let listed = try stride(from: 36, to: xsdt.count, by: 8).map { try table(at: xsdt.little(UInt64.self, at: $0)) }
        let fadt = try #require(listed.first { $0.text(0..<4) == "FACP" })
        // Both addresses are there, and say the same.
        let facs = UInt64(fadt.little(UInt32.self, at: 36))
        #expect(fadt.little(UInt64.self, at: 132) == facs)
        let dsdt = UInt64(fadt.little(UInt32.self, at: 40))
        #expect(fadt.little(UInt64.self, at: 140) == dsdt)
        return Tables(
            rsdp: rsdp, xsdt: xsdt, listed: listed, facsAddress: facs, facs: try table(at: facs),
            dsdt: try table(at: dsdt))
    }
}
