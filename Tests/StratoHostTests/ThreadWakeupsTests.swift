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
    @Test("It is woken late while there is anybody who wants that")
    func counted() throws {
        let thread = try EventLoopThread(name: "wakeups")
        #expect(policy(thread) == Policy.other)
        #expect(policy(thread) { $0.wakeups.moderate(isDeferring: true) } == Policy.batch)
        #expect(policy(thread) { $0.wakeups.moderate(isDeferring: true) } == Policy.batch)
        #expect(policy(thread) { $0.wakeups.moderate(isDeferring: false) } == Policy.batch)
        #expect(policy(thread) { $0.wakeups.moderate(isDeferring: false) } == Policy.other)
    }

    @Test("Threads that it starts while it is woken late are woken at once")
    func children() throws {
        let thread = try EventLoopThread(name: "wakeups")
        let child = Monitor<Int32?>(nil)
        _ = policy(thread) { loop in
            loop.wakeups.moderate(isDeferring: true)
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
            #expect(policy(thread) { $0.wakeups.moderate(isDeferring: true) } == Policy.idle)
        }
    }
}
