/// The system resource affinity table (ACPI 6.5, 5.2.16): which processors and which memory are near to each other.
package enum SRAT {
    private static let revision: UInt8 = 3
    private static let isEnabled: UInt32 = 1

    /// The highest id that an entry of the local APIC (type 0) can name.
    private static let highestLocalAPIC: UInt32 = 254

    private enum EntryType {
        static let localAPIC: UInt8 = 0
        static let memory: UInt8 = 1
        static let extendedLocalAPIC: UInt8 = 2
    }

    /// - Parameters:
    ///   - nodes: number n is proximity domain n.
    ///   - apicIDs: what the nodes' processor numbers stand for; a number that it lacks has no entry.
    /// - Returns: the table.
    package static func encode(_ nodes: [NUMANode], apicIDs: [UInt32]) -> [UInt8] {
        var body = TableBytes()
        body.append(UInt32(1))  // Reserved; 1 for the sake of old readers.
        body.append(zeros: 8)
        for (domain, node) in nodes.enumerated() {
            let domain = UInt32(truncatingIfNeeded: domain)
            for number in node.processors where apicIDs.indices.contains(number) {
                appendProcessor(apicIDs[number], domain, to: &body)
            }
            for range in node.memory {
                appendMemory(range, domain, to: &body)
            }
        }
        return ACPITable.encode(signature: "SRAT", revision: revision, body: body.bytes)
    }

    private static func appendProcessor(_ identifier: UInt32, _ domain: UInt32, to body: inout TableBytes) {
        if identifier <= highestLocalAPIC {
            body.append(EntryType.localAPIC)
            body.append(UInt8(16))
            body.append(UInt8(truncatingIfNeeded: domain))
            body.append(UInt8(truncatingIfNeeded: identifier))
            body.append(isEnabled)
            body.append(UInt8(0))  // The local SAPIC's.
            body.append(UInt8(truncatingIfNeeded: domain >> 8))
            body.append(UInt16(truncatingIfNeeded: domain >> 16))
            body.append(UInt32(0))  // The clock domain.
        } else {
            body.append(EntryType.extendedLocalAPIC)
            body.append(UInt8(24))
            body.append(UInt16(0))
            body.append(domain)
            body.append(identifier)
            body.append(isEnabled)
            body.append(UInt32(0))  // The clock domain.
            body.append(UInt32(0))
        }
    }

    private static func appendMemory(_ range: PhysicalRange, _ domain: UInt32, to body: inout TableBytes) {
        body.append(EntryType.memory)
        body.append(UInt8(40))
        body.append(domain)
        body.append(UInt16(0))
        body.append(range.base)
        body.append(range.size)
        body.append(UInt32(0))
        body.append(isEnabled)
        body.append(UInt64(0))
    }
}
