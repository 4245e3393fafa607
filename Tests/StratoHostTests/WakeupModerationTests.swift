import StratoHost
import Testing

@Suite("Moderation of wake-ups")
struct WakeupModerationTests {
    /// Rounds with so many requests each, until the moderation changes its mind.
    private func rounds(of count: Int, until moderation: inout WakeupModeration, limit: Int = 5000) -> Int? {
        for round in 1...limit where moderation.served(count) { return round }
        return nil
    }

    /// Whether the moderation changes its mind as time passes.
    private func timeChanges(_ moderation: inout WakeupModeration) -> Bool { moderation.timePassed() }

    @Test("A thread that is woken at once finds one request a round, and is tried late after some rounds")
    func firstTrial() {
        var moderation = WakeupModeration()
        #expect(rounds(of: 1, until: &moderation) == 64)
        #expect(moderation.isDeferring)
    }

    @Test("A trial that finds little ends after three rounds, and each one after it is further away, up to 1024 rounds")
    func failingTrials() {
        var moderation = WakeupModeration()
        for expected in [64, 128, 256, 512, 1024, 1024, 1024] {
            #expect(rounds(of: 1, until: &moderation) == expected)
            #expect(moderation.isDeferring)
            #expect(rounds(of: 7, until: &moderation) == 3)
            #expect(!moderation.isDeferring)
        }
    }

    @Test("Where many come together the thread stays late, whatever single rounds find")
    func success() {
        var moderation = WakeupModeration()
        _ = rounds(of: 1, until: &moderation)
        #expect(rounds(of: 8, until: &moderation) == nil)
        for _ in 0..<100 {
            #expect(rounds(of: 1, until: &moderation, limit: 15) == nil)
            #expect(rounds(of: 30, until: &moderation, limit: 1) == nil)
        }
        #expect(moderation.isDeferring)
    }

    @Test("When no more come together it is woken at once again, and tried again as soon as at first")
    func end() {
        var moderation = WakeupModeration()
        for _ in 0..<5 {
            #expect(rounds(of: 1, until: &moderation) == 64)
            #expect(rounds(of: 32, until: &moderation, limit: 1) == nil)
            #expect(rounds(of: 1, until: &moderation) == 16)
            #expect(!moderation.isDeferring)
        }
    }

    @Test("Time alone ends what rounds don't confirm, and what they do only when they no longer come")
    func time() {
        var moderation = WakeupModeration()
        #expect(!timeChanges(&moderation))
        _ = rounds(of: 1, until: &moderation)
        // A trial has the time between two calls at least.
        #expect(!timeChanges(&moderation))
        #expect(moderation.isDeferring)
        for _ in 0..<5 {
            #expect(rounds(of: 8, until: &moderation, limit: 1) == nil)
            #expect(!timeChanges(&moderation))
        }
        #expect(rounds(of: 1, until: &moderation, limit: 3) == nil)
        #expect(timeChanges(&moderation))
        #expect(!moderation.isDeferring)
        #expect(!timeChanges(&moderation))
        #expect(rounds(of: 1, until: &moderation) == 64)
        // A trial of which nothing came.
        #expect(!timeChanges(&moderation))
        #expect(timeChanges(&moderation))
        #expect(rounds(of: 1, until: &moderation) == 128)
    }

    @Test("A thread that is woken for nothing is none the wiser")
    func nothing() {
        var moderation = WakeupModeration()
        _ = rounds(of: 1, until: &moderation)
        #expect(rounds(of: 0, until: &moderation) == nil)
        #expect(moderation.isDeferring)
    }
}
