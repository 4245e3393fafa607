package import StratoHost
package import StratoVMM
internal import Synchronization

/// Serves QMP to any number of clients on one event loop.
///
///     listen ──► a client connects ──► greeting ──► requests and answers, events ──► it hangs up
///                                                                                └─► shutDown
///
/// Clients are greeted before the machine is built. Events go to all that are connected, whether they have negotiated or
/// not. The order on the wire: an answer comes before the events that its command caused (as with StratoVirt; QEMU has it
/// the other way round, and clients take both), and after the answers to all that the client asked before.
///
/// A client that does not read costs at most 1 MiB before it is dropped; one that is slow is not read from meanwhile.
package final class QMPServer: Sendable {
    /// A client. Touched with the server's state held.
    private final class Connection {
        /// Counts up from client to client, and is not used again.
        let identifier: UInt64
        let socket: StreamSocket
        let registration: EventLoop.Registration
        var session = QMPSession()
        var interest: EventLoop.Interest

        init(
            _ identifier: UInt64, _ socket: consuming StreamSocket, _ registration: EventLoop.Registration,
            _ interest: EventLoop.Interest
        ) {
            self.identifier = identifier
            self.socket = socket
            self.registration = registration
            self.interest = interest
        }

        /// Sends what goes at once.
        func flush() {
            do throws(LinuxError) {
                try session.flush { bytes throws(LinuxError) in try socket.send(bytes) }
            } catch {
                // It hung up, as clients do; what it sent before may still have to be read.
                session.endOutput()
            }
        }

        /// Takes what has come.
        func receive(_ buffer: inout [UInt8]) {
            do throws(LinuxError) {
                switch try socket.receive(into: &buffer) {
                case nil: break
                case 0?: session.endInput()
                case let count?: session.receive(buffer[..<min(count, buffer.count)])
                }
            } catch {
                session.endInput()
                session.endOutput()
            }
        }
    }

    private struct State {
        var acceptors: [ConnectionAcceptor] = []
        /// In the order in which they came: few, so that looking one up costs no more than hashing.
        var connections: [Connection] = []
        var nextIdentifier: UInt64 = 0
        var readiness = QMPSession.Readiness.preparing
        /// Called when the last client is gone after `shutDown`; there are some as soon as that has begun.
        var completions: [@Sendable () -> Void] = []
        var isShuttingDown = false
        var deadline: EventLoop.Timer?
        /// Where input is read to, once there is a client.
        var buffer: [UInt8] = []
    }

    /// Clients that are served at once; the next ones wait to be accepted until one leaves.
    package static let maximumClientCount = 64

    /// Bytes of input taken at a time, so that clients have their turns.
    private static let readSize = 16 << 10

    private let machine: any MachineControl
    private let loop: EventLoop
    private let logger: Logger
    private let log: LogLimiter
    private let inbox = EventInbox()
    private let state = Mutex(State())

    /// A server without a socket to listen at yet.
    ///
    /// - Parameters:
    ///   - machine: what clients control.
    ///   - loop: where clients are served. Commands that hold virtual CPUs block it for that long.
    ///   - logger: told of clients that are dropped.
    package init(machine: any MachineControl, loop: EventLoop, logger: Logger) {
        self.machine = machine
        self.loop = loop
        self.logger = logger
        self.log = LogLimiter(source: "qmp", logger: logger)
        let inbox = inbox
        machine.observe { [weak self] event in
            if inbox.add(event) {
                loop.execute { [weak self] in self?.deliver() }
            }
        }
        // What happened before the observer was there is in the status.
        state.withLock { state in
            switch machine.status {
            case .preparing: break
            case .prelaunch, .running, .paused, .ended: state.readiness = .ready
            }
        }
    }

    deinit {
        let (acceptors, registrations) = state.withLock { state in
            let registrations = state.connections.map(\.registration)
            state.deadline?.cancel()
            return (state.acceptors, registrations)
        }
        for acceptor in acceptors { acceptor.close() }
        for registration in registrations { loop.unregister(registration) }
    }

    /// Listens at one more address.
    ///
    /// - Returns: the address, with the port that the kernel chose where it was asked to.
    /// - Throws: `LinuxError` saying what stands in the way.
    @discardableResult
    package func listen(at address: ListeningSocket.Address) throws(LinuxError) -> ListeningSocket.Address {
        let socket = try ListeningSocket(address, backlog: 64)
        let acceptor = try ConnectionAcceptor(socket, on: loop, logger: logger) { [weak self] peer in
            guard let self else { return }
            self.accept(peer)
        }
        let isLate = state.withLock { state in
            if !state.isShuttingDown { state.acceptors.append(acceptor) }
            return state.isShuttingDown
        }
        if isLate { acceptor.close() }
        return acceptor.address
    }

    /// How many clients are connected.
    package var clientCount: Int { state.withLock { $0.connections.count } }

    /// Tells clients the events that have happened, then hangs up on each once it has read all that it was sent. Nobody is
    /// listened to any more.
    ///
    /// - Parameters:
    ///   - flushMilliseconds: how long clients have to read, at most.
    ///   - completion: called on the loop's thread when all are gone; where the loop has ended already, at once.
    package func shutDown(flushMilliseconds: Int, _ completion: @escaping @Sendable () -> Void) {
        let isAccepted = loop.execute {
            self.beginShutDown(flushMilliseconds, completion)
        }
        guard !isAccepted else { return }
        state.withLock { state in
            state.isShuttingDown = true
            closeAll(&state)
        }
        completion()
    }

    // MARK: Clients

    private func accept(_ peer: consuming OwnedDescriptor) {
        // A closure can't consume what it captures, only take it out of an optional.
        var accepted: StreamSocket? = StreamSocket(peer)
        state.withLock { state in
            guard !state.isShuttingDown, let socket = accepted.take() else { return }
            let identifier = state.nextIdentifier
            state.nextIdentifier &+= 1
            let interest = EventLoop.Interest.readable
            do throws(LinuxError) {
                let registration = try loop.register(socket.number, for: interest) { [weak self] ready in
                    self?.serve(identifier, ready)
                }
                let connection = Connection(identifier, socket, registration, interest)
                state.connections.append(connection)
                settle(connection, &state)
            } catch {
                log.log(.error, "a client is turned away: \(error)")
                return
            }
            if state.connections.count >= QMPServer.maximumClientCount {
                for acceptor in state.acceptors { acceptor.pause() }
            }
        }
    }

    private func serve(_ identifier: UInt64, _ ready: EventLoop.Interest) {
        finish(
            state.withLock { state in
                guard let connection = state.connections.first(where: { $0.identifier == identifier }) else { return [] }
                // A client that has hung up may have left requests behind, which end with the end of input.
                if connection.session.isReceptive, !state.isShuttingDown, ready != .writable {
                    if state.buffer.isEmpty { state.buffer = [UInt8](repeating: 0, count: QMPServer.readSize) }
                    connection.receive(&state.buffer)
                }
                if advance(connection, &state) { settleAll(&state) } else { settle(connection, &state) }
                return takeCompletions(&state)
            })
    }

    /// Carries out what a client has asked for, as far as it is its turn.
    ///
    /// - Returns: true if all clients have been sent something.
    private func advance(_ connection: Connection, _ state: inout State) -> Bool {
        guard !state.isShuttingDown else { return false }
        var hasEvents = false
        var hasMoved = true
        while hasMoved {
            hasMoved = false
            while connection.session.advance(machine, state.readiness) {
                hasMoved = true
                if deliver(&state) { hasEvents = true }
            }
            connection.flush()
        }
        return hasEvents
    }

    /// Sends what goes, and leaves the client watched for what it is served next, or closed.
    private func settle(_ connection: Connection, _ state: inout State) {
        connection.flush()
        if connection.session.isOverfull {
            log.log(.warn, "a client that does not read what it is sent is dropped")
            return close(connection, &state)
        }
        let isDone = state.isShuttingDown ? connection.session.output.isEmpty : connection.session.isFinished
        guard !isDone else { return close(connection, &state) }
        let isRead = connection.session.isReceptive && !state.isShuttingDown
        // Who has read everything meanwhile still waits for answers to what was held up.
        let isWritten = !connection.session.output.isEmpty || connection.session.isHeldUp
        // A set's literal is made by generic code, whose pages would stay resident for this alone.
        let interest = EventLoop.Interest(
            rawValue: (isRead ? EventLoop.Interest.readable.rawValue : 0)
                | (isWritten ? EventLoop.Interest.writable.rawValue : 0))
        guard interest != connection.interest else { return }
        do throws(LinuxError) {
            try loop.modify(connection.registration, for: interest)
            connection.interest = interest
        } catch {
            log.log(.error, "a client is dropped: \(error)")
            close(connection, &state)
        }
    }

    private func settleAll(_ state: inout State) {
        for connection in state.connections { settle(connection, &state) }
    }

    private func close(_ connection: Connection, _ state: inout State) {
        guard let index = state.connections.firstIndex(where: { $0 === connection }) else { return }
        state.connections.remove(at: index)
        loop.unregister(connection.registration)
        if state.connections.isEmpty { state.buffer = [] }
        if state.connections.count == QMPServer.maximumClientCount - 1, !state.isShuttingDown {
            for acceptor in state.acceptors { acceptor.resume() }
        }
    }

    // MARK: Events

    private func deliver() {
        finish(
            state.withLock { state in
                _ = deliver(&state)
                advanceAll(&state)
                settleAll(&state)
                return takeCompletions(&state)
            })
    }

    /// Sends the events that have come to all clients.
    ///
    /// - Returns: false if there were none.
    private func deliver(_ state: inout State) -> Bool {
        let delivery = inbox.take()
        guard !delivery.events.isEmpty else { return false }
        if delivery.droppedCount > 0 {
            log.log(.warn, "\(delivery.droppedCount) events came faster than they could be sent and are left out")
        }
        for (event, microseconds) in delivery.events {
            switch (event, state.readiness) {
            case (.shutdown, .preparing): state.readiness = .failed
            case (_, .preparing): state.readiness = .ready
            case (_, .ready), (_, .failed): break
            }
            guard let told = QMPEvent(event, microseconds: microseconds) else { continue }
            let line = QMPReply.event(told)
            for connection in state.connections { connection.session.send(line) }
        }
        return true
    }

    /// Carries out what waited for the machine.
    private func advanceAll(_ state: inout State) {
        for connection in state.connections { _ = advance(connection, &state) }
    }

    // MARK: The end

    private func beginShutDown(_ flushMilliseconds: Int, _ completion: @escaping @Sendable () -> Void) {
        finish(
            state.withLock { state in
                _ = deliver(&state)
                // A machine that could not be built ends without an event; who waits for it is told all the same.
                if state.readiness == .preparing { state.readiness = .failed }
                advanceAll(&state)
                state.isShuttingDown = true
                state.completions.append(completion)
                for acceptor in state.acceptors { acceptor.close() }
                state.acceptors = []
                settleAll(&state)
                if !state.connections.isEmpty, state.deadline == nil {
                    state.deadline = loop.schedule(afterMilliseconds: flushMilliseconds) { [weak self] in
                        self?.giveUp()
                    }
                }
                return takeCompletions(&state)
            })
    }

    /// The time to read is over.
    private func giveUp() {
        finish(
            state.withLock { state in
                closeAll(&state)
                return takeCompletions(&state)
            })
    }

    private func closeAll(_ state: inout State) {
        for acceptor in state.acceptors { acceptor.close() }
        state.acceptors = []
        for connection in state.connections { close(connection, &state) }
    }

    /// Who is to be told that the last client is gone, if it is.
    private func takeCompletions(_ state: inout State) -> [@Sendable () -> Void] {
        guard state.isShuttingDown, state.connections.isEmpty else { return [] }
        state.deadline?.cancel()
        state.deadline = nil
        defer { state.completions = [] }
        return state.completions
    }

    /// Calls with no lock held: a completion may do anything.
    private func finish(_ completions: [@Sendable () -> Void]) {
        for completion in completions { completion() }
    }
}
