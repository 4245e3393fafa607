import Foundation
import Glibc
import StratoHost
import StratoQMP
import StratoVMM
import Synchronization
import Testing

private let greeting = """
    {"QMP":{"version":{"qemu":{"micro":1,"minor":0,"major":5},"package":"StratoVirt-2.5.0"},"capabilities":[]}}
    """

private let running = "{\"return\":{\"running\":true,\"singlestep\":false,\"status\":\"running\"}}"

@Suite("QMP server")
struct QMPServerTests {
    // MARK: Requests

    @Test("the greeting is StratoVirt's, byte for byte, and comes before anything is sent")
    func greetingBytes() throws {
        let server = try TestServer()
        let client = try TestClient(path: server.path)
        #expect(try client.readLine() == greeting)
        #expect(client.isQuiet(milliseconds: 50))
    }

    @Test("commands are answered without negotiation, with it, and after it twice")
    func negotiation() throws {
        let server = try TestServer()
        let client = try server.connect()
        #expect(try client.ask("{\"execute\":\"query-status\"}") == running)
        #expect(try client.ask("{\"execute\":\"qmp_capabilities\"}") == "{\"return\":{}}")
        #expect(try client.ask("{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[]}}") == "{\"return\":{}}")
        #expect(try client.ask("{\"execute\":\"query-status\",\"arguments\":{}}") == running)
    }

    @Test(
        "an id of any type comes back, whatever the answer",
        arguments: [
            "\"libvirt-1\"", "1", "-7", "18446744073709551615", "1.5", "true", "null", "[1,{\"a\":[]}]", "{\"execute\":\"quit\"}",
            "\"\\u00e9\\u0000\"",
        ])
    func identifiers(_ id: String) throws {
        let server = try TestServer()
        let client = try server.connect()
        #expect(try client.ask("{\"id\":\(id),\"execute\":\"qmp_capabilities\"}") == "{\"return\":{},\"id\":\(id)}")
        #expect(try client.ask("{\"execute\":\"query-name\",\"id\":\(id)}") == "{\"return\":{},\"id\":\(id)}")
        for request in ["\"execute\":\"nope\"", "\"execute\":1", "\"execute\":\"stop\",\"arguments\":{\"x\":1}", "\"other\":1"] {
            let answer = try client.ask("{\(request),\"id\":\(id)}")
            #expect(answer.hasPrefix("{\"error\":{\"class\":\"") && answer.hasSuffix("\"},\"id\":\(id)}"), "\(answer)")
        }
        #expect(server.machine.calls == [])
    }

    @Test(
        "what is no request is answered with what is wrong",
        arguments: [
            ("[]", "QMP input must be a JSON object, not array"),
            ("\"stop\"", "QMP input must be a JSON object, not string"),
            ("12 ", "QMP input must be a JSON object, not integer"),
            ("{}", "QMP input lacks member 'execute'"),
            ("{\"id\":1}", "QMP input lacks member 'execute'"),
            ("{\"execute\":null}", "QMP input member 'execute' must be a string"),
            ("{\"execute\":\"stop\",\"arguments\":[]}", "QMP input member 'arguments' must be an object"),
            ("{\"execute\":\"stop\",\"argument\":{}}", "QMP input member 'argument' is unexpected"),
            ("{\"exec-oob\":\"stop\"}", "QMP input member 'exec-oob' is unexpected"),
            ("{\"execute\":\"stop\",\"arguments\":{\"a\":1}}", "Parameter 'a' is unexpected"),
            ("{\"execute\":\"stop\",}", "JSON parse error, expected a name in double quotes at byte 18"),
            ("{'execute':'stop'}", "JSON parse error, expected a name in double quotes at byte 1"),
            ("{\"execute\":stop}", "JSON parse error, expected a value at byte 11"),
            ("{\"execute\":\"stop}\n", "JSON parse error, the line ends inside a string at byte 17"),
            ("{]", "JSON parse error, ']' closes what was not opened at byte 1"),
            ("}", "JSON parse error, '}' outside of a document at byte 0"),
            ("stop\n", "JSON parse error, expected a value at byte 0"),
            (
                "{\"execute\":\"stop\",\"execute\":\"quit\"}",
                "JSON parse error, the name \\\"execute\\\" stands twice in one object at byte 18"
            ),
            ("{\"execute\":\"\u{0}", "JSON parse error, a byte that stands in no JSON text at byte 12"),
        ])
    func badRequests(_ request: String, _ description: String) throws {
        let server = try TestServer()
        let client = try server.connect()
        let answer = try client.ask(request)
        let tail = request == "{\"id\":1}" ? ",\"id\":1}" : "}"
        #expect(answer == "{\"error\":{\"class\":\"GenericError\",\"desc\":\"\(description)\"}\(tail)")
        // One error for each, and the client is served on.
        #expect(try client.ask("{\"execute\":\"query-status\"}") == running)
        #expect(server.machine.calls == [])
    }

