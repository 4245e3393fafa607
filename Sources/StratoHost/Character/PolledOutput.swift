internal import CStratoLinux
internal import Glibc
internal import Synchronization

/// An output that writes at once where it is called, and leaves to the loop what the other end did not take.
final class PolledOutput: CharacterOutput {
    private struct State: ~Copyable {
        var stream: HostStream?
        var queue: ByteQueue
        var registration: EventLoop.Registration?
        var dropped: UInt64 = 0
        /// The other end is gone, or `close` was called: bytes are dropped without a word.
        var isOver = false

        var number: Int32 {
            switch stream {
            case .some(let stream): stream.descriptor.number
            case .none: -1
            }
        }

        func write(_ bytes: Span<UInt8>) -> Int {
            switch stream {
            case .some(let stream): stream.write(bytes)
            case .none: -Int(EBADF)
            }
        }

        /// Writes from the queue as much as goes; a negative errno if the stream failed.
        mutating func flush() -> Int {
            while !queue.isEmpty {
                let result =
                    switch stream {
                    case .some(let stream): queue.consume { stream.write($0) }
                    case .none: -Int(EBADF)
                    }
                if result == -Int(EAGAIN) { return 0 }
                guard result > 0 else { return result }
            }
            return 0
        }
    }

    /// What is to be told once the lock is given back.
    private struct Outcome {
        var lost = 0
        var passing: LinuxError?
        var failure: LinuxError?
    }

    private let context: CharacterOutputContext
    private let log: LogLimiter
    private let state: Mutex<State>

    init(_ stream: consuming HostStream, _ context: CharacterOutputContext) {
        self.context = context
        log = LogLimiter(source: context.source, logger: context.logger, burst: 1)
        state = Mutex(State(stream: consume stream, queue: ByteQueue(capacity: CharacterOutputContext.capacity)))
    }

    deinit {
        close(isWaiting: false)
    }

    var droppedCount: UInt64 { state.withLock { $0.dropped } }

    func write(_ bytes: Span<UInt8>) {
        let outcome = state.withLock { state in
            var outcome = Outcome()
            guard !state.isOver else { return outcome }
            var done = 0
            if state.queue.isEmpty {
                while done < bytes.count {
                    let result = state.write(bytes.extracting(done..<bytes.count))
                    if result == -Int(EAGAIN) { break }
                    guard result > 0 else {
                        if CharacterOutputContext.isPassing(result) {
                            outcome.lost = bytes.count - done
                            outcome.passing = context.failure(result)
                        } else {
                            outcome.failure = abandon(&state, context.failure(result))
                        }
                        state.dropped &+= UInt64(outcome.lost)
                        return outcome
                    }
                    done += result
                }
                guard done < bytes.count else { return outcome }
                outcome.failure = watch(&state, for: .writable)
                guard outcome.failure == nil else { return outcome }
            }
            done += state.queue.append(bytes.extracting(done..<bytes.count))
            outcome.lost = bytes.count - done
            state.dropped &+= UInt64(outcome.lost)
            return outcome
        }
        report(outcome)
    }

    func close(isWaiting: Bool) {
        let registration = state.withLock { state in
            state.isOver = true
            return state.registration.take()
        }
        if let registration { context.loop.unregister(registration) }
        // Whoever closes may be a thread that takes signals.
        var signals = sigset_t()
        unsafe csl_block_broken_pipe(&signals)
        // The lock is held while waiting: whoever writes now waits until it is seen that there is nothing to write to.
        state.withLock { state in
            if isWaiting {
                PolledOutput.flushPatiently(&state)
            } else if state.stream != nil {
                _ = state.flush()
            }
            state.dropped &+= UInt64(state.queue.count)
            state.queue.removeAll()
            state.stream = nil
        }
        unsafe csl_unblock_broken_pipe(&signals)
    }

    /// Writes from the queue for as long as the other end takes something.
    private static func flushPatiently(_ state: inout State) {
        let limit = csl_monotonic_nanoseconds() &+ UInt64(CharacterOutputContext.flushMilliseconds) &* 1_000_000
        while state.flush() == 0, !state.queue.isEmpty, csl_monotonic_nanoseconds() < limit {
            let ready = csl_poll_within(
                state.number, Int16(POLLOUT), Int32(CharacterOutputContext.patienceMilliseconds))
            // Not ready in time, or nothing but the news that nobody will ever read.
            guard ready > 0, ready & POLLOUT != 0 else { return }
        }
    }

    private func report(_ outcome: Outcome) {
        if let failure = outcome.failure {
            log.log(.warn, "no more output: \(failure)")
            context.onFailure(failure)
        } else if outcome.lost > 0 {
            log.log(.warn, "output is dropped: \(outcome.passing.map { "\($0)" } ?? "nobody reads it")")
        }
    }

    private func abandon(_ state: inout State, _ error: LinuxError) -> LinuxError {
        state.isOver = true
        state.queue.removeAll()
        // What can't be watched any more need not be left alone.
        _ = watch(&state, for: [])
        return error
    }

    /// Has the loop tell when the other end takes more, or leave it alone.
    private func watch(_ state: inout State, for interest: EventLoop.Interest) -> LinuxError? {
        do {
            if let registration = state.registration {
                try context.loop.modify(registration, for: interest)
            } else if !interest.isEmpty {
                state.registration = try context.loop.register(state.number, for: interest) { [weak self] _ in self?.flush() }
            }
            return nil
        } catch {
            state.isOver = true
            state.queue.removeAll()
            return error
        }
    }

    private func flush() {
        let outcome = state.withLock { state in
            var outcome = Outcome()
            guard !state.isOver else { return outcome }
            let result = state.flush()
            if result < 0 {
                outcome.failure = abandon(&state, context.failure(result))
            } else if state.queue.isEmpty {
                outcome.failure = watch(&state, for: [])
            }
            return outcome
        }
        report(outcome)
    }
}
