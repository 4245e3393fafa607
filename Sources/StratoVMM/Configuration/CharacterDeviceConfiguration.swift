/// Where a stream of bytes from and to the guest ends on the host.
public enum CharacterBackendConfiguration: Sendable, Hashable {
    /// The process's standard input and output.
    case standardIO
    /// A new pseudo terminal.
    case pseudoTerminal
    /// Output only, appended to a file.
    case file(path: String)
    /// A stream socket that the monitor listens on; one client at a time.
    case unixSocket(path: String)
    /// A TCP socket that the monitor listens on; one client at a time. The host is a numeric address, the port 1...65535.
    case tcpSocket(host: String, port: UInt16)
    /// Lines of output become lines of the log.
    case log
    /// An open descriptor of the embedding program, which stays its own; it is duplicated at start.
    case descriptor(Int32)
    /// Nothing: input never comes, output is dropped.
    case null
}

/// A character backend with a name.
public struct CharacterDeviceConfiguration: Sendable, Hashable {
    /// Unique among the character devices and the serial port; at most 255 bytes.
    public var id: String

    /// Where the bytes go.
    public var backend: CharacterBackendConfiguration

    /// A named backend.
    public init(id: String, backend: CharacterBackendConfiguration) {
        self.id = id
        self.backend = backend
    }
}

/// A serial port: a 16550A on x86_64, a PL011 on aarch64.
public struct SerialPortConfiguration: Sendable, Hashable {
    /// The name under which the backend is shown: `serial_chardev` unless it is a named one.
    public var id: String

    /// Where the bytes go.
    public var backend: CharacterBackendConfiguration

    /// A port on a backend.
    public init(backend: CharacterBackendConfiguration, id: String = "serial_chardev") {
        self.id = id
        self.backend = backend
    }
}
