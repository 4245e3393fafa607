import Foundation
import Synchronization
import Testing

@testable import StratoHost

@Suite struct EventLoopTests {
    @Test("A handler is called on the loop's thread for as long as its descriptor is ready, and not after it was drained")
    func levelTriggered() throws {
        let thread = try EventLoopThread(name: "loop")
        defer { thread.stop() }
        let pipe = TestPipe()
        let calls = Collector<Bool>()
        let reader = pipe.reader
        let registration = try thread.loop.register(reader, for: .readable) { [loop = thread.loop] ready in
            calls.append(loop.isCurrent && ready.contains(.readable))
            var byte: UInt8 = 0
            _ = read(reader, &byte, 1)
        }
        writeAll(pipe.writer, [1, 2, 3])
        eventually { calls.count == 3 }
        thread.loop.runBlocking {}
        #expect(calls.elements == [true, true, true])
        thread.loop.unregister(registration)
    }

    @Test("A descriptor that is watched for nothing is left alone, even though it hung up")
    func watchedForNothing() throws {
        let loop = try EventLoop(name: "loop")
        let pipe = TestPipe()
        // A hang-up is what the kernel reports whatever it was asked for.
        pipe.closeWriter()
        let turns = Atomic(0)
        let registration = try loop.register(pipe.reader, for: []) { _ in turns.add(1, ordering: .relaxed) }
        loop.schedule(afterMilliseconds: 20) { loop.stop() }
        loop.run()
        #expect(turns.load(ordering: .relaxed) == 0)
        loop.unregister(registration)
    }

    @Test("A hang-up is told where it is watched for alone")
    func hangUpAlone() throws {
        let thread = try EventLoopThread(name: "loop")
        defer { thread.stop() }
        let pipe = TestPipe()
        let seen = Collector<EventLoop.Interest>()
        let registration = try thread.loop.register(pipe.reader, for: []) { ready in seen.append(ready) }
        writeAll(pipe.writer, [1])
        try thread.loop.modify(registration, for: .hangUp)
        thread.loop.runBlocking {}
        #expect(seen.elements.isEmpty)
        pipe.closeWriter()
        eventually { seen.count > 0 }
        #expect(seen.elements.first == .hangUp)
        thread.loop.unregister(registration)
    }

    @Test("An event of the same batch does not reach a later registration of the same descriptor number")
    func staleEvents() throws {
        let loop = try EventLoop(name: "stale")
        let first = TestPipe()
        let second = TestPipe()
        writeAll(first.writer, [1])
        writeAll(second.writer, [1])
        let wrong = Atomic(0)
        let right = Atomic(0)
        let registrations = Mutex<[EventLoop.Registration]>([])
        // Both are ready in the first batch. Whichever comes first replaces both descriptors by empty pipes of the same
        // numbers; nothing may be told of those.
        let replacement = TestPipe()
        let handler: @Sendable (EventLoop.Interest) -> Void = { [first, second] _ in
            right.add(1, ordering: .relaxed)
            for registration in registrations.withLock({ $0 }) { loop.unregister(registration) }
            for number in [first.reader, second.reader] {
                dup2(replacement.reader, number)
                do {
                    let new = try loop.register(number, for: .readable) { _ in wrong.add(1, ordering: .relaxed) }
                    registrations.withLock { $0.append(new) }
                } catch {
                    Issue.record("\(error)")
                }
            }
        }
        let both = try [first.reader, second.reader].map { try loop.register($0, for: .readable, handler) }
        registrations.withLock { $0 = both }
        loop.schedule(afterMilliseconds: 50) { loop.stop() }
        loop.run()
        #expect(right.load(ordering: .relaxed) == 1)
        #expect(wrong.load(ordering: .relaxed) == 0)
        // They hold the loop, which holds them.
        for registration in registrations.withLock({ $0 }) { loop.unregister(registration) }
        registrations.withLock { $0 = [] }
    }

