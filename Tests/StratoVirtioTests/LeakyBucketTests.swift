import Synchronization
import Testing

@testable import StratoVirtio

/// A clock that goes on when the test says so.
private final class TestClock: Sendable {
    private let time = Atomic<Int64>(1_000_000_000)

    var now: Int64 { time.load(ordering: .relaxed) }

    func advance(milliseconds: Int) { time.add(Int64(milliseconds) * 1000, ordering: .relaxed) }
    func advance(microseconds: Int) { time.add(Int64(microseconds), ordering: .relaxed) }
}

@Suite struct LeakyBucketTests {
    @Test("a second's worth may come at once, then as many as leak out")
    func rate() {
        let clock = TestClock()
        let bucket = LeakyBucket(rate: 100) { clock.now }
        #expect(bucket.take(upTo: 60) == 60)
        #expect(bucket.take(upTo: 60) == 40)
        #expect(bucket.take(upTo: 1) == 0)
        #expect(bucket.waitMilliseconds == 11)
        clock.advance(milliseconds: 9)
        #expect(bucket.take(upTo: 1) == 0)
        #expect(bucket.waitMilliseconds == 2)
        clock.advance(milliseconds: 1)
        #expect(bucket.waitMilliseconds == 1)
        #expect(bucket.take(upTo: 5) == 1)
        clock.advance(milliseconds: 250)
        #expect(bucket.take(upTo: 1000) == 25)
        // However long nothing comes, no more than a second's worth is saved up.
        clock.advance(milliseconds: 3_600_000)
        #expect(bucket.take(upTo: 1000) == 100)
    }

    @Test("what was taken and not needed can be given back, and no more than that")
    func giveBack() {
        let clock = TestClock()
        let bucket = LeakyBucket(rate: 10) { clock.now }
        #expect(bucket.take(upTo: 8) == 8)
        bucket.giveBack(5)
        #expect(bucket.take(upTo: 100) == 7)
        bucket.giveBack(1000)
        bucket.giveBack(0)
        bucket.giveBack(-1)
        #expect(bucket.take(upTo: 100) == 10)
        #expect(bucket.take(upTo: -1) == 0)
    }

    @Test("over ten seconds of every rate as many pass as should", arguments: [1, 3, 1000, 999_999, 1_000_000])
    func longRun(rate: Int) {
        let clock = TestClock()
        let bucket = LeakyBucket(rate: rate) { clock.now }
        var passed = bucket.take(upTo: .max)
        #expect(passed == rate)
        for _ in 0..<100_000 {
            clock.advance(microseconds: 100)
            passed += bucket.take(upTo: rate)
        }
        #expect(passed == rate * 11)
    }
}
