internal import Synchronization

/// A stream socket that the monitor listens on, for one client at a time; others wait until it has gone. What the guest says
/// while there is none is dropped.
package final class SocketCharacterBackend: CharacterBackend {
    /// Where it listens, with the port that the kernel chose where it was asked to.
    package let address: ListeningSocket.Address

    private let loop: EventLoop
    private let logger: Logger
    private let log: LogLimiter
    private let slot = ConnectionSlot()
    private let acceptor = Mutex<ConnectionAcceptor?>(nil)

    /// - Parameters:
    ///   - address: where to listen.
    ///   - loop: where clients are served.
    ///   - logger: told of lost bytes and errors.
    /// - Throws: `LinuxError` saying what stands in the way of listening.
    package init(listeningAt address: ListeningSocket.Address, loop: EventLoop, logger: Logger) throws(LinuxError) {
        let socket = try ListeningSocket(address)
        self.address = socket.address
        self.loop = loop
        self.logger = logger
        log = LogLimiter(source: "\(socket.address)", logger: logger)
        let acceptor = try ConnectionAcceptor(socket, on: loop, logger: logger, isPaused: true) { [weak self] peer in
            self?.serve(peer)
        }
        self.acceptor.withLock { $0 = acceptor }
        acceptor.resume()
    }

    deinit {
        close()
    }

    package func attach(_ receiver: any CharacterReceiver) { slot.attach(receiver, on: loop) }
    package func detach() { slot.receiver.receiver = nil }
    package func write(_ bytes: Span<UInt8>) { slot.connection?.write(bytes) }
    package func resumeInput() { slot.connection?.resumeInput() }
    package var droppedCount: UInt64 { slot.droppedCount }

    package var filename: String {
        switch address {
        case .unix(let path): "unix:\(path),server"
        case .tcp: "tcp:\(address),server"
        }
    }

    package func close() {
        // Before the client: it must not make room for the next one.
        acceptor.withLock { $0.take() }?.close()
        slot.close()
    }

    // MARK: On the loop

    private func serve(_ peer: consuming OwnedDescriptor) {
        do throws(LinuxError) {
            let identifier = slot.makeIdentifier()
            let outgoing = HostStream(try peer.duplicate(), kind: .socket)
            let connection = try CharacterConnection(
                HostStream(peer, kind: .socket), outgoing, loop: loop, slot: slot.receiver, source: filename, logger: logger
            ) { [weak self] in
                self?.loop.execute { [weak self] in self?.endConnection(identifier) }
            }
            acceptor.withLock { $0 }?.pause()
            if !slot.open(connection, as: identifier) { connection.close() }
        } catch {
            log.log(.error, "a client was turned away: \(error)")
        }
    }

    private func endConnection(_ identifier: UInt64) {
        guard slot.end(identifier) else { return }
        acceptor.withLock { $0 }?.resume()
    }
}
