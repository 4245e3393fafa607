/// The firmware ACPI control structure, version 2 (ACPI 6.5, 5.2.10): what the operating system and firmware share. It
/// has no checksum, for both write into it.
package enum FACS {
    package static let size = 64

    /// The address is a multiple of this.
    package static let alignment = 64

    private static let version: UInt8 = 2

    /// - Parameter hardwareSignature: changes with the machine's hardware, so that an image of another machine's memory is
    ///   not resumed on this one.
    /// - Returns: the structure.
    package static func encode(hardwareSignature: UInt32) -> [UInt8] {
        var table = TableBytes()
        table.append(text: "FACS", width: 4)
        table.append(UInt32(size))
        table.append(hardwareSignature)
        table.append(UInt32(0))  // The waking vector.
        table.append(UInt32(0))  // The global lock.
        table.append(UInt32(0))  // Flags: there is no S4BIOS, and no 64-bit wake.
        table.append(UInt64(0))  // The 64-bit waking vector.
        table.append(version)
        table.append(zeros: size - table.count)
        return table.bytes
    }
}
