/// The header that ACPI tables share, and who our tables say has made them (ACPI 6.5, 5.2.6).
package enum ACPITable {
    package static let headerSize = 36

    /// Where in a table its checksum stands.
    static let checksumOffset = 9

    static let oemIdentifier = "STRATO"
    static let oemTableIdentifier = "STRATOVT"
    static let creatorIdentifier = "STVT"

    /// A whole table: the header, then the body.
    package static func encode(signature: String, revision: UInt8, body: [UInt8]) -> [UInt8] {
        var table = TableBytes()
        table.append(text: signature, width: 4)
        table.append(UInt32(clamping: headerSize + body.count))
        table.append(revision)
        table.append(UInt8(0))
        table.append(text: oemIdentifier, width: 6)
        table.append(text: oemTableIdentifier, width: 8)
        table.append(UInt32(1))
        table.append(text: creatorIdentifier, width: 4)
        table.append(UInt32(1))
        table.append(body)
        table.setChecksum(at: checksumOffset, over: 0..<table.count)
        return table.bytes
    }
}

/// The differentiated system description table: AML that the operating system loads first (ACPI 6.5, 5.2.11.1).
package enum DSDT {
    /// From revision 2 on, integers in AML have 64 bits.
    package static func encode(_ aml: [UInt8]) -> [UInt8] {
        ACPITable.encode(signature: "DSDT", revision: 2, body: aml)
    }
}

/// The extended system description table: the addresses of the others (ACPI 6.5, 5.2.8).
package enum XSDT {
    package static func encode(_ addresses: [UInt64]) -> [UInt8] {
        var body = TableBytes()
        for address in addresses { body.append(address) }
        return ACPITable.encode(signature: "XSDT", revision: 1, body: body.bytes)
    }
}

/// The root system description pointer, revision 2 (ACPI 6.5, 5.2.5.3).
package enum RSDP {
    package static let size = 36

    /// What the part known to ACPI 1.0 covers; it has a checksum of its own.
    static let firstPartSize = 20

    static let firstChecksumOffset = 8
    static let xsdtOffset = 24
    static let checksumOffset = 32

    /// Found by a scan at multiples of this (5.2.5.1).
    package static let alignment: UInt64 = 16

    package static func encode(xsdt: UInt64) -> [UInt8] {
        var table = TableBytes()
        table.append(text: "RSD PTR ", width: 8)
        table.append(UInt8(0))
        table.append(text: ACPITable.oemIdentifier, width: 6)
        table.append(UInt8(2))
        table.append(UInt32(0))
        table.append(UInt32(size))
        table.append(xsdt)
        table.append(UInt8(0))
        table.append(zeros: 3)
        table.setChecksum(at: firstChecksumOffset, over: 0..<firstPartSize)
        table.setChecksum(at: checksumOffset, over: 0..<size)
        return table.bytes
    }
}
