internal import CStratoLinux
internal import Glibc

/// The host's clock on the wall, which people may set at any time: for what is shown, never to measure with.
package enum WallClock {
    /// Microseconds since 1970 in UTC.
    package static var microseconds: Int64 {
        var now = timespec()
        // SAFETY: the clock writes to a live variable.
        unsafe clock_gettime(CLOCK_REALTIME, &now)
        return Int64(now.tv_sec) &* 1_000_000 &+ Int64(now.tv_nsec) / 1000
    }
}
