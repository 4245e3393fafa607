package import StratoHost

/// What the threads of a machine give up.
package struct MachineConfinement: Sendable {
    /// They may ask no more of the kernel than they need.
    package var filtersSystemCalls = false

    /// What they may do with files of the host; nil for everything that the user may.
    package var ruleset: LandlockRuleset?

    package init() {}

    /// What a virtual CPU's thread enters; nil for nothing.
    var processor: ThreadConfinement? {
        thread(ThreadFilters.processor) { _ in }
    }

    /// What a thread enters that serves devices; nil for nothing.
    ///
    /// - Parameter onFailure: called on a thread that can't, and ends.
    package func inputOutput(onFailure: @escaping @Sendable (LinuxError) -> Void) -> ThreadConfinement? {
        thread(ThreadFilters.inputOutput, onFailure)
    }

    private func thread(
        _ filter: @escaping @Sendable () -> SystemCallFilter, _ onFailure: @escaping @Sendable (LinuxError) -> Void
    ) -> ThreadConfinement? {
        guard filtersSystemCalls || ruleset != nil else { return nil }
        return ThreadConfinement(filter: filtersSystemCalls ? filter : nil, ruleset: ruleset, onFailure: onFailure)
    }
}
