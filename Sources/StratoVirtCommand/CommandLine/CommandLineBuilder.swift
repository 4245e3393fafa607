internal import StratoVMM

/// Puts a command line together option by option, and joins what refers to each other at the end.
struct CommandLineBuilder {
    /// An image, and the device that uses it.
    struct Drive {
        var image: DiskImageConfiguration
        var isGenerated: Bool
        var user: String?
    }

    /// A disk whose drive may come later on the command line.
    struct PendingDevice {
        var properties: PropertyList
        var drive: String
        var id: String?
        var serial: String?
        var placement: PCIPlacement?
        var queueCount: Int?
        var queueSize: Int?
        var ioThread: String?
        var bootIndex: Int?
    }

    /// A flash bank of the firmware; nil for what its unit has unless told otherwise.
    struct Flash {
        var unit: Int
        var path: String
        var isReadOnly: Bool?
    }

    /// A backend, and what it is connected to.
    struct NamedBackend {
        var id: String
        var backend: CharacterBackendConfiguration
        var user: String?
    }

    enum PendingSerialPort {
        case backend(CharacterBackendConfiguration)
        case reference(String)
    }

    /// What threads may do with the host's files, as far as the command line says it.
    enum FileAccess {
        case restricted, unrestricted
    }

    /// A socket of the command line, for one use each.
    struct Socket: Equatable {
        var endpoint: MonitorEndpoint
        var user: String
    }

    var configuration = VirtualMachineConfiguration()
    var kernel: String?
    var initialRamdisk: String?
    var kernelParameters: [String] = []
    var drives: [Drive] = []
    var flash: [Flash] = []
    var identityTypes: [String] = []
    var systemUUID: MachineIdentifier?
    var devices: [PendingDevice] = []
    var namedBackends: [NamedBackend] = []
    var serialPort: PendingSerialPort?
    var monitors: [MonitorEndpoint] = []
    var monitorReferences: [PropertyList] = []
    var monitorThreads: [PropertyList] = []
    var log = LogDestination.warnings
    var isDaemon = false
    var filtersSystemCalls = true
    var fileAccess: FileAccess?
    var reachableDirectories: [String] = []
    var pidFile: String?
    var warnings: [String] = []

    /// The value of an option that takes properties, with none that is unknown.
    func properties(of option: ScannedOption) throws(CommandLineError) -> PropertyList {
        guard case .properties(_, let leading, let known) = option.definition.value else {
            throw CommandLineError(option.label, "takes no properties")
        }
        let list = try PropertyList(option.word, option: option.label, leading: leading, known: known)
        if case .addressOf(let name) = leading {
            try list.check(known + [PropertyDefinition(name, "", "")])
        } else {
            try list.check(known)
        }
        return list
    }

    // MARK: The end

    consuming func finish() throws(CommandLineError) -> ParsedCommandLine {
        try joinKernel()
        try joinFlash()
        try joinIdentity()
        try joinDrives()
        try joinCharacterDevices()
        try joinMonitors()
        try checkProcess()
        warnAboutConsole()
        var result = ParsedCommandLine()
        result.configuration = configuration
        result.configuration.confinesThreads = filtersSystemCalls
        result.configuration.reachableDirectories = directoriesInReach
        result.demandsLandlock = fileAccess == .restricted
        result.monitors = monitors
        result.log = log
        result.isDaemon = isDaemon
        result.pidFile = pidFile
        result.warnings = warnings
        return result
    }

    private mutating func joinKernel() throws(CommandLineError) {
        guard let kernel else {
            if initialRamdisk != nil {
                throw CommandLineError("-initrd", "is loaded beside a kernel; add -kernel FILE")
            }
            if !kernelParameters.isEmpty {
                throw CommandLineError("-append", "is given to a kernel; add -kernel FILE")
            }
            return
        }
        configuration.bootLoader = LinuxBootLoader(
            kernel: kernel, initialRamdisk: initialRamdisk,
            commandLine: kernelParameters.filter { !$0.isEmpty }.joined(separator: " "))
    }

    // MARK: -landlock

    mutating func addLandlock(_ option: ScannedOption) throws(CommandLineError) {
        let list = try properties(of: option)
        let path = try list.text("path")
        let isOn = try list.boolean("state")
        if path == nil, isOn == nil {
            throw list.error("says nothing; write on, off or path=DIR")
        }
        if path != nil, isOn == false {
            throw list.error("a path has no meaning with off; leave one of the two out")
        }
        let access = isOn == false ? FileAccess.unrestricted : .restricted
        guard fileAccess == nil || fileAccess == access else {
            throw list.error("is both on and off; leave one of the two out")
        }
        fileAccess = access
        if let path { reachableDirectories.append(path) }
    }

    /// Nothing has to be opened once the machine is built, except by clients that add devices.
    private var directoriesInReach: [String]? {
        switch fileAccess {
        case .restricted: reachableDirectories
        case .unrestricted: nil
        case nil: monitors.isEmpty ? [] : nil
        }
    }

    private func checkProcess() throws(CommandLineError) {
        guard isDaemon else {
            if pidFile != nil {
                throw CommandLineError("-pidfile", "is written by a daemon; add -daemonize, or leave -pidfile out")
            }
            return
        }
        if configuration.serialPort?.backend == .standardIO
            || configuration.characterDevices.contains(where: { $0.backend == .standardIO })
        {
            throw CommandLineError(
                "-daemonize", "a daemon has no standard input and output; choose another backend than stdio, such as pty")
        }
    }

    private mutating func warnAboutConsole() {
        if isDaemon, log == .standardError {
            warnings.append("-D: a daemon's standard error is /dev/null; give -D a file to keep the log")
        }
        let foreign = "console=" + HostArchitecture.foreignSerialConsole
        let own = "console=" + HostArchitecture.serialConsole
        let parameters = (configuration.bootLoader?.commandLine ?? "").split(separator: " ")
        func names(_ console: String) -> Bool {
            parameters.contains { $0 == console || $0.hasPrefix(console + ",") }
        }
        if configuration.serialPort != nil, names(foreign), !names(own) {
            warnings.append(
                "-append: \(foreign) names no serial port of \(HostArchitecture.name); its first is \(HostArchitecture.serialConsole)"
            )
        }
    }
}
