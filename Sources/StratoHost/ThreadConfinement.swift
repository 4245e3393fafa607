/// What a thread gives up before it does anything else, and what becomes of it if it can't.
package struct ThreadConfinement: Sendable {
    private let filter: (@Sendable () -> SystemCallFilter)?
    private let ruleset: LandlockRuleset?
    private let onFailure: @Sendable (LinuxError) -> Void

    /// - Parameters:
    ///   - filter: of system calls, made by each thread for itself; nil for none.
    ///   - ruleset: of what the thread may do with files; nil for everything.
    ///   - onFailure: called by `enter` on the thread, which then ends, if the kernel does not take them.
    package init(
        filter: (@Sendable () -> SystemCallFilter)?, ruleset: LandlockRuleset?,
        onFailure: @escaping @Sendable (LinuxError) -> Void = { _ in }
    ) {
        self.filter = filter
        self.ruleset = ruleset
        self.onFailure = onFailure
    }

    /// Confines the calling thread.
    ///
    /// - Throws: `LinuxError`, and then the thread must do no more.
    package func apply() throws(LinuxError) {
        // No filter allows what sets the other up.
        try ruleset?.restrictThread()
        try filter?().install()
    }

    /// Confines the calling thread; false if that failed, and then the thread must do no more.
    func enter() -> Bool {
        do {
            try apply()
            return true
        } catch {
            onFailure(error)
            return false
        }
    }
}