    @Test("A handler may end its own registration, and is not called again")
    func unregisterFromInside() throws {
        let thread = try EventLoopThread(name: "loop")
        defer { thread.stop() }
        let pipe = TestPipe()
        let calls = Atomic(0)
        let own = Mutex<EventLoop.Registration?>(nil)
        let registration = try thread.loop.register(pipe.reader, for: []) { [loop = thread.loop] _ in
            calls.add(1, ordering: .relaxed)
            if let registration = own.withLock({ $0 }) {
                loop.unregister(registration)
                loop.unregister(registration)
            }
        }
        own.withLock { $0 = registration }
        try thread.loop.modify(registration, for: .readable)
        writeAll(pipe.writer, [1])
        eventually { calls.load(ordering: .relaxed) == 1 }
        thread.loop.runBlocking {}
        thread.loop.runBlocking {}
        #expect(calls.load(ordering: .relaxed) == 1)
        #expect(throws: LinuxError.self) { try thread.loop.modify(registration, for: .readable) }
        // Its handler holds it.
        own.withLock { $0 = nil }
    }

    @Test("Once unregister has returned on another thread, the handler is neither running nor run again")
    func unregisterRaces() throws {
        let thread = try EventLoopThread(name: "loop")
        defer { thread.stop() }
        for _ in 0..<300 {
            let pipe = TestPipe()
            let isOver = Atomic(false)
            let late = Atomic(0)
            let calls = Atomic(0)
            writeAll(pipe.writer, [1])
            let registration = try thread.loop.register(pipe.reader, for: .readable) { _ in
                calls.add(1, ordering: .relaxed)
                for _ in 0..<50 {
                    if isOver.load(ordering: .sequentiallyConsistent) { late.add(1, ordering: .relaxed) }
                }
            }
            if Bool.random() { eventually { calls.load(ordering: .relaxed) > 0 } }
            thread.loop.unregister(registration)
            isOver.store(true, ordering: .sequentiallyConsistent)
            thread.loop.runBlocking {}
            #expect(late.load(ordering: .relaxed) == 0)
        }
    }

    @Test("Many threads may register, modify and unregister at once")
    func concurrentRegistration() throws {
        let thread = try EventLoopThread(name: "loop")
        defer { thread.stop() }
        let failures = Collector<String>()
        let workers = try (0..<4).map { index in
            try HostThread.start(name: "worker\(index)") { [loop = thread.loop] in
                for _ in 0..<200 {
                    let pipe = TestPipe()
                    let calls = Atomic(0)
                    do {
                        let registration = try loop.register(pipe.writer, for: []) { _ in calls.add(1, ordering: .relaxed) }
                        try loop.modify(registration, for: .writable)
                        eventually { calls.load(ordering: .relaxed) > 0 }
                        loop.unregister(registration)
                    } catch {
                        failures.append("\(error)")
                    }
                }
            }
        }
        for worker in workers { worker.join() }
        #expect(failures.elements.isEmpty)
    }

    @Test("A descriptor that was closed too early does not take a later one of its number away")
    func closedTooEarly() throws {
        let thread = try EventLoopThread(name: "loop")
        defer { thread.stop() }
        let first = TestPipe()
        let number = first.reader
        let early = try thread.loop.register(number, for: .readable) { _ in }
        let second = TestPipe()
        dup2(second.reader, number)
        let calls = Atomic(0)
        let late = try thread.loop.register(number, for: .readable) { _ in calls.add(1, ordering: .relaxed) }
        thread.loop.unregister(early)
        writeAll(second.writer, [1])
        eventually { calls.load(ordering: .relaxed) > 0 }
        thread.loop.unregister(late)
    }

