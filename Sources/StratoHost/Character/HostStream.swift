internal import CStratoLinux
internal import Glibc

/// A descriptor that bytes are read from or written to, and how that is done without waiting.
struct HostStream: ~Copyable, Sendable {
    enum Kind: Sendable {
        /// An open file description of our own, with O_NONBLOCK.
        case nonBlocking
        /// A socket, which is told with each call not to wait.
        case socket
        /// A regular file, or a device such as /dev/null: never something to wait for, and nothing that can be polled.
        case file
        /// An open file description shared with other processes, which O_NONBLOCK must not be set on: they would get EAGAIN.
        case shared
    }

    let descriptor: OwnedDescriptor
    let kind: Kind

    init(_ descriptor: consuming OwnedDescriptor, kind: Kind) {
        self.descriptor = descriptor
        self.kind = kind
    }

    /// A stream on somebody else's descriptor, which is left as it is.
    ///
    /// Standard input and output are shared with the shell. A pipe and a terminal are opened anew, so that waiting can be
    /// switched off for us alone; where that is not permitted, the stream is `shared`.
    ///
    /// - Parameters:
    ///   - number: an open descriptor.
    ///   - access: O_RDONLY or O_WRONLY.
    /// - Throws: `LinuxError`, EBADF for a descriptor that is closed or not open for this.
    init(of number: Int32, access: Int32) throws(LinuxError) {
        var status = stat()
        try LinuxError.checkErrno(unsafe fstat(number, &status), "use descriptor \(number)")
        let flags = try LinuxError.check(csl_fcntl(number, F_GETFL, 0), "use descriptor \(number)")
        let mode = flags & O_ACCMODE
        guard mode == O_RDWR || mode == access else {
            throw LinuxError(code: EBADF, operation: "use descriptor \(number)")
        }
        let isTerminal = isatty(number) == 1
        let kind: Kind
        switch status.st_mode & S_IFMT {
        case S_IFSOCK:
            kind = .socket
        case S_IFIFO:
            kind = .shared
        case S_IFCHR where isTerminal:
            kind = .shared
        default:
            kind = .file
        }
        guard kind == .shared else {
            self.init(try HostStream.duplicate(number), kind: kind)
            return
        }
        guard flags & O_NONBLOCK == 0 else {
            self.init(try HostStream.duplicate(number), kind: .nonBlocking)
            return
        }
        // Opening the master of a pseudo terminal anew would make another pseudo terminal.
        if csl_pty_number(number) < 0 {
            let again = unsafe csl_open("/proc/self/fd/\(number)", access | O_NONBLOCK | O_NOCTTY, 0)
            if again >= 0 {
                self.init(OwnedDescriptor(owning: again), kind: .nonBlocking)
                return
            }
        }
        self.init(try HostStream.duplicate(number), kind: .shared)
    }

    /// A stream on a descriptor of our own that was opened with O_NONBLOCK.
    init(opened descriptor: consuming OwnedDescriptor) throws(LinuxError) {
        var status = stat()
        try LinuxError.checkErrno(unsafe fstat(descriptor.number, &status), "look at a file")
        self.init(descriptor, kind: status.st_mode & S_IFMT == S_IFREG ? .file : .nonBlocking)
    }

    private static func duplicate(_ number: Int32) throws(LinuxError) -> OwnedDescriptor {
        OwnedDescriptor(
            owning: try LinuxError.check(csl_fcntl(number, F_DUPFD_CLOEXEC, 3), "duplicate descriptor \(number)"))
    }

    /// Writes what goes at once.
    ///
    /// - Returns: how many bytes, or a negative errno, -EAGAIN if nothing went.
    func write(_ bytes: Span<UInt8>) -> Int {
        guard bytes.count > 0 else { return 0 }
        // SAFETY: the span outlives the call.
        return unsafe bytes.withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return 0 }
            return unsafe csl_write(descriptor.number, kind == .socket ? 1 : 0, base, buffer.count)
        }
    }

    /// Reads what is there.
    ///
    /// - Returns: how many bytes, 0 at the end, or a negative errno, -EAGAIN if nothing is there.
    func read(into buffer: UnsafeMutableBufferPointer<UInt8>) -> Int {
        guard let base = buffer.baseAddress, buffer.count > 0 else { return -Int(EAGAIN) }
        if kind == .shared, csl_poll_now(descriptor.number, Int16(POLLIN)) == 0 { return -Int(EAGAIN) }
        // SAFETY: at most the buffer's count is written.
        return unsafe csl_read(descriptor.number, kind == .socket ? 1 : 0, base, buffer.count)
    }
}
