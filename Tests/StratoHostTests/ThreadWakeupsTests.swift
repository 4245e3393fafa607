import Glibc
import StratoHost
import Testing

/// The policies, as sched(7) numbers them.
private enum Policy {
    static let other: Int32 = 0
    static let batch: Int32 = 3
    static let idle: Int32 = 5
}

/// What the loop's thread finds of itself, after something was done there.
private func policy(_ thread: EventLoopThread, after body: @escaping @Sendable (EventLoop) -> Void = { _ in }) -> Int32 {
    let found = Monitor<Int32?>(nil)
    thread.loop.execute { [loop = thread.loop] in
        body(loop)
        found.update { $0 = sched_getscheduler(0) }
    }
    return found.wait(milliseconds: 20_000) { $0 } ?? -1
}

@Suite("Wake-ups of a loop's thread")
struct ThreadWakeupsTests {
    /// As many rounds of one request as it takes to try the thread late.
    private static let roundsToTrial = 64

    @Test("It is woken late after some rounds, at once after some with few requests")
    func rounds() throws {
        let thread = try EventLoopThread(name: "wakeups")
        #expect(policy(thread) == Policy.other)
        for _ in 0..<Self.roundsToTrial - 1 { thread.loop.execute { [loop = thread.loop] in loop.noteRound(serving: 1) } }
        #expect(policy(thread) == Policy.other)
        // In one piece of work, so that no time passes.
        let found = Monitor<[Int32]?>(nil)
        thread.loop.execute { [loop = thread.loop] in
            var policies: [Int32] = []
            for count in [1, 8, 1] + Array(repeating: 1, count: 15) {
                loop.noteRound(serving: count)
                policies.append(sched_getscheduler(0))
            }
            found.update { [policies] in $0 = policies }
        }
        let expected = Array(repeating: Policy.batch, count: 17) + [Policy.other]
        #expect(found.wait(milliseconds: 20_000) { $0 } == expected)
    }

    @Test("It is not left late when no rounds come any more")
    func silence() throws {
        let thread = try EventLoopThread(name: "wakeups")
        let late = policy(thread) { loop in for _ in 0..<Self.roundsToTrial { loop.noteRound(serving: 8) } }
        #expect(late == Policy.batch)
        for _ in 0..<1000 where policy(thread) != Policy.other { usleep(10_000) }
        #expect(policy(thread) == Policy.other)
    }

    @Test("Threads that it starts while it is woken late are woken at once")
    func children() throws {
        let thread = try EventLoopThread(name: "wakeups")
        let child = Monitor<Int32?>(nil)
        _ = policy(thread) { loop in
            for _ in 0..<Self.roundsToTrial { loop.noteRound(serving: 1) }
            #expect(sched_getscheduler(0) == Policy.batch)
            do {
                try HostThread.start(name: "child") { child.update { $0 = sched_getscheduler(0) } }.join()
            } catch {
                Issue.record("\(error)")
            }
        }
        #expect(child.wait(milliseconds: 20_000) { $0 } == Policy.other)
    }

    @Test("A policy that somebody chose for the process stays")
    func chosen() async {
        await #expect(processExitsWith: .success) {
            var parameters = sched_param()
            #expect(unsafe sched_setscheduler(0, Policy.idle, &parameters) == 0)
            let thread = try EventLoopThread(name: "wakeups")
            #expect(policy(thread) { loop in for _ in 0..<100 { loop.noteRound(serving: 1) } } == Policy.idle)
        }
    }
}
