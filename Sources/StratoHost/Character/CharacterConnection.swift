internal import Synchronization

/// One peer of a backend that peers come to and go from: its bytes in and its bytes out.
final class CharacterConnection: Sendable {
    private let input: CharacterInput
    private let output: any CharacterOutput

    /// - Parameters:
    ///   - incoming: read from, and closed with the connection.
    ///   - outgoing: written to, and closed with the connection; another descriptor of the same peer.
    ///   - loop: where it is read, and written what the peer did not take at once.
    ///   - slot: who receives the peer's bytes.
    ///   - source: stands in the log.
    ///   - logger: told of lost bytes and errors.
    ///   - onEnd: called, on any thread and with no lock held, when the peer has gone, once for each direction.
    /// - Throws: `LinuxError` if the peer can't be watched.
    init(
        _ incoming: consuming HostStream, _ outgoing: consuming HostStream, loop: EventLoop, slot: ReceiverSlot,
        source: String, logger: Logger, onEnd: @escaping @Sendable () -> Void
    ) throws(LinuxError) {
        input = try CharacterInput(incoming, loop: loop, slot: slot, endsWithPeer: true) { _ in onEnd() }
        output = CharacterOutputContext(source: source, loop: loop, logger: logger, onFailure: { _ in onEnd() })
            .makeOutput(outgoing)
    }

    func write(_ bytes: Span<UInt8>) { output.write(bytes) }

    func resumeInput() { input.resume() }

    func restartInput() { input.restart() }

    var droppedCount: UInt64 { output.droppedCount }

    /// - Parameter isWaiting: whether the peer, which is still there, gets what is left for it.
    func close(isWaiting: Bool = false) {
        output.close(isWaiting: isWaiting)
        input.close()
    }
}

/// The connection that a backend has, if it has one, and who is told of it.
final class ConnectionSlot: Sendable {
    private struct State {
        var connection: CharacterConnection?
        var identifier: UInt64 = 0
        var nextIdentifier: UInt64 = 1
        var dropped: UInt64 = 0
        var isClosed = false
        /// What the receiver was told last; nil for one that has yet to hear of anything.
        var isToldOpen: Bool?
    }

    let receiver = ReceiverSlot()
    private let state = Mutex(State())

    var connection: CharacterConnection? { state.withLock { $0.connection } }

    var isClosed: Bool { state.withLock { $0.isClosed } }

    /// What was lost on all connections.
    var droppedCount: UInt64 {
        let (before, connection) = state.withLock { ($0.dropped, $0.connection) }
        return before &+ (connection?.droppedCount ?? 0)
    }

    /// Tells a connection to come from those that were: what is left of one must not end the next.
    func makeIdentifier() -> UInt64 {
        state.withLock { state in
            defer { state.nextIdentifier &+= 1 }
            return state.nextIdentifier
        }
    }

    /// Takes a connection; false if the backend has been closed or has one.
    func open(_ connection: CharacterConnection, as identifier: UInt64) -> Bool {
        let isTaken = state.withLock { state in
            guard !state.isClosed, state.connection == nil else { return false }
            state.connection = connection
            state.identifier = identifier
            return true
        }
        if isTaken { tell(isOpen: true) }
        return isTaken
    }

    /// Ends that connection; false if it has ended.
    func end(_ identifier: UInt64) -> Bool {
        end(isWaiting: false) { $0 == identifier }
    }

    private func end(isWaiting: Bool, where isMeant: (UInt64) -> Bool) -> Bool {
        let ended: CharacterConnection? = state.withLock { state in
            isMeant(state.identifier) ? state.connection.take() : nil
        }
        guard let connection = ended else { return false }
        connection.close(isWaiting: isWaiting)
        state.withLock { $0.dropped &+= connection.droppedCount }
        tell(isOpen: false)
        return true
    }

    /// Ends the connection for good.
    func close() {
        receiver.receiver = nil
        state.withLock { $0.isClosed = true }
        _ = end(isWaiting: true) { _ in true }
    }

    func attach(_ receiver: any CharacterReceiver, on loop: EventLoop) {
        state.withLock { $0.isToldOpen = nil }
        self.receiver.receiver = receiver
        loop.execute { [weak self] in
            guard let self else { return }
            let connection = self.connection
            self.tell(isOpen: connection != nil)
            connection?.restartInput()
        }
    }

    private func tell(isOpen: Bool) {
        guard let receiver = receiver.receiver else { return }
        let isNews = state.withLock { state in
            defer { state.isToldOpen = isOpen }
            return state.isToldOpen != isOpen
        }
        if isNews { receiver.connectionChanged(isOpen: isOpen) }
    }
}
