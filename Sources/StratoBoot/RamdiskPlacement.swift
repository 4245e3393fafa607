/// Where an initial RAM disk goes.
enum RamdiskPlacement {
    static let pageSize: UInt64 = 4096

    /// The highest page-aligned address from which on `size` bytes end at or below `ceiling` and meet none of the kernel.
    ///
    /// - Parameters:
    ///   - size: in bytes, at least 1.
    ///   - floor: the lowest address to use.
    ///   - ceiling: the address behind the last byte that can be used.
    ///   - kernel: what the kernel occupies, not empty.
    /// - Returns: nil if there is no such place.
    static func address(size: UInt64, floor: UInt64, ceiling: UInt64, kernel: Range<UInt64>) -> UInt64? {
        func highest(below limit: UInt64, above bottom: UInt64) -> UInt64? {
            guard limit >= size else { return nil }
            let address = (limit - size) & ~(pageSize - 1)
            return address >= bottom ? address : nil
        }
        return highest(below: ceiling, above: max(floor, kernel.upperBound))
            ?? highest(below: min(ceiling, kernel.lowerBound), above: floor)
    }
}
