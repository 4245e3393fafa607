internal import CStratoLinux
internal import Glibc

/// The host's clock that nobody sets, for measuring with.
package enum MonotonicClock {
    /// A point in time, or an amount of it.
    package struct Instant: Sendable, Hashable {
        package let microseconds: Int64

        package init(microseconds: Int64) { self.microseconds = microseconds }
    }

    /// Now, since some point before the process began.
    package static var now: Instant { read(CLOCK_MONOTONIC) }

    /// What all threads of this process have used of processors.
    package static var processorTime: Instant { read(CLOCK_PROCESS_CPUTIME_ID) }

    private static func read(_ clock: clockid_t) -> Instant {
        var time = timespec()
        // SAFETY: the clock writes to a live variable.
        unsafe clock_gettime(clock, &time)
        return Instant(microseconds: Int64(time.tv_sec) &* 1_000_000 &+ Int64(time.tv_nsec) / 1000)
    }
}
