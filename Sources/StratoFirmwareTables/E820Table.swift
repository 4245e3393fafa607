/// The memory map that firmware gets through fw_cfg (file `etc/e820`): records of 20 bytes as INT 15H, E820H has them
/// (ACPI 6.5, 15.1).
package struct E820Table: Sendable, Equatable {
    package static let fileName = "etc/e820"

    /// Address range types (table 15.1).
    package enum Kind: UInt32, Sendable {
        case memory = 1
        case reserved = 2
    }

    package struct Entry: Sendable, Equatable {
        package var range: PhysicalRange
        package var kind: Kind

        package init(_ range: PhysicalRange, _ kind: Kind) {
            self.range = range
            self.kind = kind
        }
    }

    /// In any order; those that are empty are left out.
    package var entries: [Entry]

    package init(_ entries: [Entry]) {
        self.entries = entries
    }

    /// The file, in the order of addresses.
    ///
    /// - Throws: `FirmwareTableError` if entries overlap or go beyond the last address.
    package func encode() throws(FirmwareTableError) -> [UInt8] {
        var table = TableBytes()
        var previousLast: UInt64?
        for entry in entries.sorted(by: { $0.range.base < $1.range.base }) where entry.range.size > 0 {
            let last = try entry.range.last(of: "the memory range")
            if let previousLast, entry.range.base <= previousLast {
                throw FirmwareTableError("the memory range at \(hexadecimal(entry.range.base)) overlaps the one below it")
            }
            previousLast = last
            table.append(entry.range.base)
            table.append(entry.range.size)
            table.append(entry.kind.rawValue)
        }
        return table.bytes
    }
}
