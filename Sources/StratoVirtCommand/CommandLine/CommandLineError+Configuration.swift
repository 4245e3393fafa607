internal import StratoVMM

extension CommandLineError {
    /// A configuration's problem in the words of the command line: the option for the path's beginning, the property for its end.
    init(_ problem: ConfigurationProblem, in configuration: VirtualMachineConfiguration) {
        let (option, property) = CommandLineError.spelling(of: problem.path, in: configuration)
        // A message that begins with a verb speaks of the property; others are sentences of their own.
        let needsSubject = problem.message.hasPrefix("is ") || problem.message.hasPrefix("contains ")
        self.init(option, needsSubject && !property.isEmpty ? "\(property) \(problem.message)" : problem.message)
    }

    private static func spelling(
        of path: String, in configuration: VirtualMachineConfiguration
    ) -> (option: String, property: String) {
        switch path {
        case "name": return ("-name", "")
        case "machine.kind": return ("-machine", "")
        case "processors.count": return ("-smp", "cpus")
        case "processors.maximumCount": return ("-smp", "maxcpus")
        case "memory.size": return ("-m", "size")
        case "memory.path": return ("-mem-path", "")
        case "machine.hasACPI": return ("-machine", "acpi")
        case "machine.showsEmptySlots": return ("-machine", "empty-slots")
        case "firmware", "firmware.code": return ("-drive if=pflash,unit=0", "file")
        case "firmware.variables": return ("-drive if=pflash,unit=1", "file")
        case "rootPorts": return ("-device", "")
        case "bootLoader", "bootLoader.kernel": return ("-kernel", "")
        case "bootLoader.initialRamdisk": return ("-initrd", "")
        case "bootLoader.commandLine": return ("-append", "")
        case "storageDevices": return ("-device", "")
        case "ioThreads": return ("-object", "")
        default: break
        }
        if path.hasPrefix("reachableDirectories") { return ("-landlock", "path") }
        if path.hasPrefix("processors") { return ("-smp", "") }
        if path.hasPrefix("identity.") { return identitySpelling(of: path) }
        let (list, index, rest) = element(path)
        switch list {
        case "rootPorts" where configuration.rootPorts.indices.contains(index):
            return (
                "-device \(Spelling.clean(configuration.rootPorts[index].id))", deviceProperties[rest] ?? rest
            )
        case "storageDevices" where configuration.storageDevices.indices.contains(index):
            let device = configuration.storageDevices[index]
            let parts = rest.split(separator: ".")
            if parts.count == 2, parts[0] == "image" {
                return ("-drive \(Spelling.clean(device.image.id))", imageProperties[String(parts[1])] ?? String(parts[1]))
            }
            return ("-device \(Spelling.clean(device.id))", deviceProperties[rest] ?? rest)
        case "characterDevices" where configuration.characterDevices.indices.contains(index):
            return ("-chardev \(Spelling.clean(configuration.characterDevices[index].id))", rest == "backend" ? "path" : rest)
        case "ioThreads" where configuration.ioThreads.indices.contains(index):
            return ("-object iothread", rest)
        case "serialPort":
            return ("-serial", rest == "backend" ? "path" : rest)
        default:
            return ("configuration", path)
        }
    }

    /// `identity.system.serialNumber` is `serial` of `-smbios 1`.
    private static func identitySpelling(of path: String) -> (option: String, property: String) {
        let parts = path.split(separator: ".").map(String.init)
        guard parts.count == 3 else { return ("-smbios", "") }
        let types = [
            "firmware": "0", "system": "1", "baseboard": "2", "chassis": "3", "processors": "4", "memoryDevices": "17",
        ]
        let names = [
            "serialNumber": "serial", "stockKeepingUnit": "sku", "assetTag": "asset", "partNumber": "part",
            "socketPrefix": "sock_pfx", "locatorPrefix": "loc_pfx", "maximumSpeed": "max-speed", "currentSpeed": "current-speed",
        ]
        return ("-smbios \(types[parts[1]] ?? "")", names[parts[2]] ?? parts[2])
    }

    private static let imageProperties = [
        "path": "file", "engine": "aio", "requestsPerSecond": "throttling.iops-total",
    ]

    private static let deviceProperties = [
        "queueCount": "num-queues", "queueSize": "queue-size", "ioThread": "iothread", "bootIndex": "bootindex",
        "placement": "addr", "number": "port",
    ]

    /// `list[3].rest` in its parts; -1 where there is no index.
    private static func element(_ path: String) -> (list: String, index: Int, rest: String) {
        let bytes = path.utf8
        guard let dot = bytes.firstIndex(of: UInt8(ascii: ".")) else { return (path, -1, "") }
        let head = bytes[..<dot]
        let rest = String(path[bytes.index(after: dot)...])
        guard let open = head.firstIndex(of: UInt8(ascii: "[")), head.last == UInt8(ascii: "]") else {
            return (String(path[..<dot]), -1, rest)
        }
        let digits = head[head.index(after: open)...].dropLast()
        return (String(path[..<open]), PropertyList.decimal(digits).flatMap(Int.init(exactly:)) ?? -1, rest)
    }
}
