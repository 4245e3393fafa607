import CStratoLinux
import Foundation
import Synchronization
import Testing

@testable import StratoHost

/// A client's blocking socket.
func connectClient(_ address: ListeningSocket.Address) -> Int32 {
    switch address {
    case .unix(let path):
        let client = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var name = sockaddr_un()
        name.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &name.sun_path) { $0.copyBytes(from: path.utf8) }
        let result = withUnsafePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(client, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result == 0 else {
            close(client)
            return -1
        }
        return client
    case .tcp(let host, let port):
        let client = socket(host.contains(":") ? AF_INET6 : AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var result: Int32 = -1
        if host.contains(":") {
            var name = sockaddr_in6()
            name.sin6_family = sa_family_t(AF_INET6)
            name.sin6_port = port.bigEndian
            inet_pton(AF_INET6, host, &name.sin6_addr)
            result = withUnsafePointer(to: &name) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(client, $0, socklen_t(MemoryLayout<sockaddr_in6>.size))
                }
            }
        } else {
            var name = sockaddr_in()
            name.sin_family = sa_family_t(AF_INET)
            name.sin_port = port.bigEndian
            inet_pton(AF_INET, host == "localhost" ? "127.0.0.1" : host, &name.sin_addr)
            result = withUnsafePointer(to: &name) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(client, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
        }
        guard result == 0 else {
            close(client)
            return -1
        }
        return client
    }
}

@Suite struct ListeningSocketTests {
    private func mode(_ path: String) -> mode_t? {
        var status = stat()
        guard lstat(path, &status) == 0 else { return nil }
        return status.st_mode
    }

    private func code(_ body: () throws -> Void) -> Int32? {
        do {
            try body()
            return nil
        } catch {
            return (error as? LinuxError)?.code
        }
    }

