internal import StratoVMM

extension CommandLineBuilder {
    private static let reference = "chardev:"

    // MARK: -serial, -chardev

    mutating func setSerialPort(_ option: ScannedOption) throws(CommandLineError) {
        if option.word.hasPrefix(Self.reference) {
            let id = String(option.word.dropFirst(Self.reference.utf8.count))
            guard !id.isEmpty else { throw CommandLineError(option.label, "chardev: needs an id after it: chardev:ID") }
            serialPort = .reference(id)
            return
        }
        serialPort = .backend(try backend(option, PropertyTable.serialPorts).backend)
    }

    mutating func addCharacterDevice(_ option: ScannedOption) throws(CommandLineError) {
        let (backend, list) = try backend(option, PropertyTable.characterDevices)
        let id = try list.text("id") ?? unusedBackendID()
        guard !namedBackends.contains(where: { $0.id == id }) else {
            throw list.error("id \(Spelling.quoted(id)) is used twice; choose another")
        }
        namedBackends.append(NamedBackend(id: id, backend: backend, user: nil))
    }

    private func unusedBackendID() -> String {
        var number = namedBackends.count
        while namedBackends.contains(where: { $0.id == "chardev\(number)" }) { number += 1 }
        return "chardev\(number)"
    }

    private func backend(
        _ option: ScannedOption, _ known: [ClassDefinition]
    ) throws(CommandLineError) -> (backend: CharacterBackendConfiguration, list: PropertyList) {
        let list = try PropertyList(option.word, option: option.label, leading: .className, known: [])
        guard let kind = known.first(where: { $0.name == list.className }) else {
            let rest = Spelling.suggestion(
                for: list.className, from: known.map(\.name), otherwise: "; '\(option.label) help' lists those there are")
            throw CommandLineError(option.label, "unknown backend \(Spelling.quoted(list.className))\(rest)")
        }
        try list.check(kind.properties)
        switch kind.name {
        case "stdio": return (.standardIO, list)
        case "pty": return (.pseudoTerminal, list)
        case "file": return (.file(path: try list.requiredText("path")), list)
        case "socket": return (try socket(list), list)
        case "redirect-to-log": return (.log, list)
        default: return (.null, list)
        }
    }

    private func socket(_ list: PropertyList) throws(CommandLineError) -> CharacterBackendConfiguration {
        let path = try list.text("path")
        let host = try list.text("host")
        let port = try list.integer("port", 1...65535)
        try checkListens(list)
        switch (path, port) {
        case (let path?, nil):
            guard host == nil else { throw list.error("host belongs to port; leave it out beside path") }
            return .unixSocket(path: path)
        case (nil, let port?):
            // Whoever reaches a console owns the guest, so that other hosts are let in only where it is asked for.
            let address = try Self.numericAddress(host ?? "127.0.0.1", list)
            return .tcpSocket(host: address, port: UInt16(clamping: port))
        case (nil, nil):
            throw list.error("path=PATH or port=N is missing; add one")
        case (_?, _?):
            throw list.error("path and port exclude each other; remove one")
        }
    }

    /// Both words have to be there, as in StratoVirt: the monitor listens, and starts without a client.
    private func checkListens(_ list: PropertyList) throws(CommandLineError) {
        guard try list.boolean("server") == true else {
            throw list.error("only a listening socket is available; add server,nowait")
        }
        let isImmediate: Bool
        if let nowait = try list.boolean("nowait") {
            isImmediate = nowait
        } else {
            isImmediate = try list.boolean("wait") == false
        }
        guard isImmediate else {
            throw list.error("the machine starts without waiting for a client; add nowait")
        }
    }

    /// Names are not looked up: the executable is linked without a resolver.
    private static func numericAddress(_ host: String, _ list: PropertyList) throws(CommandLineError) -> String {
        if host == "localhost" { return "127.0.0.1" }
        var bytes = host.utf8[...]
        if bytes.first == UInt8(ascii: "["), bytes.last == UInt8(ascii: "]") { bytes = bytes.dropFirst().dropLast() }
        guard isIPv4(bytes) || isIPv6(bytes) else {
            throw list.error("\(Spelling.quoted(host)) is not a numeric address; write one such as 127.0.0.1 or [::1]")
        }
        return String(Substring(bytes))
    }

    private static func isIPv4(_ text: Substring.UTF8View) -> Bool {
        let parts = text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        return parts.count == 4 && parts.allSatisfy { $0.count <= 3 && (PropertyList.decimal($0) ?? 256) < 256 }
    }

    /// Eight groups of up to four hexadecimal digits, of which `::` stands for one or more (RFC 4291, 2.2, forms 1 and 2).
    private static func isIPv6(_ text: Substring.UTF8View) -> Bool {
        let groups = text.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
        guard groups.count >= 3, groups.count <= 9 else { return false }
        var gaps = 0
        for (index, group) in groups.enumerated() {
            if group.isEmpty {
                // The first and the last are empty only beside a gap at the text's beginning or end.
                switch index {
                case 0: guard groups[1].isEmpty else { return false }
                case groups.count - 1: guard groups[index - 1].isEmpty else { return false }
                default: gaps += 1
                }
            } else if group.count > 4 || !group.allSatisfy(isHexadecimalDigit) {
                return false
            }
        }
        let count = groups.count { !$0.isEmpty }
        return gaps == 1 && count <= 7 || gaps == 0 && count == 8
    }

    private static func isHexadecimalDigit(_ byte: UInt8) -> Bool {
        switch Spelling.lowercased(byte) {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"): true
        default: false
        }
    }

