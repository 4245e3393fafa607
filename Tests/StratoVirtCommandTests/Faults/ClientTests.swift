import Foundation
import Glibc
import Testing

/// What a process has of its host, as the kernel tells others.
private struct Holdings: CustomStringConvertible {
    var descriptors: Int
    var threads: Int
    var mappings: Int
    var residentKiB: Int

    init(of process: pid_t) throws {
        func count(_ name: String) throws -> Int {
            try FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/\(name)").count
        }
        descriptors = try count("fd")
        threads = try count("task")
        mappings = try Holdings.text("/proc/\(process)/maps").split(separator: "\n").count
        let resident = try Holdings.text("/proc/\(process)/status").split(separator: "\n").first { $0.hasPrefix("RssAnon:") }
        residentKiB = try #require(resident?.split(whereSeparator: { " \t".contains($0) }).dropFirst().first.flatMap { Int($0) })
    }

    private static func text(_ path: String) throws -> String {
        let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
        defer { try? file.close() }
        return String(decoding: try file.readToEnd() ?? Data(), as: UTF8.self)
    }

    var description: String {
        "\(descriptors) descriptors, \(threads) threads, \(mappings) mappings, \(residentKiB) KiB of its own"
    }
}

/// The executable without a machine, which needs no KVM.
@Suite("Clients that come and go", .enabled(if: BuiltExecutable.stripped != nil, BuiltExecutable.missing), .serialized)
struct ClientTests {
    private static let request = Data(#"{"execute":"query-commands","id":"abcdefgh"}"#.utf8)

    private static func send(_ bytes: Data, to socket: Int32, flags: Int32 = 0) -> Int {
        bytes.withUnsafeBytes { Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL) | flags) }
    }

    /// One client's whole life, of a kind that its number chooses.
    static func live(_ number: Int, _ path: String, _ random: inout SeededGenerator) {
        let socket = UnixSocket.connect(path)
        guard socket >= 0 else { return }
        defer { close(socket) }
        switch number % 5 {
        // Gone at once, with the greeting unread.
        case 0: break
        // In the middle of a request.
        case 1: _ = send(request.prefix(Int.random(in: 1..<request.count, using: &random)), to: socket)
        // With requests whose answers nobody reads.
        case 2: for _ in 0..<20 { _ = send(request, to: socket, flags: Int32(MSG_DONTWAIT)) }
        // With bytes that are no request.
        case 3: _ = send(Data((0..<200).map { _ in UInt8.random(in: 0...255, using: &random) }), to: socket)
        // As clients should.
        default:
            _ = send(request, to: socket)
            shutdown(socket, Int32(SHUT_WR))
            var buffer = [UInt8](repeating: 0, count: 4096)
            while read(socket, &buffer, buffer.count) > 0 {}
        }
    }

    @Test("A thousand QMP clients, many of them at once, leave the process as it was, and nobody else waits for them")
    func thousand() throws {
        let place = try MonitorPlace(kernel: [])
        place.arguments = ["-machine", "none", "-qmp", "unix:\(place.socket),server,nowait"]
        let process = try place.start()
        defer { process.send(signal: SIGKILL) }
        let bystander = try QMPConnection(path: place.socket) { process.isRunning }
        try bystander.negotiate()
        var random = SeededGenerator(seed: 3)

        func come(_ count: Int) throws {
            for number in 0..<count {
                if number % 100 == 50 {
                    // A few more than are served at once, and no more than may wait beside them.
                    let crowd = (0..<68).map { _ in UnixSocket.connect(place.socket) }
                    for socket in crowd where socket >= 0 { _ = ClientTests.send(ClientTests.request.prefix(9), to: socket) }
                    for socket in crowd where socket >= 0 { close(socket) }
                }
                ClientTests.live(number, place.socket, &random)
                if number % 50 == 0 { #expect(try bystander.status() == "prelaunch") }
            }
        }
        /// What is under way ends; a client that connects last is served last.
        func settled(atMost limit: Int?) throws -> Holdings {
            _ = try QMPConnection(path: place.socket).status()
            var now = try Holdings(of: process.identifier)
            var patience = 2000
            while let limit, now.descriptors > limit, patience > 0 {
                usleep(5000)
                patience -= 1
                now = try Holdings(of: process.identifier)
            }
            return now
        }
        try come(200)
        usleep(100_000)
        let before = try settled(atMost: nil)
        try come(1000)
        let after = try settled(atMost: before.descriptors)
        print("before: \(before); after: \(after)")
        #expect(after.descriptors <= before.descriptors)
        #expect(after.threads <= before.threads)
        #expect(after.mappings <= before.mappings + 2)
        #expect(after.residentKiB <= before.residentKiB + 256)
        #expect(try bystander.status() == "prelaunch")
        try bystander.execute("quit")
        #expect(process.waitForEnd(within: Patience.monitor) == .exited(0))
        #expect(process.errors.text.isEmpty, "\(process.errors.text)")
        #expect(place.leftovers == [])
    }
}