    @Test("A path is a socket for its owner alone, answers, and goes with the socket")
    func unixSocket() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("console.sock")
        let socket = try ListeningSocket(.unix(path: path))
        #expect(mode(path) == S_IFSOCK | 0o600)
        #expect(try socket.accept() == nil)
        let client = connectClient(.unix(path: path))
        #expect(client >= 0)
        guard let peer = try socket.accept() else {
            Issue.record("nobody is there to be accepted")
            return
        }
        #expect(fcntl(peer.number, F_GETFL) & O_NONBLOCK != 0)
        #expect(fcntl(peer.number, F_GETFD) & FD_CLOEXEC != 0)
        writeAll(client, [7])
        eventually { readAvailable(peer.number, limit: 1) == [7] }
        close(client)
        #expect(socket.number >= 0)
        socket.close()
        socket.close()
        #expect(socket.number == -1)
        #expect(mode(path) == nil)
    }

    @Test("The mode is there from the start, whatever the umask permits: no other process ever sees a wider one")
    func modeFromTheStart() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("s")
        let isOver = Atomic(false)
        let widest = Mutex<mode_t>(0)
        let watcher = try HostThread.start(name: "watcher") {
            while !isOver.load(ordering: .acquiring) {
                var status = stat()
                if lstat(path, &status) == 0 { widest.withLock { $0 |= status.st_mode & 0o777 } }
            }
        }
        for _ in 0..<200 { try ListeningSocket(.unix(path: path)).close() }
        isOver.store(true, ordering: .releasing)
        watcher.join()
        #expect(widest.withLock { $0 } & 0o177 == 0)
    }

    @Test("A socket that a dead process left is replaced")
    func staleSocket() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("s")
        // A socket that is closed without unlinking, as by a killed process.
        let dead = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var name = sockaddr_un()
        name.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &name.sun_path) { $0.copyBytes(from: path.utf8) }
        let bound = withUnsafePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(dead, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        #expect(bound == 0)
        close(dead)
        #expect(mode(path) != nil)
        let socket = try ListeningSocket(.unix(path: path))
        let client = connectClient(.unix(path: path))
        #expect(client >= 0)
        close(client)
        socket.close()
    }

    @Test("A socket that still answers is left alone, with room in its backlog or without")
    func livingSocket() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("s")
        let first = try ListeningSocket(.unix(path: path), backlog: 0)
        #expect(code { _ = try ListeningSocket(.unix(path: path)) } == EADDRINUSE)
        #expect(code { _ = try ListeningSocket(.unix(path: path)) } == EADDRINUSE)
        #expect(throws: LinuxError(code: EADDRINUSE, operation: "listen at \(path): another process listens there")) {
            _ = try ListeningSocket(.unix(path: path))
        }
        #expect(mode(path) != nil)
        first.close()
    }

    @Test("Anything that is not a socket is left alone", arguments: ["file", "directory", "fifo", "link"])
    func otherFiles(_ kind: String) throws {
        let directory = try TemporaryDirectory()
        let path = directory.file(kind)
        switch kind {
        case "file": #expect(FileManager.default.createFile(atPath: path, contents: Data("precious".utf8)))
        case "directory": try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        case "fifo": #expect(mkfifo(path, 0o600) == 0)
        default: try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: "/nowhere")
        }
        let before = mode(path)
        #expect(code { _ = try ListeningSocket(.unix(path: path)) } == EADDRINUSE)
        #expect(mode(path) == before)
    }

    @Test("Closing does not take away what another has put in its place")
    func replacedPath() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("s")
        let socket = try ListeningSocket(.unix(path: path))
        #expect(unlink(path) == 0)
        #expect(FileManager.default.createFile(atPath: path, contents: Data("mine".utf8)))
        socket.close()
        #expect(FileManager.default.contents(atPath: path) == Data("mine".utf8))
    }

    @Test("The longest path works, and a longer one, an empty one and a missing directory are refused in words")
    func pathLimits() throws {
        let directory = try TemporaryDirectory()
        let fill = 107 - directory.path.utf8.count - 1
        try #require(fill > 0)
        let longest = directory.file(String(repeating: "x", count: fill))
        #expect(longest.utf8.count == 107)
        try ListeningSocket(.unix(path: longest)).close()
        #expect(code { _ = try ListeningSocket(.unix(path: longest + "x")) } == ENAMETOOLONG)
        #expect(code { _ = try ListeningSocket(.unix(path: "")) } == EINVAL)
        #expect(code { _ = try ListeningSocket(.unix(path: directory.file("missing/s"))) } == ENOENT)
        #expect(code { _ = try ListeningSocket(.unix(path: directory.path + "/")) } != nil)
    }

    @Test("TCP listens at numeric addresses and localhost, and says which port it got")
    func tcp() throws {
        for host in ["127.0.0.1", "localhost", "::1"] {
            guard let socket = try? ListeningSocket(.tcp(host: host, port: 0)) else {
                // A host may have IPv6 switched off, never IPv4.
                #expect(host == "::1")
                continue
            }
            guard case .tcp(host, let port) = socket.address else {
                Issue.record("\(socket.address)")
                continue
            }
            #expect(port != 0)
            let client = connectClient(socket.address)
            #expect(client >= 0)
            guard let peer = try socket.accept() else {
                Issue.record("nobody is there to be accepted")
                continue
            }
            #expect(fcntl(peer.number, F_GETFL) & O_NONBLOCK != 0)
            close(client)
            #expect(code { _ = try ListeningSocket(.tcp(host: host, port: port)) } == EADDRINUSE)
        }
    }

    @Test("A host that is a name is refused", arguments: ["", "example.com", "1.2.3", "127.0.0.1 ", "[::1]", "a%b"])
    func names(_ host: String) {
        #expect(code { _ = try ListeningSocket(.tcp(host: host, port: 0)) } == EINVAL)
    }

    @Test("Addresses are shown as people write them")
    func descriptions() {
        #expect("\(ListeningSocket.Address.tcp(host: "::1", port: 5))" == "[::1]:5")
        #expect("\(ListeningSocket.Address.tcp(host: "127.0.0.1", port: 5))" == "127.0.0.1:5")
        #expect("\(ListeningSocket.Address.unix(path: "/a"))" == "/a")
    }

    @Test("The acceptor hands out peers one by one, waits while it is paused, and goes on")
    func acceptor() throws {
        let directory = try TemporaryDirectory()
        let address = ListeningSocket.Address.unix(path: directory.file("s"))
        let thread = try EventLoopThread(name: "loop")
        defer { thread.stop() }
        let peers = Collector<Int32>()
        let box = Mutex<ConnectionAcceptor?>(nil)
        let acceptor = try ConnectionAcceptor(
            ListeningSocket(address), on: thread.loop, logger: .silent, isPaused: true
        ) { peer in
            peers.append(peer.release())
            box.withLock { $0 }?.pause()
        }
        box.withLock { $0 = acceptor }
        let clients = (0..<3).map { _ in connectClient(address) }
        #expect(clients.allSatisfy { $0 >= 0 })
        thread.loop.runBlocking {}
        #expect(peers.count == 0)
        for expected in 1...3 {
            acceptor.resume()
            eventually { peers.count == expected }
            thread.loop.runBlocking {}
            thread.loop.runBlocking {}
            #expect(peers.count == expected)
        }
        acceptor.close()
        acceptor.close()
        #expect(connectClient(address) == -1)
        for descriptor in clients + peers.elements { close(descriptor) }
        box.withLock { $0 = nil }
    }
}
