/// A register in one of ACPI's address spaces (ACPI 6.5, 5.2.3.2).
package struct GenericAddress: Sendable, Equatable {
    package enum Space: UInt8, Sendable {
        case systemMemory = 0
        case systemIO = 1
    }

    package var space: Space

    /// In bits.
    package var width: UInt8

    /// Bits of one access; anything but 8, 16, 32 and 64 leaves the choice to the operating system.
    package var accessWidth: UInt8

    package var address: UInt64

    /// A register that is accessed at its own width, or a block of registers with a width of theirs.
    package init(_ space: Space, width: UInt8, accessWidth: UInt8? = nil, address: UInt64) {
        self.space = space
        self.width = width
        self.accessWidth = accessWidth ?? width
        self.address = address
    }

    /// What stands for a register that is not there.
    package static let absent = GenericAddress(.systemMemory, width: 0, address: 0)

    func encode(to table: inout TableBytes) {
        let accessSize: UInt8 =
            switch accessWidth {
            case 8: 1
            case 16: 2
            case 32: 3
            case 64: 4
            default: 0
            }
        table.append(space.rawValue)
        table.append(width)
        table.append(UInt8(0))
        table.append(accessSize)
        table.append(address)
    }
}
