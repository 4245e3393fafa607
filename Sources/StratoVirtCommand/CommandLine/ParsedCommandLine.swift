internal import StratoVMM

/// Where a monitor listens for QMP clients.
enum MonitorEndpoint: Sendable, Hashable {
    case unixSocket(path: String)
    /// The host is a numeric address.
    case tcpSocket(host: String, port: UInt16)
}

/// Where log lines go.
enum LogDestination: Sendable, Hashable {
    /// Warnings and errors alone, to standard error: what is shown unless a log is asked for.
    case warnings
    /// Everything up to the level, to standard error.
    case standardError
    /// Everything up to the level, appended to a file.
    case file(String)
}

/// What a command line asks for. Nothing on the host was looked at or changed to find it out.
struct ParsedCommandLine: Sendable {
    enum Action: Sendable, Hashable {
        /// Run the machine.
        case run
        /// Print a text to standard output.
        case print(String)
    }

    var action = Action.run
    var configuration = VirtualMachineConfiguration()
    var monitors: [MonitorEndpoint] = []
    var log = LogDestination.warnings
    var isDaemon = false
    var pidFile: String?
    /// A kernel without Landlock is refused, where it was asked for.
    var demandsLandlock = false
    /// Lines about what is carried out otherwise than it was written.
    var warnings: [String] = []

    /// Paths of what is made for the time of the process alone: sockets, and the file with its number.
    var filesOfProcess: [String] {
        var paths = [pidFile].compactMap { $0 }
        for case .unixSocket(let path) in monitors { paths.append(path) }
        let backends = configuration.characterDevices.map(\.backend) + [configuration.serialPort?.backend].compactMap { $0 }
        for case .unixSocket(let path) in backends { paths.append(path) }
        return paths
    }

    /// Checks the configuration as a whole.
    ///
    /// - Throws: the first problem, in the words of the command line.
    func check() throws(CommandLineError) {
        guard action == .run, let problem = configuration.problems().first else { return }
        throw CommandLineError(problem, in: configuration)
    }
}
