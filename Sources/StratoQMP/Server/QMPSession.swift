internal import StratoVMM

/// One client's side of the protocol, without a socket: bytes in, bytes out, and what has to be remembered in between.
///
/// Requests are carried out in the order in which they came. What a client can make this hold is bounded: `isReceptive`
/// tells whether more input is taken, and `isOverfull` that the client reads too slowly to be kept.
struct QMPSession {
    /// What the machine is to commands that need it.
    enum Readiness {
        case preparing, ready
        /// It ended before it was built.
        case failed
    }

    enum Limits {
        /// Requests of one client that wait for the machine; further ones are left in the socket.
        static let waitingRequests = 128
        /// Bytes of output at which no more requests are carried out until the client reads.
        static let outputMark = 64 << 10
        /// Bytes of output at which the client is given up.
        static let outputLimit = 1 << 20
    }

    /// A request in its place in the order, or what was wrong with it.
    private struct Message {
        let id: JSONValue?
        let content: Result<(command: QMPCommand, arguments: JSONObject), QMPError>

        /// What is wrong needs nothing to be answered.
        var need: QMPCommand.Need {
            switch content {
            case .success(let (command, _)): command.need
            case .failure: .monitor
            }
        }
    }

    private var framer = JSONFramer()
    private var waiting: [Message] = []
    private(set) var output = OutputQueue(limit: Limits.outputLimit)
    /// The client sends no more.
    private(set) var hasInputEnded = false

    /// There may be requests that wait for the client to read. It may have done so by now: `advance` finds out, and nothing else
    /// will come of it.
    private(set) var isHeldUp = false

    init() {
        output.append(QMPReply.greeting)
    }

    /// More input is wanted: the client's earlier requests have been dealt with as far as possible.
    var isReceptive: Bool {
        !hasInputEnded && waiting.count < Limits.waitingRequests && output.count < Limits.outputMark
    }

    /// The client did not read for so long that it has lost something.
    var isOverfull: Bool { output.hasOverflowed }

    /// All that the client sent is answered, all answers are read, and nothing more can come.
    var isFinished: Bool { hasInputEnded && waiting.isEmpty && output.isEmpty && !isHeldUp }

    mutating func receive(_ bytes: ArraySlice<UInt8>) {
        framer.append(bytes)
    }

    /// The client sends no more; what it sent in part is forgotten.
    mutating func endInput() {
        hasInputEnded = true
    }

    /// The client reads no more. What it has sent is carried out all the same.
    mutating func endOutput() {
        output.close()
    }

    mutating func send(_ bytes: [UInt8]) {
        output.append(bytes)
    }

    /// Gives the first bytes of output to `body`, which says how many it took.
    mutating func flush<Failure: Error>(_ body: (Span<UInt8>) throws(Failure) -> Int?) throws(Failure) {
        try output.drain(body)
    }

    /// Carries out the next request, if there is one whose turn it is.
    ///
    /// - Returns: false if there is nothing to do until more input comes, output goes, or the machine is ready.
    mutating func advance(_ machine: any MachineControl, _ readiness: Readiness) -> Bool {
        isHeldUp = output.count >= Limits.outputMark
        guard !isHeldUp else { return false }
        if !waiting.isEmpty, readiness != .preparing {
            carryOut(waiting.removeFirst(), machine, readiness)
            return true
        }
        guard waiting.count < Limits.waitingRequests, let frame = framer.next() else { return false }
        let message = QMPSession.message(frame)
        switch message.need {
        case .nothingBefore:
            for earlier in waiting {
                answer(earlier.id, .failure(QMPError("the machine is ended before it was built")))
            }
            waiting = []
            carryOut(message, machine, readiness)
        case .machine where readiness == .preparing:
            waiting.append(message)
        case .monitor, .machine:
            if waiting.isEmpty {
                carryOut(message, machine, readiness)
            } else {
                waiting.append(message)
            }
        }
        return true
    }

    private static func message(_ frame: JSONFramer.Frame) -> Message {
        switch frame {
        case .invalid(let error):
            return Message(id: nil, content: .failure(QMPError(error)))
        case .document(let bytes):
            let document: JSONValue
            do throws(JSONError) {
                document = try JSONParser.parse(bytes, duplicateNames: .refused)
            } catch {
                return Message(id: nil, content: .failure(QMPError(error)))
            }
            do throws(QMPError) {
                let request = try QMPRequest(document)
                return Message(
                    id: document["id"], content: .success((try QMPCommand.named(request.command), request.arguments)))
            } catch {
                return Message(id: document["id"], content: .failure(error))
            }
        }
    }

    private mutating func carryOut(_ message: Message, _ machine: any MachineControl, _ readiness: Readiness) {
        switch message.content {
        case .failure(let error):
            answer(message.id, .failure(error))
        case .success(let (command, arguments)):
            do throws(QMPError) {
                if command.need == .machine, readiness == .failed {
                    throw QMPError("the machine ended before it was built")
                }
                answer(message.id, .success(try command.run(arguments, on: machine)))
            } catch {
                answer(message.id, .failure(error))
            }
        }
    }

    private mutating func answer(_ id: JSONValue?, _ result: Result<JSONValue, QMPError>) {
        output.append(QMPReply.answer(result, id: id))
    }
}
