internal import Glibc
internal import Synchronization

/// Hands the peers of a listening socket to whoever serves them, on an event loop.
///
/// A host that has run out of descriptors is asked again a second later, not at once and forever.
package final class ConnectionAcceptor: Sendable {
    private struct State {
        var registration: EventLoop.Registration?
        var isPaused = false
        var retry: EventLoop.Timer?
    }

    private static let retryMilliseconds = 1000

    private let socket: ListeningSocket
    private let loop: EventLoop
    private let log: LogLimiter
    private let handler: @Sendable (consuming OwnedDescriptor) -> Void
    private let state = Mutex(State())

    /// - Parameters:
    ///   - socket: closed with the acceptor.
    ///   - loop: where peers are accepted.
    ///   - logger: told when peers can't be accepted.
    ///   - isPaused: waits for `resume`.
    ///   - handler: called on the loop's thread with each peer, a non-blocking stream socket.
    /// - Throws: `LinuxError` if the socket can't be watched.
    package init(
        _ socket: ListeningSocket, on loop: EventLoop, logger: Logger, isPaused: Bool = false,
        _ handler: @escaping @Sendable (consuming OwnedDescriptor) -> Void
    ) throws(LinuxError) {
        self.socket = socket
        self.loop = loop
        self.log = LogLimiter(source: "\(socket.address)", logger: logger)
        self.handler = handler
        let registration = try loop.register(socket.number, for: []) { [weak self] _ in self?.acceptOne() }
        state.withLock { state in
            state.registration = registration
            state.isPaused = isPaused
            watch(&state)
        }
    }

    deinit {
        close()
    }

    /// Where the socket listens.
    package var address: ListeningSocket.Address { socket.address }

    /// Leaves further peers waiting. From inside the handler it holds from that peer on.
    package func pause() { setPaused(true) }

    /// Accepts peers again.
    package func resume() { setPaused(false) }

    /// Accepts no more, and closes the socket.
    package func close() {
        let (registration, retry) = state.withLock { state in
            (state.registration.take(), state.retry.take())
        }
        retry?.cancel()
        if let registration { loop.unregister(registration) }
        socket.close()
    }

    private func setPaused(_ isPaused: Bool) {
        state.withLock { state in
            state.isPaused = isPaused
            watch(&state)
        }
    }

    private func watch(_ state: inout State) {
        guard let registration = state.registration else { return }
        let isWatched = !state.isPaused && state.retry == nil
        do {
            try loop.modify(registration, for: isWatched ? .readable : [])
        } catch {
            log.log(.error, "peers are not accepted any more: \(error)")
        }
    }

    private func acceptOne() {
        guard state.withLock({ !$0.isPaused && $0.registration != nil }) else { return }
        do {
            guard let peer = try socket.accept() else { return }
            handler(peer)
        } catch {
            log.log(.error, "\(error)")
            state.withLock { state in
                state.retry = loop.schedule(afterMilliseconds: ConnectionAcceptor.retryMilliseconds) { [weak self] in
                    self?.state.withLock { state in
                        state.retry = nil
                        self?.watch(&state)
                    }
                }
                watch(&state)
            }
        }
    }
}
