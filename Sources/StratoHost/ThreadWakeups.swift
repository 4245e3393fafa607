internal import CStratoLinux
internal import Synchronization

/// How soon the scheduler runs a loop's thread that is woken: at once, or, where the processor is busy, when its turn has
/// come (SCHED_BATCH, sched(7)). On a processor that is idle it runs at once in either case.
///
/// All but `adopt` on the loop's thread, whose policy it is.
final class ThreadWakeups: Sendable {
    private struct State {
        var moderation = WakeupModeration()
        /// Whether the thread has a policy that may be changed.
        var isAdjustable = false
        var isClockRunning = false

        mutating func apply() {
            guard csl_wake_late(moderation.isDeferring) != 0 else { return }
            // Where the policy may not be changed, it stays as it is.
            isAdjustable = false
            moderation = WakeupModeration()
        }
    }

    /// How often `timePassed` is to be called, while it is.
    static let clockMilliseconds = 100

    private let state = Mutex(State())

    /// Makes the calling thread the one that is woken. A policy other than the usual one was chosen by somebody and stays.
    func adopt() {
        state.withLock { $0.isAdjustable = csl_has_usual_policy() }
    }

    /// Takes note of a round of one whom the thread serves.
    ///
    /// - Parameter count: requests that it served.
    /// - Returns: true if `timePassed` is to be called, in `clockMilliseconds`.
    @inline(__always)
    func served(_ count: Int) -> Bool {
        state.withLock { state in
            guard state.isAdjustable else { return false }
            if state.moderation.served(count) { state.apply() }
            guard state.moderation.isDeferring, !state.isClockRunning else { return false }
            state.isClockRunning = true
            return true
        }
    }

    /// - Returns: true if it is to be called once more, in `clockMilliseconds`.
    func timePassed() -> Bool {
        state.withLock { state in
            if state.moderation.timePassed() { state.apply() }
            state.isClockRunning = state.moderation.isDeferring
            return state.isClockRunning
        }
    }
}