    mutating func joinCharacterDevices() throws(CommandLineError) {
        switch serialPort {
        case nil:
            break
        case .backend(let backend):
            configuration.serialPort = SerialPortConfiguration(backend: backend)
        case .reference(let id):
            let index = try namedBackend(id, for: "-serial", label: "-serial chardev")
            configuration.serialPort = SerialPortConfiguration(backend: namedBackends[index].backend, id: id)
        }
        for list in monitorReferences {
            let index = try namedBackend(try list.requiredText("chardev"), for: "-mon", label: list.label)
            switch namedBackends[index].backend {
            case .unixSocket(let path): monitors.append(.unixSocket(path: path))
            case .tcpSocket(let host, let port): monitors.append(.tcpSocket(host: host, port: port))
            default:
                throw list.error("chardev \(Spelling.quoted(namedBackends[index].id)) is not a socket; QMP needs one")
            }
        }
        configuration.characterDevices = namedBackends.filter { $0.user == nil }.map {
            CharacterDeviceConfiguration(id: $0.id, backend: $0.backend)
        }
        for backend in configuration.characterDevices {
            warnings.append("-chardev \(Spelling.clean(backend.id)): nothing uses it, and it is not opened")
        }
    }

    /// The index of a backend that nothing else is connected to.
    private mutating func namedBackend(_ id: String, for user: String, label: String) throws(CommandLineError) -> Int {
        guard let index = namedBackends.firstIndex(where: { $0.id == id }) else {
            let rest = Spelling.suggestion(
                for: id, from: namedBackends.map(\.id), otherwise: "; add -chardev KIND,id=\(Spelling.clean(id))")
            throw CommandLineError(label, "there is no chardev \(Spelling.quoted(id))\(rest)")
        }
        if let other = namedBackends[index].user {
            throw CommandLineError(label, "chardev \(Spelling.quoted(id)) is used by \(other) already; give each its own")
        }
        namedBackends[index].user = user
        return index
    }

    // MARK: -qmp, -mon

    mutating func addMonitor(_ option: ScannedOption) throws(CommandLineError) {
        let list = try properties(of: option)
        let address = try list.requiredText("address")
        let endpoint: MonitorEndpoint
        if address.hasPrefix("unix:") {
            endpoint = .unixSocket(path: String(address.dropFirst("unix:".utf8.count)))
        } else if address.hasPrefix("tcp:") {
            endpoint = try tcpEndpoint(address.dropFirst("tcp:".utf8.count), list)
        } else {
            let scheme = address.split(separator: ":", maxSplits: 1).first.map(String.init) ?? address
            let rest = Spelling.suggestion(
                for: scheme, from: ["unix", "tcp"], otherwise: "; write unix:PATH,server,nowait or tcp:IP:PORT,server,nowait")
            throw list.error("unknown address \(Spelling.quoted(address))\(rest)")
        }
        try checkListens(list)
        if list.contains("iothread") { monitorThreads.append(list) }
        monitors.append(endpoint)
    }

    private func tcpEndpoint(_ address: Substring, _ list: PropertyList) throws(CommandLineError) -> MonitorEndpoint {
        guard let colon = address.utf8.lastIndex(of: UInt8(ascii: ":")) else {
            throw list.error("tcp:\(Spelling.clean(String(address))) has no port; write tcp:IP:PORT,server,nowait")
        }
        let port = address.utf8[address.utf8.index(after: colon)...]
        guard let number = PropertyList.decimal(port), (1...65535).contains(number) else {
            throw list.error("port must be a whole number from 1 to 65535, not \(Spelling.quoted(String(Substring(port))))")
        }
        let host = try Self.numericAddress(String(address[..<colon]), list)
        return .tcpSocket(host: host, port: UInt16(clamping: number))
    }

    mutating func addMonitorReference(_ option: ScannedOption) throws(CommandLineError) {
        let list = try properties(of: option)
        if let mode = try list.text("mode"), mode != "control" {
            throw list.wrongChoice("mode", mode, ["control"])
        }
        _ = try list.requiredText("chardev")
        _ = try list.text("id")
        monitorReferences.append(list)
    }

    mutating func joinMonitors() throws(CommandLineError) {
        for list in monitorThreads {
            let id = try list.requiredText("iothread")
            let known = configuration.ioThreads.map(\.id)
            guard known.contains(id) else {
                throw list.error(CommandLineBuilder.missingIOThread(id, known: known))
            }
            warnings.append("-qmp: iothread has no effect; the main thread serves clients")
        }
        var used: [MonitorEndpoint] = []
        let backends = configuration.characterDevices.map(\.backend) + [configuration.serialPort?.backend].compactMap { $0 }
        for backend in backends {
            switch backend {
            case .unixSocket(let path): used.append(.unixSocket(path: path))
            case .tcpSocket(let host, let port): used.append(.tcpSocket(host: host, port: port))
            default: break
            }
        }
        for monitor in monitors {
            let address: String
            switch monitor {
            case .unixSocket(let path):
                // sun_path holds 108 bytes with the final zero byte (unix(7)).
                guard !path.isEmpty else {
                    throw CommandLineError("-qmp", "unix: needs a path after it: unix:PATH,server,nowait")
                }
                guard path.utf8.count <= 107 else {
                    throw CommandLineError("-qmp", "path is \(path.utf8.count) bytes long; at most 107 are allowed here")
                }
                address = path
            case .tcpSocket(let host, let port):
                address = "\(host):\(port)"
            }
            guard !used.contains(monitor) else {
                throw CommandLineError("-qmp", "\(Spelling.quoted(address)) is used twice; choose another")
            }
            used.append(monitor)
        }
    }
}