    @Test("What can't be polled is refused, and what is watched already too")
    func refusals() throws {
        let directory = try TemporaryDirectory()
        let loop = try EventLoop(name: "loop")
        let file = open(directory.file("regular"), O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        defer { close(file) }
        for interest in [EventLoop.Interest.readable, []] {
            #expect(throws: LinuxError(code: EPERM, operation: "watch descriptor \(file) in loop")) {
                _ = try loop.register(file, for: interest) { _ in }
            }
        }
        let pipe = TestPipe()
        let registration = try loop.register(pipe.reader, for: .readable) { _ in }
        #expect(throws: LinuxError(code: EEXIST, operation: "watch descriptor \(pipe.reader) in loop")) {
            _ = try loop.register(pipe.reader, for: .readable) { _ in }
        }
        loop.unregister(registration)
        #expect(throws: LinuxError(code: EBADF, operation: "watch descriptor -1 in loop")) {
            _ = try loop.register(-1, for: .readable) { _ in }
        }
    }

    @Test("Work runs in the order it was handed in, from whichever thread")
    func workInOrder() throws {
        let thread = try EventLoopThread(name: "loop")
        defer { thread.stop() }
        let order = Collector<Int>()
        for index in 0..<1000 { thread.loop.execute { order.append(index) } }
        thread.loop.runBlocking {}
        #expect(order.elements == Array(0..<1000))
    }

    @Test("Work that hands in more work does not keep descriptors and timers waiting")
    func workDoesNotStarve() throws {
        let loop = try EventLoop(name: "loop")
        let isOver = Atomic(false)
        @Sendable func again() {
            if !isOver.load(ordering: .relaxed) { loop.execute(again) }
        }
        let pipe = TestPipe()
        writeAll(pipe.writer, [1])
        let registration = try loop.register(pipe.reader, for: .readable) { _ in
            loop.schedule(afterMilliseconds: 1) {
                isOver.store(true, ordering: .relaxed)
                loop.stop()
            }
        }
        again()
        loop.run()
        let isReached = isOver.load(ordering: .relaxed)
        #expect(isReached)
        loop.unregister(registration)
    }

    @Test("runBlocking gives the result back, on the loop's thread from outside and at once from inside")
    func blockingWork() throws {
        let thread = try EventLoopThread(name: "loop")
        defer { thread.stop() }
        let loop = thread.loop
        #expect(loop.runBlocking { loop.isCurrent })
        #expect(loop.runBlocking { loop.runBlocking { 42 } } == 42)
        #expect(!loop.isCurrent)
        #expect(loop.runBlocking { loop.threadID } == thread.threadID)
    }

    @Test("Work that was accepted runs though the loop is stopped; later work is refused, and runBlocking runs where it is")
    func workAtTheEnd() throws {
        let loop = try EventLoop(name: "loop")
        let ran = Atomic(0)
        #expect(loop.execute { ran.add(1, ordering: .relaxed) })
        loop.stop()
        loop.run()
        #expect(ran.load(ordering: .relaxed) == 1)
        #expect(!loop.execute { ran.add(1, ordering: .relaxed) })
        #expect(loop.runBlocking { 7 } == 7)
        #expect(ran.load(ordering: .relaxed) == 1)
    }

    @Test("Timers fire in the order they are due, and in the order they were made where that is the same")
    func timerOrder() throws {
        let loop = try EventLoop(name: "loop")
        let order = Collector<Int>()
        loop.schedule(afterMilliseconds: 30) { order.append(3) }
        loop.schedule(afterMilliseconds: 10) { order.append(1) }
        loop.schedule(afterMilliseconds: 20) { order.append(2) }
        loop.schedule(afterMilliseconds: -5) { order.append(0) }
        loop.schedule(afterMilliseconds: 40) { loop.stop() }
        loop.schedule(afterMilliseconds: .max) { order.append(99) }
        loop.run()
        #expect(order.elements == [0, 1, 2, 3])
    }

    @Test("A timer does not fire early")
    func timersAreNotEarly() throws {
        let loop = try EventLoop(name: "loop")
        let start = ContinuousClock.now
        loop.schedule(afterMilliseconds: 25) { loop.stop() }
        loop.run()
        #expect(ContinuousClock.now - start >= .milliseconds(25))
    }

    @Test("A timer made on another thread wakes a loop that waits for a later one")
    func timerWakesLoop() throws {
        let thread = try EventLoopThread(name: "loop")
        defer { thread.stop() }
        thread.loop.schedule(afterMilliseconds: 3_600_000) { Issue.record("an hour has not passed") }
        thread.loop.runBlocking {}
        let fired = Atomic(false)
        thread.loop.schedule(afterMilliseconds: 1) { fired.store(true, ordering: .relaxed) }
        eventually { fired.load(ordering: .relaxed) }
    }

    @Test("A cancelled timer does not fire, and lets go of what its work holds")
    func cancelledTimer() throws {
        final class Witness: Sendable {}
        let loop = try EventLoop(name: "loop")
        var witness: Witness? = Witness()
        weak var held: Witness?
        held = witness
        let timer = loop.schedule(afterMilliseconds: 5) { [witness] in
            _ = witness
            Issue.record("it was cancelled")
        }
        witness = nil
        #expect(held != nil)
        timer.cancel()
        timer.cancel()
        #expect(held == nil)
        loop.schedule(afterMilliseconds: 20) { loop.stop() }
        loop.run()
    }

    @Test("Once cancel has returned on another thread, the timer's work is not running")
    func cancelRaces() throws {
        let thread = try EventLoopThread(name: "loop")
        defer { thread.stop() }
        for _ in 0..<300 {
            let isOver = Atomic(false)
            let late = Atomic(0)
            let timer = thread.loop.schedule(afterMilliseconds: Int.random(in: 0...1)) {
                for _ in 0..<100 {
                    if isOver.load(ordering: .sequentiallyConsistent) { late.add(1, ordering: .relaxed) }
                }
            }
            if Bool.random() { usleep(700) }
            timer.cancel()
            isOver.store(true, ordering: .sequentiallyConsistent)
            thread.loop.runBlocking {}
            #expect(late.load(ordering: .relaxed) == 0)
        }
    }

    @Test("A timer may cancel itself and another that is due with it")
    func cancelFromInside() throws {
        let loop = try EventLoop(name: "loop")
        let timers = Mutex<[EventLoop.Timer]>([])
        let fired = Atomic(0)
        for _ in 0..<2 {
            let timer = loop.schedule(afterMilliseconds: 1) {
                fired.add(1, ordering: .relaxed)
                for timer in timers.withLock({ $0 }) { timer.cancel() }
            }
            timers.withLock { $0.append(timer) }
        }
        loop.schedule(afterMilliseconds: 20) { loop.stop() }
        loop.run()
        #expect(fired.load(ordering: .relaxed) == 1)
    }

    @Test("Loops give every descriptor and thread back, with registrations and timers left in them")
    func nothingIsLeft() throws {
        let pipe = TestPipe()
        func round() throws {
            let thread = try EventLoopThread(name: "loop")
            _ = try thread.loop.register(pipe.reader, for: .readable) { _ in }
            thread.loop.schedule(afterMilliseconds: 3_600_000) {}
            thread.loop.runBlocking {}
        }
        try round()
        // Other tests of this process open and close descriptors too: what is lost by us would add up.
        let rounds = 400
        let before = try OpenResources.descriptors()
        for _ in 0..<rounds { try round() }
        #expect(try OpenResources.descriptors() - before < rounds)
    }

    @Test("A loop is freed with its pending timers and registrations")
    func noCycles() throws {
        weak var freed: EventLoop?
        do {
            let loop = try EventLoop(name: "loop")
            freed = loop
            let pipe = TestPipe()
            _ = try loop.register(pipe.reader, for: .readable) { _ in }
            loop.schedule(afterMilliseconds: 3_600_000) {}
            #expect(freed != nil)
        }
        #expect(freed == nil)
    }

    @Test("SIGPIPE does not end a process whose loop writes to a pipe without a reader")
    func brokenPipe() throws {
        let loop = try EventLoop(name: "loop")
        let pipe = TestPipe()
        pipe.closeReader()
        let writer = pipe.writer
        let code = Atomic<Int32>(0)
        loop.execute {
            var byte: UInt8 = 0
            if write(writer, &byte, 1) < 0 { code.store(errno, ordering: .relaxed) }
            loop.stop()
        }
        loop.run()
        #expect(code.load(ordering: .relaxed) == EPIPE)
        var blocked = sigset_t()
        pthread_sigmask(SIG_BLOCK, nil, &blocked)
        #expect(sigismember(&blocked, SIGPIPE) == 0)
    }
}
