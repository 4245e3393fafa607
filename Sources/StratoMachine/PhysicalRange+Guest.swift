internal import StratoFirmwareTables
internal import StratoMemory

extension PhysicalRange {
    /// A range of guest memory as tables describe it.
    init(_ range: GuestRange) {
        self.init(base: range.base.value, size: range.size)
    }
}
