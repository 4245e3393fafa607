internal import CStratoLinux
internal import Glibc
internal import Synchronization

/// Bytes on their way in: read from the host only while the receiver has room for them.
final class CharacterInput: Sendable {
    /// Why there is no more input.
    enum End: Sendable {
        case endOfFile
        case hangUp
        case failed(LinuxError)
    }

    /// What a person at a terminal may tell the monitor. Keys are read then even while the guest takes none, and those that
    /// it has no room for are dropped, as a terminal does itself: the way out must always be open.
    struct Console: Sendable {
        let terminal: Terminal
        /// Nil leaves every key to the guest.
        let onKey: (@Sendable (EscapeFilter.Key) -> Void)?
    }

    private struct State: ~Copyable {
        var stream: HostStream?
        var registration: EventLoop.Registration?
        var filter = EscapeFilter()
        /// Keys that a person typed ahead of the guest.
        var typed = ByteQueue(capacity: CharacterInput.typeAhead)
        var backgroundTimer: EventLoop.Timer?

        func read(into buffer: UnsafeMutableBufferPointer<UInt8>) -> Int {
            switch stream {
            case .some(let stream): unsafe stream.read(into: buffer)
            case .none: -Int(EBADF)
            }
        }
    }

    private static let typeAhead = 1024
    private static let chunkSize = 4096
    private static let backgroundMilliseconds = 1000

    private let loop: EventLoop
    private let slot: ReceiverSlot
    private let console: Console?
    private let canPoll: Bool
    private let parkedInterest: EventLoop.Interest
    private let onEnd: @Sendable (End) -> Void
    private let state: Mutex<State>
    /// The receiver had no room when it was last asked, and has not said since that it has.
    private let isParked = Atomic(false)

    /// - Parameters:
    ///   - stream: closed with the input.
    ///   - loop: where it is read.
    ///   - slot: who receives it.
    ///   - endsWithPeer: a connection that others wait for ends when its peer goes, read or unread. What is left in a pipe
    ///     without a writer is still read when there is room.
    ///   - console: for a terminal with a person at it.
    ///   - onEnd: called once, on the loop, when there will be no more.
    /// - Throws: `LinuxError` if the stream can't be watched.
    init(
        _ stream: consuming HostStream, loop: EventLoop, slot: ReceiverSlot, endsWithPeer: Bool = false, console: Console? = nil,
        onEnd: @escaping @Sendable (End) -> Void
    ) throws(LinuxError) {
        self.loop = loop
        self.slot = slot
        self.console = console
        self.onEnd = onEnd
        let number = stream.descriptor.number
        canPoll = stream.kind != .file
        parkedInterest = endsWithPeer ? .hangUp : []
        state = Mutex(State(stream: consume stream))
        if canPoll {
            let registration = try loop.register(number, for: []) { [weak self] ready in self?.serve(ready) }
            state.withLock { $0.registration = registration }
            if let console, !console.terminal.isForeground {
                loop.execute { [weak self] in self?.waitForForeground(console.terminal) }
            } else {
                try loop.modify(registration, for: .readable)
            }
        } else {
            loop.execute { [weak self] in self?.serve(.readable) }
        }
    }

    deinit {
        close()
    }

    /// The receiver has room again.
    func resume() {
        guard isParked.exchange(false, ordering: .sequentiallyConsistent) else { return }
        loop.execute { [weak self] in self?.unpark() }
    }

    /// There is a receiver now.
    func restart() {
        isParked.store(false, ordering: .sequentiallyConsistent)
        loop.execute { [weak self] in self?.unpark() }
    }

    func close() {
        let (registration, timer) = state.withLock { state in
            (state.registration.take(), state.backgroundTimer.take())
        }
        timer?.cancel()
        if let registration { loop.unregister(registration) }
        state.withLock { state in
            state.stream = nil
            state.typed.removeAll()
        }
    }

    // MARK: On the loop

    private func unpark() {
        if console?.onKey != nil {
            deliverTyped()
        } else if canPoll {
            watch(.readable)
        } else {
            serve(.readable)
        }
    }

    private func watch(_ interest: EventLoop.Interest) {
        guard let registration = state.withLock({ $0.registration }) else { return }
        do {
            try loop.modify(registration, for: interest)
        } catch {
            finish(.failed(error))
        }
    }

