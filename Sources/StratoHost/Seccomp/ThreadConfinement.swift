/// A filter that a thread enters before it does anything else, and what becomes of it if it can't.
package struct ThreadConfinement: Sendable {
    private let filter: @Sendable () -> SystemCallFilter
    private let onFailure: @Sendable (LinuxError) -> Void

    /// - Parameters:
    ///   - filter: made by each thread for itself.
    ///   - onFailure: called on the thread, which then ends, if the kernel does not take the filter.
    package init(
        _ filter: @escaping @Sendable () -> SystemCallFilter, onFailure: @escaping @Sendable (LinuxError) -> Void
    ) {
        self.filter = filter
        self.onFailure = onFailure
    }

    /// Confines the calling thread; false if that failed, and then the thread must do no more.
    func enter() -> Bool {
        do {
            try filter().install()
            return true
        } catch {
            onFailure(error)
            return false
        }
    }
}
