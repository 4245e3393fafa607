#if arch(x86_64)
internal import StratoMemory

/// How RAM lies on a PC: from 0 on, with a gap for devices that ends at 4 GiB.
enum PCMemory {
    /// Where RAM goes on behind the gap.
    static let highBase: UInt64 = 0x1_0000_0000

    /// - Parameters:
    ///   - size: in bytes, a multiple of 4 KiB.
    ///   - lowEnd: where the gap begins.
    /// - Returns: one range, or two with the gap between them.
    /// - Throws: `MachineError` if the size is not one that a machine can have.
    static func ranges(_ size: UInt64, lowEnd: UInt64) throws(MachineError) -> [GuestRange] {
        let low = min(size, lowEnd)
        let candidates = [
            GuestRange(base: GuestAddress(0), size: low), GuestRange(base: GuestAddress(highBase), size: size - low),
        ]
        let ranges = candidates.compactMap { $0 }
        guard !ranges.isEmpty else { throw MachineError("-m: a machine needs memory") }
        return ranges
    }
}
#endif
