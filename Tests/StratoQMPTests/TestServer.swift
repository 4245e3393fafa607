import Foundation
import Glibc
import StratoHost
import StratoQMP
import StratoVMM
import Synchronization
import Testing

/// Log lines, kept.
final class RecordingSink: LogSink {
    private let recorded = Mutex<[String]>([])

    var lines: [String] { recorded.withLock { $0 } }

    func write(_ level: LogLevel, _ message: String) { recorded.withLock { $0.append(message) } }
}

/// A server for a machine that does nothing, on a loop and at a path of its own.
final class TestServer {
    let machine: FakeMachine
    let sink = RecordingSink()
    let loopThread: EventLoopThread
    let server: QMPServer
    let directory: String
    var path: String { "\(directory)/qmp.sock" }

    init(_ machine: FakeMachine = FakeMachine()) throws {
        self.machine = machine
        directory = NSTemporaryDirectory() + "qmp-" + UUID().uuidString.prefix(8)
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: false)
        loopThread = try EventLoopThread(name: "qmp-test")
        server = QMPServer(machine: machine, loop: loopThread.loop, logger: Logger(sink: sink, level: .debug))
        try server.listen(at: .unix(path: path))
    }

    deinit {
        loopThread.stop()
        try? FileManager.default.removeItem(atPath: directory)
    }

    /// A client that has read the greeting.
    func connect() throws -> TestClient {
        let client = try TestClient(path: path)
        _ = try client.readLine()
        return client
    }

    /// Waits until the loop has done what it was given before.
    func settle() {
        loopThread.loop.runBlocking {}
    }

    /// Sends what the server takes, also if it has to be waited for a little.
    ///
    /// - Returns: how much went; nil if the server takes nothing any more.
    func send(_ bytes: ArraySlice<UInt8>, from client: TestClient) -> Int? {
        for _ in 0..<200 {
            let count = client.sendSome(Array(bytes))
            if count >= 0 { return count }
            settle()
        }
        return nil
    }
}

/// A client with a blocking socket, which fails instead of hanging.
final class TestClient {
    enum Failure: Error { case system(String, Int32), ended, late }

    let socket: Int32
    private var received: [UInt8] = []

    init(path: String) throws {
        socket = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { bytes in
            bytes.copyBytes(from: Array(path.utf8.prefix(bytes.count - 1)))
        }
        try connect(&address)
    }

    /// A client of a port of 127.0.0.1.
    init(port: UInt16) throws {
        socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        try connect(&address)
    }

    private func connect<Address>(_ address: inout Address) throws {
        var limit = timeval(tv_sec: 120, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                Glibc.connect(socket, pointer, socklen_t(MemoryLayout<Address>.size))
            }
        }
        if result < 0 { throw Failure.system("connect", errno) }
    }

    deinit {
        close(socket)
    }

    func send(_ text: String) throws { try send(Array(text.utf8)) }

    func send(_ bytes: [UInt8]) throws {
        guard TestClient.send(bytes, to: socket) else { throw Failure.system("send", errno) }
    }

    /// Sends everything, waiting where it must.
    static func send(_ bytes: [UInt8], to socket: Int32) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let sent = rest.withUnsafeBytes { Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard sent > 0 else { return false }
            rest = rest.dropFirst(sent)
        }
        return true
    }

    /// Sends what goes without waiting.
    func sendSome(_ bytes: [UInt8]) -> Int {
        bytes.withUnsafeBytes {
            Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
        }
    }

    /// Nothing more will be sent.
    func endOutput() { shutdown(socket, Int32(SHUT_WR)) }

    /// The next line, which must end in CR LF.
    func readLine() throws -> String {
        while true {
            if let end = received.firstIndex(of: 0x0A) {
                let line = received[..<end]
                received.removeFirst(end + 1)
                #expect(line.last == 0x0D, "a line ends without CR LF")
                return String(decoding: line.dropLast(), as: UTF8.self)
            }
            if try !readMore() { throw Failure.ended }
        }
    }

    /// All lines until the server hangs up.
    func readToEnd() throws -> [String] {
        while try readMore() {}
        defer { received = [] }
        return String(decoding: received, as: UTF8.self).components(separatedBy: "\r\n").filter { !$0.isEmpty }
    }

    private func readMore() throws -> Bool {
        var buffer = [UInt8](repeating: 0, count: 65536)
        let count = recv(socket, &buffer, buffer.count, 0)
        if count < 0 {
            if errno == ECONNRESET { return false }
            throw errno == EAGAIN ? Failure.late : Failure.system("recv", errno)
        }
        received += buffer[..<count]
        return count > 0
    }

    /// True if nothing comes for a while.
    func isQuiet(milliseconds: Int = 200) -> Bool {
        guard received.isEmpty else { return false }
        var entry = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, Int32(milliseconds)) == 0
    }

    /// Sends a request and returns the answer, which must be the next line.
    func ask(_ request: String) throws -> String {
        try send(request)
        return try readLine()
    }
}

/// Fails the process unless that many descriptors are open once all that is under way has ended.
func expectDescriptors(_ count: Int) throws {
    // A descriptor that somebody else in the process closes meanwhile is no leak.
    for _ in 0..<1000 where try OpenResources.descriptors() > count { usleep(10_000) }
    let open = try OpenResources.descriptors()
    guard open <= count else { fatalError("\(open) descriptors are open, not \(count)") }
}

/// An event without its timestamp, which is checked for its form.
func withoutTimestamp(_ line: String) throws -> String {
    guard case .object(var object) = try JSONParser.parse(Array(line.utf8)) else { return line }
    if object["event"] != nil {
        guard case .integer(let seconds)? = object["timestamp"]?["seconds"],
            case .integer(let microseconds)? = object["timestamp"]?["microseconds"]
        else {
            Issue.record("no timestamp in \(line)")
            return line
        }
        #expect(abs(seconds - Int64(time(nil))) < 3600)
        #expect((0..<1_000_000).contains(microseconds))
        object["timestamp"] = nil
    }
    return String(decoding: JSONValue.object(object).encoded, as: UTF8.self)
}
