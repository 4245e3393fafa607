/// Decides when a thread that serves requests is better woken late than at once, by what came of either.
///
/// Where a host's processors are busy, a thread that is woken for a request takes the processor from whoever makes the next
/// one, and requests are served one by one. Woken when that one has done its share, it finds many, and one round serves
/// them all. Whether more come does not show while each is served at once, so that it is tried now and then: a trial
/// that finds little ends after a few rounds, and the next is further away.
///
/// A thread that serves several has one moderation, which takes note of the rounds of all of them.
package struct WakeupModeration {
    /// Requests of a round that make it worth having waited for.
    private static let worthwhile = 8
    /// Rounds with fewer, in a row, that end a trial, and that end what a trial has begun.
    private static let trialPatience = 3
    private static let patience = 16
    /// Rounds between trials, at first and at most.
    private static let shortestInterval = 64
    private static let longestInterval = 1024

    /// Whether the thread is to be woken late.
    package private(set) var isDeferring = false
    private var isTrial = false
    private var poorRounds = 0
    private var interval = WakeupModeration.shortestInterval
    private var untilTrial = WakeupModeration.shortestInterval
    /// Whether it was begun, or a round was worth it, since `timePassed` was last called.
    private var isConfirmed = false

    package init() {}

    /// Takes note of a round.
    ///
    /// - Parameter count: requests that it served; 0 for one that was woken for nothing.
    /// - Returns: true if `isDeferring` has changed.
    @inline(__always)
    package mutating func served(_ count: Int) -> Bool {
        if !isDeferring {
            untilTrial &-= 1
            if untilTrial > 0 { return false }
        }
        return decide(count)
    }

    @inline(never)
    private mutating func decide(_ count: Int) -> Bool {
        guard isDeferring else {
            isDeferring = true
            isTrial = true
            poorRounds = 0
            isConfirmed = true
            return true
        }
        if count >= WakeupModeration.worthwhile {
            isTrial = false
            poorRounds = 0
            isConfirmed = true
            return false
        }
        if count > 0 { poorRounds += 1 }
        guard poorRounds >= (isTrial ? WakeupModeration.trialPatience : WakeupModeration.patience) else { return false }
        end()
        return true
    }

    /// Takes note that some time has passed, while the thread is woken late: whoever made it worth it may have gone, and no
    /// round would ever tell.
    ///
    /// - Returns: true if `isDeferring` has changed.
    package mutating func timePassed() -> Bool {
        guard isDeferring else { return false }
        if isConfirmed {
            isConfirmed = false
            return false
        }
        end()
        return true
    }

    private mutating func end() {
        isDeferring = false
        interval = isTrial ? min(interval * 2, WakeupModeration.longestInterval) : WakeupModeration.shortestInterval
        untilTrial = interval
    }
}
