/// The system locality distance information table (ACPI 6.5, 5.2.17): how far proximity domains are from each other.
package enum SLIT {
    /// What a domain is from itself; all other distances are relative to this and greater.
    package static let local: UInt8 = 10

    private static let revision: UInt8 = 1

    /// - Parameter distances: a square: row n has the distances from domain n; 255 means that there is no way.
    /// - Returns: the table.
    /// - Throws: `FirmwareTableError` if it is not a square, if a domain is not 10 from itself, or if another distance is not above 10.
    package static func encode(_ distances: [[UInt8]]) throws(FirmwareTableError) -> [UInt8] {
        var body = TableBytes()
        body.append(UInt64(distances.count))
        for (from, row) in distances.enumerated() {
            guard row.count == distances.count else {
                throw FirmwareTableError(
                    "NUMA node \(from) has \(row.count) distances, but there are \(distances.count) nodes")
            }
            for (to, distance) in row.enumerated() {
                guard from == to ? distance == local : distance > local else {
                    throw FirmwareTableError(
                        "the distance from NUMA node \(from) to \(to) is \(distance); a node is 10 from itself and 11...255 from others"
                    )
                }
            }
            body.append(row)
        }
        return ACPITable.encode(signature: "SLIT", revision: revision, body: body.bytes)
    }
}
