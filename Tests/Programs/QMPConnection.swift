import CStratoLinux
import Foundation
import Glibc

/// An error that a QMP server answered.
struct QMPFailure: Error, CustomStringConvertible {
    let errorClass: String
    let text: String

    var description: String { "QMP error \(errorClass): \(text)" }
}

/// Something that a QMP server told.
struct QMPEventMessage {
    let name: String
    let data: [String: Any]
    /// Seconds since 1970.
    let time: TimeInterval

    var reason: String? { data["reason"] as? String }
    var isByGuest: Bool? { data["guest"] as? Bool }
}

/// A QMP client on a Unix socket, written apart from the server's code so that the two don't share a mistake.
///
/// Events that come while an answer is awaited are kept, in order.
final class QMPConnection {
    let greeting: [String: Any]
    private(set) var events: [QMPEventMessage] = []

    private let descriptor: Int32
    private var received = Data()
    private var nextEvent = 0
    private var lastID = 0

    /// Connects, waiting for the socket to appear, and reads the greeting.
    ///
    /// - Parameters:
    ///   - path: the server's socket.
    ///   - seconds: given to the server to be there and to greet.
    ///   - isAlive: false once there is nobody left to wait for.
    /// - Throws: `GuestFailure` if there is no greeting.
    init(path: String, within seconds: TimeInterval = Patience.monitor, isAlive: () -> Bool = { true }) throws {
        let deadline = Date(timeIntervalSinceNow: seconds)
        var connected = UnixSocket.connect(path)
        while connected < 0 {
            let reason = String(cString: strerror(-connected))
            guard Date() < deadline, isAlive() else { throw GuestFailure("no QMP server at \(path): \(reason)") }
            usleep(5000)
            connected = UnixSocket.connect(path)
        }
        descriptor = connected
        do {
            let first = try QMPConnection.readMessage(descriptor, &received, until: deadline)
            guard let greeting = first["QMP"] as? [String: Any] else { throw GuestFailure("no QMP greeting: \(first)") }
            self.greeting = greeting
        } catch {
            close(descriptor)
            throw error
        }
    }

    deinit { close(descriptor) }

    // MARK: Commands

    /// Sends a command and waits for its answer.
    ///
    /// - Throws: `QMPFailure` if the server refuses, `GuestFailure` if it does not answer rightly.
    @discardableResult
    func execute(
        _ command: String, _ arguments: [String: Any] = [:], within seconds: TimeInterval = Patience.monitor
    ) throws -> Any {
        lastID += 1
        var request: [String: Any] = ["execute": command, "id": lastID]
        if !arguments.isEmpty { request["arguments"] = arguments }
        try send(JSONSerialization.data(withJSONObject: request) + Data("\r\n".utf8))
        let deadline = Date(timeIntervalSinceNow: seconds)
        while true {
            let message = try QMPConnection.readMessage(descriptor, &received, until: deadline)
            if keep(message) { continue }
            guard message["id"] as? Int == lastID else {
                throw GuestFailure("\(command) with id \(lastID) was answered by \(message)")
            }
            if let error = message["error"] as? [String: Any] {
                throw QMPFailure(errorClass: error["class"] as? String ?? "", text: error["desc"] as? String ?? "")
            }
            guard let result = message["return"] else { throw GuestFailure("\(command) was answered by \(message)") }
            return result
        }
    }

    /// Negotiates: events are told from here on.
    func negotiate() throws { try execute("qmp_capabilities") }

    /// `query-status`'s word.
    func status() throws -> String {
        let answer = try execute("query-status") as? [String: Any]
        return answer?["status"] as? String ?? "none"
    }

    // MARK: Events

    /// Waits for the next event of a name; those before it are passed over, but stay in `events`.
    func waitForEvent(_ name: String, within seconds: TimeInterval = Patience.monitor) throws -> QMPEventMessage {
        let deadline = Date(timeIntervalSinceNow: seconds)
        while true {
            while nextEvent < events.count {
                nextEvent += 1
                if events[nextEvent - 1].name == name { return events[nextEvent - 1] }
            }
            do {
                let message = try QMPConnection.readMessage(descriptor, &received, until: deadline)
                guard keep(message) else { throw GuestFailure("an answer that nobody asked for: \(message)") }
            } catch let failure as GuestFailure {
                let seen = events.map(\.name).joined(separator: ", ")
                throw GuestFailure("no event \(name): \(failure); events so far: \(seen.isEmpty ? "none" : seen)")
            }
        }
    }

    /// Reads events until the server closes the connection.
    func drain(within seconds: TimeInterval = Patience.monitor) {
        let deadline = Date(timeIntervalSinceNow: seconds)
        while let message = try? QMPConnection.readMessage(descriptor, &received, until: deadline) {
            _ = keep(message)
        }
    }

    private func keep(_ message: [String: Any]) -> Bool {
        guard let name = message["event"] as? String else { return false }
        let timestamp = message["timestamp"] as? [String: Any]
        let seconds = timestamp?["seconds"] as? Double ?? 0
        let microseconds = timestamp?["microseconds"] as? Double ?? 0
        events.append(
            QMPEventMessage(name: name, data: message["data"] as? [String: Any] ?? [:], time: seconds + microseconds / 1e6))
        return true
    }

    // MARK: Bytes

    private func send(_ data: Data) throws {
        var sent = 0
        while sent < data.count {
            let count = data.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress?.advanced(by: sent), $0.count - sent, Int32(MSG_NOSIGNAL))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw GuestFailure("the QMP server has closed the connection") }
            sent += count
        }
    }

    /// The next line as a JSON object.
    private static func readMessage(_ descriptor: Int32, _ received: inout Data, until deadline: Date) throws -> [String: Any] {
        while true {
            if let end = received.firstIndex(of: UInt8(ascii: "\n")) {
                let line = received[received.startIndex..<end]
                received = Data(received[received.index(after: end)...])
                guard line.last == UInt8(ascii: "\r") else {
                    throw GuestFailure("a QMP line without CR: \(String(decoding: line, as: UTF8.self))")
                }
                guard let object = try JSONSerialization.jsonObject(with: line) as? [String: Any] else {
                    throw GuestFailure("no JSON object: \(String(decoding: line, as: UTF8.self))")
                }
                return object
            }
            let left = deadline.timeIntervalSinceNow
            var poller = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard left > 0, poll(&poller, 1, Int32(left * 1000) + 1) > 0 else {
                throw GuestFailure("the QMP server does not answer")
            }
            var buffer = [UInt8](repeating: 0, count: 4096)
            let count = read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw GuestFailure("the QMP server has closed the connection") }
            received.append(contentsOf: buffer[..<count])
        }
    }
}
