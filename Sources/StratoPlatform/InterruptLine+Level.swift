internal import StratoMemory

extension InterruptLine {
    /// Sets the line's level where it differs from what it was last set to.
    func updateLevel(_ current: inout Bool, _ wanted: Bool) {
        guard current != wanted else { return }
        restoreLevel(&current, wanted)
    }

    /// Sets the line's level whatever it was before, which belongs to another state.
    func restoreLevel(_ current: inout Bool, _ wanted: Bool) {
        current = wanted
        setLevel(wanted)
    }
}
