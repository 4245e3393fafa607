internal import CStratoLinux
internal import Synchronization

/// How soon the scheduler runs a loop's thread that is woken: at once, or, where the processor is busy, when its turn has
/// come (SCHED_BATCH, sched(7)). On a processor that is idle it runs at once in either case.
package final class ThreadWakeups: Sendable {
    /// Whether the thread has a policy that may be changed.
    private let isAdjustable = Atomic(false)
    /// How many there are that want the thread to be woken late.
    private let deferringCount = Atomic(0)

    /// Makes the calling thread the one that is woken. A policy other than the usual one was chosen by somebody and stays.
    func adopt() {
        isAdjustable.store(csl_has_usual_policy(), ordering: .relaxed)
    }

    /// Counts one who wants the thread to be woken late in or out. On the loop's thread only.
    package func moderate(isDeferring: Bool) {
        let change = isDeferring ? 1 : -1
        let count = deferringCount.add(change, ordering: .relaxed).newValue
        guard (count > 0) != (count - change > 0), isAdjustable.load(ordering: .relaxed) else { return }
        // Where the policy may not be changed, it stays as it is.
        if csl_wake_late(count > 0) != 0 { isAdjustable.store(false, ordering: .relaxed) }
    }
}
