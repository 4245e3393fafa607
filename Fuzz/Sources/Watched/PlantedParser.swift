/// A parser that is wrong on purpose: what finds nothing here would find nothing anywhere. It traps as our own code would, by an
/// overflow, which one input in four billion reaches.
package enum PlantedParser {
    private static let magic: [UInt8] = Array("trap".utf8)

    /// The length that a header of four known bytes is followed by.
    package static func parse(_ bytes: [UInt8]) -> UInt8? {
        for (index, expected) in magic.enumerated() {
            guard index < bytes.count, bytes[index] == expected else { return nil }
        }
        return UInt8.max + UInt8(clamping: bytes.count)
    }
}