    private func finish(_ end: End) {
        // Before the descriptor is closed: the kernel keeps watching a description that has another descriptor.
        if let registration = state.withLock({ $0.registration.take() }) { loop.unregister(registration) }
        let wasOpen = state.withLock { state in
            let wasOpen = state.stream != nil
            state.stream = nil
            return wasOpen
        }
        if wasOpen { onEnd(end) }
    }

    /// How much the receiver takes now; 0 if it will call `resume`.
    private func availableRoom() -> Int {
        let room = slot.room
        guard room == 0 else { return room }
        // Announced before asking again: room that comes up in between is either seen here, or told by `resume`.
        isParked.store(true, ordering: .sequentiallyConsistent)
        let again = slot.room
        guard again > 0, isParked.exchange(false, ordering: .sequentiallyConsistent) else { return 0 }
        return again
    }

    private func serve(_ ready: EventLoop.Interest) {
        if !ready.contains(.readable) {
            // Nothing is left to be read, or nobody to read it in the life of this connection.
            finish(.hangUp)
            return
        }
        if let console {
            guard console.terminal.isForeground else {
                waitForForeground(console.terminal)
                return
            }
            if let onKey = console.onKey {
                serveConsole(onKey)
                return
            }
        }
        let room = availableRoom()
        guard room > 0 else {
            if canPoll { watch(parkedInterest) }
            return
        }
        let result = withChunk(room) { bytes in slot.receiver?.receive(bytes) }
        if result > 0, !canPoll { loop.execute { [weak self] in self?.serve(.readable) } }
    }

    /// Reads at most `limit` bytes and shows them.
    ///
    /// - Returns: how many; less than 1 for none, or the end, which was told then.
    private func withChunk(_ limit: Int, _ body: (Span<UInt8>) -> Void) -> Int {
        let size = min(limit, CharacterInput.chunkSize)
        // SAFETY: at most `size` bytes are written to the buffer, and only those that were are shown.
        let result = unsafe withUnsafeTemporaryAllocation(of: UInt8.self, capacity: size) { buffer in
            let result = state.withLock { state in unsafe state.read(into: buffer) }
            if result > 0 {
                body(unsafe Span(_unsafeElements: UnsafeBufferPointer(buffer).extracting(0..<min(result, size))))
            }
            return result
        }
        switch result {
        case 1...: break
        case 0: finish(.endOfFile)
        case -Int(EAGAIN): break
        // The master of a pseudo terminal whose slave was closed answers so.
        case -Int(EIO):
            // A job in the background is answered the same where it blocks SIGTTIN (POSIX.1-2017, 11.1.4).
            if let console, !console.terminal.isForeground {
                waitForForeground(console.terminal)
            } else {
                finish(.hangUp)
            }
        default: finish(.failed(LinuxError(code: Int32(clamping: 0 &- result), operation: "read the input")))
        }
        return result
    }

    private func serveConsole(_ onKey: @Sendable (EscapeFilter.Key) -> Void) {
        _ = withChunk(CharacterInput.typeAhead) { bytes in
            for index in bytes.indices {
                let key = state.withLock { state in
                    let key = state.filter.filter(bytes[index])
                    if case .guest(let byte) = key {
                        let one: InlineArray<1, UInt8> = [byte]
                        _ = state.typed.append(one.span)
                    }
                    return key
                }
                if key == .help || key == .quit { onKey(key) }
            }
        }
        if !isParked.load(ordering: .acquiring) { deliverTyped() }
    }

    private func deliverTyped() {
        while !state.withLock({ $0.typed.isEmpty }) {
            let room = availableRoom()
            guard room > 0, let receiver = slot.receiver else { return }
            var chunk: [UInt8] = []
            state.withLock { state in
                _ = state.typed.consume(limit: room) { bytes in
                    for index in bytes.indices { chunk.append(bytes[index]) }
                    return bytes.count
                }
            }
            receiver.receive(chunk.span)
        }
    }

    /// Another job has the terminal: reading would take its keys, or stop this process.
    private func waitForForeground(_ terminal: Terminal) {
        watch([])
        let timer = loop.schedule(afterMilliseconds: CharacterInput.backgroundMilliseconds) { [weak self] in
            guard let self else { return }
            guard terminal.isForeground else {
                self.waitForForeground(terminal)
                return
            }
            do throws(LinuxError) {
                try terminal.makeRaw()
                self.watch(.readable)
            } catch {
                self.finish(.failed(error))
            }
        }
        state.withLock { $0.backgroundTimer = timer }
    }
}
