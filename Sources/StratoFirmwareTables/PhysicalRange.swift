/// A range of guest physical addresses.
package struct PhysicalRange: Sendable, Equatable {
    package var base: UInt64

    /// In bytes.
    package var size: UInt64

    package init(base: UInt64, size: UInt64) {
        self.base = base
        self.size = size
    }

    /// The last address inside.
    ///
    /// - Throws: `FirmwareTableError` naming `subject` if the range is empty or does not end within 64 bits.
    package func last(of subject: String) throws(FirmwareTableError) -> UInt64 {
        guard size > 0 else {
            throw FirmwareTableError("\(subject) at \(hexadecimal(base)) is empty")
        }
        let (last, overflow) = base.addingReportingOverflow(size &- 1)
        guard !overflow else {
            throw FirmwareTableError(
                "\(subject) at \(hexadecimal(base)) of \(hexadecimal(size)) bytes goes beyond the last address")
        }
        return last
    }

    /// What is left of this range without another.
    ///
    /// - Throws: `FirmwareTableError` if one of them is empty or does not end within 64 bits.
    func removing(_ other: PhysicalRange) throws(FirmwareTableError) -> [PhysicalRange] {
        let end = try last(of: "an address range")
        let otherEnd = try other.last(of: "an address range")
        guard other.base <= end, base <= otherEnd else { return [self] }
        var rest: [PhysicalRange] = []
        if base < other.base { rest.append(PhysicalRange(base: base, size: other.base &- base)) }
        if otherEnd < end { rest.append(PhysicalRange(base: otherEnd &+ 1, size: end &- otherEnd)) }
        return rest
    }
}

/// A number as messages show addresses.
func hexadecimal(_ value: UInt64) -> String {
    "0x" + String(value, radix: 16, uppercase: true)
}
