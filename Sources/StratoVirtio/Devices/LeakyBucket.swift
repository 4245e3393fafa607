internal import StratoHost
internal import Synchronization

/// Lets so many requests a second through, whatever comes at once: each puts a drop into a bucket that leaks at that rate and
/// holds what leaks in a second.
///
/// A device's queues share one. Queues take drops for as many requests as they are about to look for, and give back what they
/// did not need, so that it is asked once per notification.
final class LeakyBucket: Sendable {
    private struct State {
        /// Drops in the bucket, in millionths: what leaks in a microsecond is then the rate.
        var level: Int64 = 0
        /// When the level was right, in microseconds.
        var time: Int64
    }

    private static let drop: Int64 = 1_000_000

    private let rate: Int64
    private let now: @Sendable () -> Int64
    private let state: Mutex<State>

    /// - Parameters:
    ///   - rate: drops a second, 1...1 000 000.
    ///   - now: a clock in microseconds that never goes back.
    init(rate: Int, now: @escaping @Sendable () -> Int64 = { MonotonicClock.now.microseconds }) {
        self.rate = Int64(min(max(1, rate), 1_000_000))
        self.now = now
        state = Mutex(State(time: now()))
    }

    /// Takes up to `count` drops; returns how many, 0 for a bucket that is full.
    func take(upTo count: Int) -> Int {
        state.withLock { state in
            leak(&state)
            let room = (rate &* LeakyBucket.drop &- state.level) / LeakyBucket.drop
            let taken = min(Int64(max(0, count)), room)
            state.level &+= taken &* LeakyBucket.drop
            return Int(taken)
        }
    }

    /// Gives back what `take` gave and nobody needed.
    func giveBack(_ count: Int) {
        guard count > 0 else { return }
        state.withLock { state in
            state.level -= min(state.level, Int64(count) &* LeakyBucket.drop)
        }
    }

    /// When there is room for another drop, in milliseconds from now, rounded up; at least 1.
    var waitMilliseconds: Int {
        state.withLock { state in
            leak(&state)
            let free = rate &* LeakyBucket.drop &- state.level
            guard free < LeakyBucket.drop else { return 1 }
            return Int((LeakyBucket.drop - free) / rate / 1000) + 1
        }
    }

    private func leak(_ state: inout State) {
        let now = now()
        // After a second it is empty, however full it was, and no product is too large.
        let elapsed = min(max(0, now &- state.time), 1_000_000)
        state.time = max(now, state.time)
        state.level -= min(state.level, elapsed &* rate)
    }
}