    @Test("an unknown command is of class CommandNotFound, the machine's refusals are of class GenericError")
    func errorClasses() throws {
        let server = try TestServer()
        let client = try server.connect()
        #expect(
            try client.ask("{\"execute\":\"query-sgx\"}")
                == "{\"error\":{\"class\":\"CommandNotFound\",\"desc\":\"The command query-sgx has not been found\"}}")
        server.machine.refuse("no power button")
        #expect(
            try client.ask("{\"execute\":\"system_powerdown\"}")
                == "{\"error\":{\"class\":\"GenericError\",\"desc\":\"no power button\"}}")
    }

    @Test("a request may come byte by byte")
    func pieces() throws {
        let server = try TestServer()
        let client = try server.connect()
        for byte in "{\"execute\":\"query-status\",\"id\":\"a}b\"}".utf8 {
            try client.send([byte])
            server.settle()
        }
        #expect(try client.readLine() == String(running.dropLast()) + ",\"id\":\"a}b\"}")
    }

    @Test("a thousand requests in one write are answered in order")
    func pipelined() throws {
        let server = try TestServer()
        let client = try server.connect()
        let requests = (0..<1000).map { number in
            "{\"execute\":\"\(number % 3 == 0 ? "query-commands" : "query-status")\",\"id\":\(number)}"
        }
        let bytes = Array(requests.joined().utf8)
        let socket = client.socket
        let writer = try HostThread.start(name: "writer") { _ = TestClient.send(bytes, to: socket) }
        for number in 0..<1000 {
            let line = try client.readLine()
            #expect(line.hasSuffix(",\"id\":\(number)}"), "\(line)")
        }
        writer.join()
    }

    @Test("a megabyte of string is refused once, and the client is served on")
    func hugeString() throws {
        let server = try TestServer()
        let client = try server.connect()
        try client.send("{\"execute\":\"" + String(repeating: "a", count: 1 << 20) + "\"}")
        #expect(try client.readLine().contains("the document is longer than 262144 bytes"))
        #expect(try client.ask("{\"execute\":\"query-status\"}") == running)
    }

    @Test("deep nesting is refused once, and the client is served on", arguments: ["[", "{\"a\":"])
    func deepNesting(_ open: String) throws {
        let server = try TestServer()
        let client = try server.connect()
        let close = open == "[" ? "]" : "}"
        try client.send(String(repeating: open, count: 100_000) + "1" + String(repeating: close, count: 100_000))
        #expect(try client.readLine().contains("more than 256 arrays and objects inside each other"))
        #expect(try client.ask("{\"execute\":\"query-status\"}") == running)
    }

    @Test("random bytes never end the server or anybody else's connection")
    func randomBytes() throws {
        let server = try TestServer()
        let bystander = try server.connect()
        var generator = SeededGenerator(seed: 4)
        for _ in 0..<50 {
            let client = try server.connect()
            let bytes = (0..<2000).map { _ in UInt8.random(in: 0...255, using: &generator) }
            try client.send(bytes)
            client.endOutput()
            #expect(try client.readToEnd().allSatisfy { $0.hasPrefix("{\"error\":{\"class\":\"GenericError\"") })
        }
        #expect(try bystander.ask("{\"execute\":\"query-status\"}") == running)
    }

    // MARK: Hanging up

    @Test("what was asked before the client ended its side is answered before the server hangs up")
    func halfClose() throws {
        let server = try TestServer()
        let client = try server.connect()
        try client.send("{\"execute\":\"query-status\"}{\"execute\":\"query-name\"}{\"execute\":\"st")
        client.endOutput()
        #expect(try client.readToEnd() == [running, "{\"return\":{}}"])
    }

    @Test("a client that hangs up at once is still obeyed")
    func fireAndForget() throws {
        let server = try TestServer()
        // Here before: events go to those alone that are.
        let other = try server.connect()
        do {
            let client = try TestClient(path: server.path)
            try client.send("{\"execute\":\"stop\"}{\"execute\":\"cont\"}")
        }
        #expect(try withoutTimestamp(other.readLine()) == "{\"event\":\"STOP\",\"data\":{}}")
        #expect(try withoutTimestamp(other.readLine()) == "{\"event\":\"RESUME\",\"data\":{}}")
        while server.server.clientCount > 1 { server.settle() }
        #expect(server.machine.calls == ["pause", "resume"])
    }

    @Test("a thousand clients that come and go, in the middle of whatever, leave nothing behind")
    func vanishingClients() async {
        await #expect(processExitsWith: .success) {
            let server = try TestServer()
            let bystander = try server.connect()
            let before = try OpenResources.descriptors()
            var generator = SeededGenerator(seed: 5)
            let request = Array("{\"execute\":\"query-commands\",\"id\":\"abcdefgh\"}".utf8)
            for round in 0..<1000 {
                let client = try TestClient(path: server.path)
                _ = client.sendSome(Array(request.prefix(Int.random(in: 0...request.count, using: &generator))))
                if round % 3 == 0 { _ = try client.readLine() }
            }
            // Who connects last is served last.
            _ = try server.connect().ask("{\"execute\":\"query-status\"}")
            while server.server.clientCount > 1 { server.settle() }
            guard try bystander.ask("{\"execute\":\"query-status\"}") == running else { fatalError("not served") }
            try expectDescriptors(before)
        }
    }

    @Test("descriptors passed along with a request are not kept")
    func passedDescriptors() async {
        await #expect(processExitsWith: .success) {
            let server = try TestServer()
            let client = try server.connect()
            let before = try OpenResources.descriptors()
            for _ in 0..<100 {
                try client.sendWithDescriptor("{\"execute\":\"query-status\"}", 0)
                _ = try client.readLine()
            }
            try expectDescriptors(before)
        }
    }

    @Test("a server that is let go of, with clients, gives everything back")
    func releasedServer() async {
        await #expect(processExitsWith: .success) {
            let thread = try EventLoopThread(name: "loop")
            let path = NSTemporaryDirectory() + "qmp-\(getpid()).sock"
            var before = 0
            for round in 0..<20 {
                if round == 1 { before = try OpenResources.descriptors() }
                let machine = FakeMachine()
                do {
                    let server = QMPServer(machine: machine, loop: thread.loop, logger: .silent)
                    try server.listen(at: .unix(path: path))
                    let clients = try (0..<5).map { _ in try TestClient(path: path) }
                    for client in clients { _ = try client.readLine() }
                }
                machine.emit(.stopped)
                thread.loop.runBlocking {}
            }
            try expectDescriptors(before)
            guard !FileManager.default.fileExists(atPath: path) else { fatalError("the socket is left over") }
        }
    }

    @Test("more clients than are served at once wait, and get their turn")
    func crowd() throws {
        let server = try TestServer()
        var clients: [TestClient] = []
        for _ in 0..<QMPServer.maximumClientCount { clients.append(try server.connect()) }
        let waiting = try (0..<10).map { _ in try TestClient(path: server.path) }
        #expect(waiting.allSatisfy { $0.isQuiet(milliseconds: 20) })
        #expect(try clients[63].ask("{\"execute\":\"query-status\"}") == running)
        clients.removeAll()
        for client in waiting {
            #expect(try client.readLine() == greeting)
            #expect(try client.ask("{\"execute\":\"query-status\"}") == running)
        }
    }

    // MARK: Events

    @Test("events go to every client, negotiated or silent, after the answer to the command that caused them")
    func events() throws {
        let server = try TestServer()
        let first = try server.connect()
        let silent = try server.connect()
        let negotiated = try server.connect()
        _ = try negotiated.ask("{\"execute\":\"qmp_capabilities\"}")
        try first.send("{\"execute\":\"stop\",\"id\":1}{\"execute\":\"cont\",\"id\":2}{\"execute\":\"query-status\"}")
        let lines = try (0..<5).map { _ in try withoutTimestamp(first.readLine()) }
        #expect(
            lines == [
                "{\"return\":{},\"id\":1}", "{\"event\":\"STOP\",\"data\":{}}", "{\"return\":{},\"id\":2}",
                "{\"event\":\"RESUME\",\"data\":{}}", running,
            ])
        for client in [silent, negotiated] {
            #expect(try withoutTimestamp(client.readLine()) == "{\"event\":\"STOP\",\"data\":{}}")
            #expect(try withoutTimestamp(client.readLine()) == "{\"event\":\"RESUME\",\"data\":{}}")
        }
    }

    @Test("a client that never reads is dropped when events flood, with one line in the log; the others miss nothing")
    func floodedClient() throws {
        let server = try TestServer()
        let deaf = try TestClient(path: server.path)
        let reader = try server.connect()
        var seen = 0
        // Each event is about 130 bytes: more than the limit and the socket's buffers together.
        for _ in 0..<200 {
            for _ in 0..<100 { server.machine.emit(.reset(guest: true)) }
            for _ in 0..<100 {
                #expect(try reader.readLine().hasPrefix("{\"event\":\"RESET\""))
                seen += 1
            }
        }
        #expect(seen == 20_000)
        #expect(server.server.clientCount == 1)
        #expect(server.sink.lines == ["qmp: a client that does not read what it is sent is dropped"])
        // What it had been sent is whole up to where it stops.
        #expect(try deaf.readToEnd().first == greeting)
    }

    @Test("events that come faster than they can be sent are left out with a word, and memory stays bounded")
    func eventStorm() throws {
        let server = try TestServer()
        let client = try server.connect()
        let gate = Monitor(false)
        server.loopThread.loop.execute { _ = gate.wait { $0 ? true : nil } }
        for _ in 0..<5000 { server.machine.emit(.reset(guest: true)) }
        server.machine.emit(.shutdown(.guestShutdown))
        gate.update { $0 = true }
        var lines: [String] = []
        repeat { lines.append(try client.readLine()) } while !(lines.last ?? "").contains("SHUTDOWN")
        #expect(lines.count == 256)
        #expect(server.sink.lines == ["qmp: 4745 events came faster than they could be sent and are left out"])
    }

    @Test("a client that asks and never reads is not read from any more, holds nobody up, and gets all once it reads")
    func lazyClient() throws {
        let server = try TestServer()
        let lazy = try server.connect()
        let requests = Array(String(repeating: "{\"execute\":\"query-commands\"}", count: 100).utf8)
        var sent = 0
        var rest = requests[...]
        while sent < 50_000 {
            guard let count = server.send(rest, from: lazy) else { break }
            rest = rest.dropFirst(count)
            if rest.isEmpty {
                sent += 100
                rest = requests[...]
            }
        }
        #expect(sent < 50_000, "the server never stops reading")
        let other = try server.connect()
        #expect(try other.ask("{\"execute\":\"query-status\"}") == running)
        var answers = 0
        while answers < sent {
            #expect(try lazy.readLine().hasPrefix("{\"return\":[{\"name\":"))
            answers += 1
        }
        #expect(server.sink.lines == [])
    }

    // MARK: Before the machine is built

    @Test("before the machine is built, what is about the monitor is answered, and what needs the machine waits its turn")
    func preparing() throws {
        let server = try TestServer(FakeMachine(.preparing))
        let client = try TestClient(path: server.path)
        #expect(try client.readLine() == greeting)
        #expect(try client.ask("{\"execute\":\"query-name\"}") == "{\"return\":{}}")
        try client.send(
            "{\"execute\":\"query-status\",\"id\":1}{\"execute\":\"query-name\",\"id\":2}{\"execute\":\"stop\",\"id\":3}nonsense\n"
        )
        #expect(client.isQuiet())
        let other = try server.connect()
        #expect(try other.ask("{\"execute\":\"query-name\"}") == "{\"return\":{}}")
        server.machine.becomeReady()
        #expect(try client.readLine() == String(running.dropLast()) + ",\"id\":1}")
        #expect(try client.readLine() == "{\"return\":{},\"id\":2}")
        #expect(try client.readLine() == "{\"return\":{},\"id\":3}")
        #expect(try withoutTimestamp(client.readLine()) == "{\"event\":\"STOP\",\"data\":{}}")
        #expect(try client.readLine().contains("JSON parse error"))
        #expect(try withoutTimestamp(other.readLine()) == "{\"event\":\"STOP\",\"data\":{}}")
    }

    @Test("any number of requests may wait for the machine; the rest stays in the socket, and all are answered in order")
    func manyWaiting() throws {
        let server = try TestServer(FakeMachine(.preparing))
        let client = try server.connect()
        var sent = 0
        var backlog: ArraySlice<UInt8> = []
        while sent < 1_000_000 {
            if backlog.isEmpty {
                backlog = Array("{\"execute\":\"query-status\",\"id\":\(sent)}".utf8)[...]
                sent += 1
            }
            guard let count = server.send(backlog, from: client) else { break }
            backlog = backlog.dropFirst(count)
        }
        #expect(sent < 1_000_000)
        server.machine.becomeReady()
        for number in 0..<sent - 1 {
            #expect(try client.readLine() == String(running.dropLast()) + ",\"id\":\(number)}")
        }
    }

    @Test("quit overtakes what waits for a machine that is never built, in order all the same")
    func quitWhilePreparing() throws {
        let server = try TestServer(FakeMachine(.preparing))
        let client = try server.connect()
        try client.send("{\"execute\":\"query-status\",\"id\":1}{\"execute\":\"quit\",\"id\":2}")
        #expect(
            try client.readLine()
                == "{\"error\":{\"class\":\"GenericError\",\"desc\":\"the machine is ended before it was built\"},\"id\":1}")
        #expect(try client.readLine() == "{\"return\":{},\"id\":2}")
        #expect(
            try withoutTimestamp(client.readLine())
                == "{\"event\":\"SHUTDOWN\",\"data\":{\"guest\":false,\"reason\":\"host-qmp-quit\"}}")
        #expect(server.machine.calls == ["shutdown host-qmp-quit"])
    }

    @Test("when the machine ends before it is built, what waited is told so")
    func failedBuild() throws {
        let server = try TestServer(FakeMachine(.preparing))
        let client = try server.connect()
        try client.send("{\"execute\":\"query-cpus\",\"id\":1}{\"execute\":\"query-name\",\"id\":2}")
        server.settle()
        server.machine.shutDown(.hostError)
        let lines = try (0..<3).map { _ in try withoutTimestamp(client.readLine()) }
        #expect(
            lines == [
                "{\"event\":\"SHUTDOWN\",\"data\":{\"guest\":false,\"reason\":\"host-error\"}}",
                "{\"error\":{\"class\":\"GenericError\",\"desc\":\"the machine ended before it was built\"},\"id\":1}",
                "{\"return\":{},\"id\":2}",
            ])
    }

    @Test("when the server ends before the machine is built, what waited is told so before it hangs up")
    func shutDownWhilePreparing() throws {
        let server = try TestServer(FakeMachine(.preparing))
        let client = try server.connect()
        try client.send("{\"execute\":\"query-cpus\",\"id\":1}")
        _ = try server.connect().ask("{\"execute\":\"query-name\"}")
        server.server.shutDown(flushMilliseconds: 10_000) {}
        #expect(
            try client.readToEnd()
                == ["{\"error\":{\"class\":\"GenericError\",\"desc\":\"the machine ended before it was built\"},\"id\":1}"])
    }

    // MARK: Sockets and the end

    @Test("the socket's path is for its owner alone")
    func socketMode() throws {
        let server = try TestServer()
        let attributes = try FileManager.default.attributesOfItem(atPath: server.path)
        #expect(attributes[.posixPermissions] as? Int == 0o600)
        #expect(attributes[.type] as? FileAttributeType == .typeSocket)
    }

    @Test("TCP and several sockets serve the same machine")
    func severalListeners() throws {
        let server = try TestServer()
        let second = try server.server.listen(at: .unix(path: "\(server.directory)/second.sock"))
        #expect(second == .unix(path: "\(server.directory)/second.sock"))
        guard case .tcp(_, let port) = try server.server.listen(at: .tcp(host: "127.0.0.1", port: 0)) else {
            Issue.record("no TCP address")
            return
        }
        let clients = try [
            TestClient(path: server.path), TestClient(path: "\(server.directory)/second.sock"), TestClient(port: port),
        ]
        for client in clients { #expect(try client.readLine() == greeting) }
        #expect(try clients[2].ask("{\"execute\":\"stop\"}") == "{\"return\":{}}")
        for client in clients { #expect(try withoutTimestamp(client.readLine()) == "{\"event\":\"STOP\",\"data\":{}}") }
        #expect(throws: LinuxError.self) { try server.server.listen(at: .unix(path: server.path)) }
    }

    @Test("quit is answered, then SHUTDOWN is told to all, then the server hangs up and its paths are gone")
    func quit() throws {
        let server = try TestServer()
        let done = Monitor(0)
        server.machine.observe { [weak owner = server.server] event in
            if case .shutdown = event { owner?.shutDown(flushMilliseconds: 10_000) { done.update { $0 += 1 } } }
        }
        let client = try server.connect()
        let other = try server.connect()
        try client.send("{\"execute\":\"quit\",\"id\":\"q\"}{\"execute\":\"query-status\"}")
        let told = "{\"event\":\"SHUTDOWN\",\"data\":{\"guest\":false,\"reason\":\"host-qmp-quit\"}}"
        let lines = try client.readToEnd().map(withoutTimestamp)
        #expect(
            lines == [
                "{\"return\":{},\"id\":\"q\"}", told,
                "{\"return\":{\"running\":false,\"singlestep\":false,\"status\":\"shutdown\"}}",
            ])
        #expect(try other.readToEnd().map(withoutTimestamp) == [told])
        #expect(done.wait(milliseconds: 20_000) { $0 == 1 ? true : nil } == true)
        #expect(!FileManager.default.fileExists(atPath: server.path))
        #expect(throws: TestClient.Failure.self) { try TestClient(path: server.path) }
    }

    @Test("a client that does not read holds the end up for as long as it is given, and no longer")
    func stuckAtTheEnd() throws {
        let server = try TestServer()
        let stuck = try server.connect()
        // More answers than the socket's buffers take.
        try stuck.send(String(repeating: "{\"execute\":\"query-commands\"}", count: 400))
        let other = try server.connect()
        let done = Monitor(0)
        server.server.shutDown(flushMilliseconds: 100) { done.update { $0 += 1 } }
        server.server.shutDown(flushMilliseconds: 100) { done.update { $0 += 1 } }
        #expect(try other.readToEnd() == [])
        #expect(done.wait(milliseconds: 20_000) { $0 == 2 ? true : nil } == true)
        #expect(server.server.clientCount == 0)
        #expect(try stuck.readToEnd().allSatisfy { $0.hasPrefix("{\"return\":[") })
        // Once it is down it stays down.
        try server.server.listen(at: .unix(path: "\(server.directory)/late.sock"))
        #expect(throws: TestClient.Failure.self) { try TestClient(path: "\(server.directory)/late.sock") }
    }

    @Test("a server whose loop has ended already shuts down at once")
    func endedLoop() throws {
        let server = try TestServer()
        let client = try server.connect()
        server.loopThread.stop()
        let done = Atomic(false)
        server.server.shutDown(flushMilliseconds: 10_000) { done.store(true, ordering: .releasing) }
        let isDone = done.load(ordering: .acquiring)
        #expect(isDone)
        #expect(try client.readToEnd() == [])
        #expect(!FileManager.default.fileExists(atPath: server.path))
    }

    @Test(
        "QEMU's own client library talks to the server",
        .enabled(
            if: ProcessInfo.processInfo.environment["STRATOVIRT_QMP_PYTHON"] != nil,
            "STRATOVIRT_QMP_PYTHON names a Python with the package qemu.qmp"))
    func qemuClient() throws {
        let python = try #require(ProcessInfo.processInfo.environment["STRATOVIRT_QMP_PYTHON"])
        let script = try #require(Bundle.module.url(forResource: "Resources/qemu-qmp-client", withExtension: "py"))
        let server = try TestServer()
        server.machine.processors = [
            ProcessorInfo(index: 0, socket: 0, die: 0, cluster: 0, core: 0, thread: 0, threadID: 4711)
        ]
        server.machine.observe { [weak owner = server.server] event in
            if case .shutdown = event { owner?.shutDown(flushMilliseconds: 10_000) {} }
        }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: python)
        process.arguments = [script.path, server.path]
        let output = Pipe()
        process.standardOutput = output
        process.standardError = output
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        #expect(process.terminationStatus == 0, "\(text)")
        #expect(text.hasSuffix("all done\n"), "\(text)")
        #expect(server.machine.calls == ["pause", "resume", "powerdown", "reset", "shutdown host-qmp-quit"])
    }
}

