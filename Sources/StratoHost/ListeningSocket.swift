internal import CStratoLinux
internal import Glibc
internal import Synchronization

/// A stream socket that peers connect to, over a path of the file system or TCP.
///
/// A path is made for its owner alone (mode 0600) and taken away again with the socket.
package final class ListeningSocket: Sendable {
    /// Where a socket listens.
    package enum Address: Sendable, Hashable, CustomStringConvertible {
        /// A path of at most 107 bytes.
        case unix(path: String)
        /// A numeric IPv4 or IPv6 address or `localhost`, and a port, 0 for one that the kernel chooses.
        case tcp(host: String, port: UInt16)

        package var description: String {
            switch self {
            case .unix(let path): path
            case .tcp(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
            }
        }
    }

    /// The socket's name in its directory, and what tells it from a later file of that name.
    private struct Entry: ~Copyable, Sendable {
        let directory: OwnedDescriptor
        let name: String
        let device: UInt64
        let inode: UInt64

        /// Takes the name away if it is still this socket's.
        func remove() {
            guard let status = ListeningSocket.status(of: name, in: directory.number),
                UInt64(status.st_dev) == device, UInt64(status.st_ino) == inode
            else { return }
            unsafe unlinkat(directory.number, name, 0)
        }
    }

    private struct State: ~Copyable, Sendable {
        var descriptor: OwnedDescriptor?
        var entry: Entry?

        var number: Int32 {
            switch descriptor {
            case .some(let descriptor): descriptor.number
            case .none: -1
            }
        }
    }

    /// Where it listens, with the port that the kernel chose where it was asked to.
    package let address: Address

    private let state: Mutex<State>

    /// Listens.
    ///
    /// What a process that is gone has left at the path is replaced; another kind of file, and a socket that somebody
    /// still answers at, are left alone.
    ///
    /// - Parameters:
    ///   - address: where.
    ///   - backlog: how many peers may wait to be accepted.
    /// - Throws: `LinuxError` saying what stands in the way.
    package init(_ address: Address, backlog: Int32 = 8) throws(LinuxError) {
        switch address {
        case .unix(let path):
            var state = try ListeningSocket.listen(at: path, backlog)
            self.address = address
            self.state = Mutex(State(descriptor: state.descriptor.take(), entry: state.entry.take()))
        case .tcp(let host, let port):
            let descriptor = try ListeningSocket.listen(host, port, backlog)
            let bound = try LinuxError.check(csl_bound_port(descriptor.number), "ask for the port of \(address)")
            self.address = .tcp(host: host, port: UInt16(truncatingIfNeeded: bound))
            self.state = Mutex(State(descriptor: descriptor, entry: nil))
        }
    }

    deinit {
        close()
    }

    /// The descriptor, readable while peers wait; -1 after `close`.
    package var number: Int32 { state.withLock { $0.number } }

    /// The next peer, never waited for; nil if there is none. The descriptor is non-blocking.
    ///
    /// - Throws: `LinuxError`, EMFILE or ENFILE if there are no descriptors left, and then the peer still waits.
    package func accept() throws(LinuxError) -> OwnedDescriptor? {
        while true {
            let result = csl_accept(number)
            switch 0 &- result {
            case EAGAIN:
                return nil
            // The peer has gone again, or its network failed: accept(2) has these tried again.
            case EINTR, ECONNABORTED, EPROTO, ENETDOWN, EHOSTDOWN, EHOSTUNREACH, ENETUNREACH, ENONET:
                continue
            default:
                let descriptor = OwnedDescriptor(owning: try LinuxError.check(result, "accept a peer at \(address)"))
                if case .tcp = address {
                    // Without it the connection is slower, and no less right.
                    _ = csl_set_no_delay(descriptor.number)
                }
                return descriptor
            }
        }
    }

    /// Listens no more, and takes the path away if it still is this socket's. The descriptor must not be watched by then.
    package func close() {
        state.withLock { state in
            state.entry.take()?.remove()
            state.descriptor = nil
        }
    }

    // MARK: Making one

    private static func listen(_ host: String, _ port: UInt16, _ backlog: Int32) throws(LinuxError) -> OwnedDescriptor {
        guard host == "localhost" else { return try listen(numeric: host, port, backlog) }
        do throws(LinuxError) {
            return try listen(numeric: "127.0.0.1", port, backlog)
        } catch {
            // Both addresses are what the name stands for, and a host may have IPv4 switched off.
            guard error.code == EAFNOSUPPORT || error.code == EADDRNOTAVAIL else { throw error }
            return try listen(numeric: "::1", port, backlog)
        }
    }

    private static func listen(
        numeric host: String, _ port: UInt16, _ backlog: Int32
    ) throws(LinuxError) -> OwnedDescriptor {
        let operation = "listen at \(Address.tcp(host: host, port: port))"
        var storage = sockaddr_storage()
        // SAFETY: the address is written within its own size; the string lives for the call.
        let length = unsafe csl_internet_address(&storage, host, port)
        guard length > 0 else {
            throw LinuxError(code: EINVAL, operation: "\(operation): the host must be a numeric address or localhost")
        }
        let descriptor = OwnedDescriptor(
            owning: try LinuxError.check(csl_stream_socket(Int32(storage.ss_family)), operation))
        try LinuxError.check(csl_set_socket_option(descriptor.number, SOL_SOCKET, SO_REUSEADDR, 1), operation)
        try LinuxError.check(unsafe csl_bind(descriptor.number, &storage, length), operation)
        try LinuxError.check(csl_listen(descriptor.number, backlog), operation)
        return descriptor
    }

    private static func listen(at path: String, _ backlog: Int32) throws(LinuxError) -> State {
        let operation = "listen at \(path)"
        var address = sockaddr_un()
        // SAFETY: the address is written within its own size; the string lives for the call.
        let length = unsafe csl_unix_address(&address, path)
        guard length > 0 else {
            throw LinuxError(
                code: path.isEmpty ? EINVAL : ENAMETOOLONG,
                operation: "\(operation): a socket's path is 1 to \(csl_unix_path_limit()) bytes long")
        }
        let (parent, name) = HostPath.split(path)
        let directory = try OwnedDescriptor(opening: parent, flags: csl_o_path() | O_DIRECTORY)
        let descriptor = OwnedDescriptor(
            owning: try LinuxError.check(csl_stream_socket(AF_UNIX), operation))
        // bind(2) gives the file the mode that the socket itself has: nobody else can connect, not even for a moment, and
        // the umask, which belongs to the whole process, is left alone.
        try LinuxError.checkErrno(fchmod(descriptor.number, 0o600), operation)
        var result = unsafe csl_bind(descriptor.number, &address, length)
        if result == 0 &- EADDRINUSE {
            try removeStale(path, name, directory.number, &address, length)
            result = unsafe csl_bind(descriptor.number, &address, length)
        }
        try LinuxError.check(result, operation)
        guard let status = status(of: name, in: directory.number) else {
            throw LinuxError(code: errno, operation: operation)
        }
        let entry = Entry(
            directory: directory, name: name, device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
        guard status.st_mode & 0o177 == 0 else {
            entry.remove()
            throw LinuxError(code: EPERM, operation: "\(operation): the file system does not keep the mode 0600")
        }
        let listening = csl_listen(descriptor.number, backlog)
        if listening < 0 { entry.remove() }
        try LinuxError.check(listening, operation)
        return State(descriptor: descriptor, entry: entry)
    }

    /// Takes away a socket that nobody listens at.
    private static func removeStale(
        _ path: String, _ name: String, _ directory: Int32, _ address: inout sockaddr_un, _ length: socklen_t
    ) throws(LinuxError) {
        let operation = "listen at \(path)"
        guard let before = status(of: name, in: directory) else { return }
        guard before.st_mode & S_IFMT == S_IFSOCK else {
            throw LinuxError(code: EADDRINUSE, operation: "\(operation): a file that is not a socket stands there")
        }
        let probe = OwnedDescriptor(owning: try LinuxError.check(csl_stream_socket(AF_UNIX), operation))
        let answer = unsafe csl_connect(probe.number, &address, length)
        switch 0 &- answer {
        case ECONNREFUSED:
            break
        case ENOENT:
            return
        case EACCES, EPERM:
            throw LinuxError(code: 0 &- answer, operation: "\(operation): a socket of somebody else stands there")
        default:
            throw LinuxError(code: EADDRINUSE, operation: "\(operation): another process listens there")
        }
        // What was probed is what is removed, unless another process put its own there in the instant between.
        guard let now = status(of: name, in: directory), now.st_ino == before.st_ino, now.st_dev == before.st_dev else {
            return
        }
        if unsafe unlinkat(directory, name, 0) < 0, errno != ENOENT {
            throw LinuxError(code: errno, operation: "remove the stale socket \(path)")
        }
    }

    private static func status(of name: String, in directory: Int32) -> stat? {
        var status = stat()
        // SAFETY: the string and the structure live for the call.
        guard unsafe fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else { return nil }
        return status
    }
}
