internal import CStratoLinux
internal import Glibc

/// An output for a description that is shared with other processes: a thread of its own waits for the other end.
final class ThreadedOutput: CharacterOutput {
    private struct State {
        var queue = ByteQueue(capacity: CharacterOutputContext.capacity)
        var dropped: UInt64 = 0
        var thread: HostThread?
        var isClosing = false
        /// The thread has ended.
        var isIdle = false
    }

    /// What the thread works with; it lives on by itself where the other end holds it longer than `close` waits.
    private final class Shared: Sendable {
        let stream: HostStream
        let wake: EventDescriptor
        let state = Monitor(State())

        init(_ stream: consuming HostStream, _ wake: EventDescriptor) {
            self.stream = stream
            self.wake = wake
        }
    }

    private static let chunkSize = 256

    /// How long a thread that was told to end may take; the other end may hold it in the middle of a write.
    private static let endMilliseconds = 100

    private let shared: Shared?
    private let context: CharacterOutputContext
    private let log: LogLimiter

    init(_ stream: consuming HostStream, _ context: CharacterOutputContext) {
        self.context = context
        log = LogLimiter(source: context.source, logger: context.logger, burst: 1)
        do {
            let shared = Shared(stream, try EventDescriptor())
            // Here, and not with the first byte: that comes on threads that may start no other.
            let thread = try HostThread.start(name: "output", stackSize: 256 << 10) { [context, log] in
                guard context.confinement?.enter() ?? true else { return }
                ThreadedOutput.serve(shared, context, log)
            }
            shared.state.update { $0.thread = thread }
            self.shared = shared
        } catch {
            shared = nil
            log.log(.error, "no output: \(error)")
        }
    }

    deinit {
        close(isWaiting: false)
    }

    var droppedCount: UInt64 { shared?.state.read { $0.dropped } ?? 0 }

    func write(_ bytes: Span<UInt8>) {
        guard let shared else { return }
        let lost = shared.state.update { state -> Int in
            guard !state.isClosing else { return 0 }
            let lost = bytes.count - state.queue.append(bytes)
            state.dropped &+= UInt64(lost)
            return lost
        }
        if lost > 0 { log.log(.warn, "output is dropped: nobody reads it") }
    }

    func close(isWaiting: Bool) {
        guard let shared else { return }
        shared.state.update { $0.isClosing = true }
        if isWaiting { ThreadedOutput.waitPatiently(shared) }
        shared.wake.signal()
        let isDone: Bool? = shared.state.wait(milliseconds: ThreadedOutput.endMilliseconds) { $0.isIdle ? true : nil }
        let thread = shared.state.update { state in
            state.dropped &+= UInt64(state.queue.count)
            state.queue.removeAll()
            return state.thread.take()
        }
        // A thread that the other end still holds goes when it lets go.
        if isDone == true { thread?.join() }
    }

    /// Waits until the thread has written everything, for as long as the other end takes something.
    private static func waitPatiently(_ shared: Shared) {
        let limit = csl_monotonic_nanoseconds() &+ UInt64(CharacterOutputContext.flushMilliseconds) &* 1_000_000
        var left = Int.max
        while csl_monotonic_nanoseconds() < limit {
            let count: Int? = shared.state.wait(milliseconds: CharacterOutputContext.patienceMilliseconds) { state in
                state.isIdle ? 0 : state.queue.count < left ? state.queue.count : nil
            }
            guard let count, count > 0 || !shared.state.read({ $0.isIdle }) else { return }
            left = count
        }
    }

    private static func serve(_ shared: Shared, _ context: CharacterOutputContext, _ log: LogLimiter) {
        var failure: LinuxError?
        while let chunk = shared.state.wait(until: { nextChunk(&$0) }) {
            let result = write(chunk, shared)
            if result < 0, !CharacterOutputContext.isPassing(result) {
                failure = context.failure(result)
                break
            }
        }
        let isClosing = shared.state.update { state in
            defer {
                state.isClosing = true
                state.isIdle = true
            }
            if state.isClosing { state.dropped &+= UInt64(state.queue.count) }
            state.queue.removeAll()
            return state.isClosing
        }
        if let failure, !isClosing {
            log.log(.warn, "no more output: \(failure)")
            context.onFailure(failure)
        }
    }

    /// The next bytes to write; inner nil, there will be no more; outer nil, there are none yet.
    private static func nextChunk(_ state: inout State) -> [UInt8]?? {
        guard !state.queue.isEmpty else { return state.isClosing ? .some(nil) : nil }
        var chunk: [UInt8] = []
        _ = state.queue.consume(limit: chunkSize) { bytes in
            for index in bytes.indices { chunk.append(bytes[index]) }
            return bytes.count
        }
        return chunk
    }

    /// Writes it all; 0, or a negative errno.
    private static func write(_ chunk: [UInt8], _ shared: Shared) -> Int {
        var done = 0
        while done < chunk.count {
            // With room announced a small write does not wait, unless another process fills the room first; and then it is
            // this thread alone that waits.
            let isWritable = csl_wait_writable(shared.stream.descriptor.number, shared.wake.number)
            guard isWritable > 0 else { return isWritable < 0 ? Int(isWritable) : -Int(ECANCELED) }
            let result = shared.stream.write(chunk.span.extracting(done..<chunk.count))
            if result == -Int(EAGAIN) { continue }
            guard result > 0 else { return result }
            done += result
        }
        return 0
    }
}
