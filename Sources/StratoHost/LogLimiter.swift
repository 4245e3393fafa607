internal import CStratoLinux
internal import Glibc
internal import Synchronization

/// Lets a few lines per interval through to the log for one source, and counts the rest.
package final class LogLimiter: Sendable {
    private struct State {
        var windowStart: Int64 = .min
        var admitted = 0
        var suppressed: UInt64 = 0
    }

    private let source: String
    private let burst: Int
    private let intervalSeconds: Int64
    private let logger: Logger
    private let state = Mutex(State())

    /// - Parameters:
    ///   - source: the device or part that the lines come from; begins each line.
    ///   - logger: where the lines go.
    ///   - burst: lines let through per interval.
    ///   - intervalSeconds: the interval's length.
    package init(source: String, logger: Logger, burst: Int = 5, intervalSeconds: Int64 = 10) {
        self.source = source
        self.burst = burst
        self.intervalSeconds = intervalSeconds
        self.logger = logger
    }

    /// Logs the message unless the source has used its share of the interval.
    package func log(_ level: LogLevel, _ message: @autoclosure () -> String) {
        guard level <= logger.level else { return }
        var now = timespec()
        // SAFETY: the clock writes to a live variable.
        unsafe clock_gettime(CLOCK_MONOTONIC_COARSE, &now)
        let seconds = Int64(now.tv_sec)
        let decision: (admit: Bool, leftOut: UInt64) = state.withLock { state in
            var leftOut: UInt64 = 0
            if seconds &- state.windowStart >= intervalSeconds || state.windowStart == .min {
                state.windowStart = seconds
                state.admitted = 0
                leftOut = state.suppressed
                state.suppressed = 0
            }
            guard state.admitted < burst else {
                state.suppressed &+= 1
                return (false, leftOut)
            }
            state.admitted += 1
            return (true, leftOut)
        }
        if decision.leftOut > 0 {
            logger.log(level, "\(source): \(decision.leftOut) similar lines left out")
        }
        if decision.admit {
            logger.log(level, "\(source): \(message())")
        }
    }

    /// How many lines were left out since one was last let through.
    package var suppressedCount: UInt64 { state.withLock { $0.suppressed } }
}