extension TestClient {
    /// Sends text with a descriptor beside it (`SCM_RIGHTS`).
    func sendWithDescriptor(_ text: String, _ descriptor: Int32) throws {
        var bytes = Array(text.utf8)
        // struct cmsghdr, and one int, padded to the size of a long (cmsg(3)).
        var control = [UInt8](repeating: 0, count: MemoryLayout<cmsghdr>.size + 8)
        control.withUnsafeMutableBytes { control in
            var header = cmsghdr()
            header.cmsg_len = MemoryLayout<cmsghdr>.size + 4
            header.cmsg_level = SOL_SOCKET
            header.cmsg_type = Int32(SCM_RIGHTS)
            control.storeBytes(of: header, as: cmsghdr.self)
            control.storeBytes(of: descriptor, toByteOffset: MemoryLayout<cmsghdr>.size, as: Int32.self)
        }
        let sent = bytes.withUnsafeMutableBytes { bytes in
            control.withUnsafeMutableBytes { control in
                var vector = iovec(iov_base: bytes.baseAddress, iov_len: bytes.count)
                return withUnsafeMutablePointer(to: &vector) { vector in
                    var message = msghdr()
                    message.msg_iov = vector
                    message.msg_iovlen = 1
                    message.msg_control = control.baseAddress
                    message.msg_controllen = control.count
                    return sendmsg(socket, &message, 0)
                }
            }
        }
        if sent != text.utf8.count { throw Failure.system("sendmsg", errno) }
    }
}
