internal import StratoMemory

extension Bus {
    /// Puts a device at a place of the board.
    ///
    /// - Throws: `MachineError` where another is there.
    func insert(_ device: any BusDevice, at base: UInt64, size: UInt64) throws(MachineError) {
        guard let range = GuestRange(base: GuestAddress(base), size: size) else {
            throw MachineError("no range of \(size) bytes at \(base)")
        }
        try building { try insert(device, at: range) }
    }
}
