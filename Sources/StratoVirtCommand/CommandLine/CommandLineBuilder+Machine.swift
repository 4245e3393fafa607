internal import StratoVMM

extension CommandLineBuilder {
    mutating func setMachine(_ option: ScannedOption) throws(CommandLineError) {
        let list = try properties(of: option)
        if let type = try list.text("type") {
            configuration.machine.kind = try machineKind(type, list)
        }
        if let accelerator = try list.text("accel") {
            try setAccelerator(accelerator, label: "-machine accel")
        }
        if let hasACPI = try list.boolean("acpi") { configuration.machine.hasACPI = hasACPI }
        if let isDumped = try list.boolean("dump-guest-core") { configuration.memory.isDumped = isDumped }
        if let isShared = try list.boolean("mem-share") { configuration.memory.isShared = isShared }
        if let isWanted = try list.boolean("thp") { configuration.memory.usesTransparentHugePages = isWanted }
        if let showsEmptySlots = try list.boolean("empty-slots") { configuration.machine.showsEmptySlots = showsEmptySlots }
        if let hasBootMarkers = try list.boolean("boot-markers") { configuration.machine.hasBootMarkers = hasBootMarkers }
        if try list.boolean("usb") == true {
            throw list.error("usb=on is not available; leave it out")
        }
        if let version = try list.text("gic-version") {
            guard let own = HostArchitecture.interruptControllerVersion else {
                throw list.error("gic-version belongs to aarch64; leave it out on \(HostArchitecture.name)")
            }
            guard version == "\(own)" else {
                throw list.error("gic-version must be \(own), not \(Spelling.quoted(version))")
            }
        }
    }

    private func machineKind(_ type: String, _ list: PropertyList) throws(CommandLineError) -> MachineConfiguration.Kind {
        let name = String(decoding: type.utf8.map(Spelling.lowercased), as: UTF8.self)
        switch name {
        case "none": return .none
        case "microvm": return .microVM
        case "standard_vm", "standard-vm", "standard", HostArchitecture.standardMachine: return .standard
        case HostArchitecture.foreignStandardMachine:
            throw list.error(
                "'\(name)' is a machine of another architecture; \(HostArchitecture.name) has \(HostArchitecture.standardMachine)"
            )
        default:
            let known = ["microvm", "none", "standard_vm", HostArchitecture.standardMachine]
            let rest = Spelling.suggestion(
                for: name, from: known + ["standard-vm", "standard"], otherwise: "; there are \(Spelling.list(known))")
            throw list.error("unknown machine type \(Spelling.quoted(type))\(rest)")
        }
    }

    /// `kvm:tcg` is how libvirt asks for KVM.
    func setAccelerator(_ name: String, label: String) throws(CommandLineError) {
        switch name {
        case "kvm", "kvm:tcg": return
        case "help", "?": return
        default:
            throw CommandLineError(
                label,
                "unknown accelerator \(Spelling.quoted(name))\(Spelling.suggestion(for: name, from: ["kvm"], otherwise: "; use kvm"))"
            )
        }
    }

    mutating func setProcessors(_ option: ScannedOption) throws(CommandLineError) {
        let list = try properties(of: option)
        let allowed = ProcessorConfiguration.allowedCounts
        let count = try list.integer("cpus", allowed)
        let maximum = try list.integer("maxcpus", allowed)
        let sockets = try list.integer("sockets", allowed)
        let dies = try list.integer("dies", allowed)
        let clusters = try list.integer("clusters", allowed)
        let cores = try list.integer("cores", allowed)
        let threads = try list.integer("threads", allowed)

        let given = [sockets, dies, clusters, cores, threads].compactMap { $0 }
        // At most 254 to the fifth power, which is far below 2⁶³.
        let product = given.reduce(1, *)
        let total = maximum ?? count ?? product
        configuration.processors.count = count ?? total
        configuration.processors.maximumCount = maximum
        if !given.isEmpty {
            var topology = ProcessorTopology(
                sockets: sockets ?? 1, dies: dies ?? 1, clusters: clusters ?? 1, cores: cores ?? 1, threads: threads ?? 1)
            // What is left out is filled: cores before sockets before threads.
            let remainder = max(1, total / product)
            if cores == nil {
                topology.cores = remainder
            } else if sockets == nil {
                topology.sockets = remainder
            } else if threads == nil {
                topology.threads = remainder
            }
            configuration.processors.topology = topology
        }
        if let maximum, maximum > configuration.processors.count {
            let kind = configuration.machine.kind == .standard ? "in this version" : "to a microvm while it runs"
            warnings.append("-smp: maxcpus=\(maximum) has no effect; virtual CPUs cannot be added \(kind)")
        }
    }

    mutating func setProcessorModel(_ option: ScannedOption) throws(CommandLineError) {
        let list = try properties(of: option)
        let model = try list.text("model") ?? "host"
        guard model == "host" else {
            let rest = Spelling.suggestion(for: model, from: ["host"], otherwise: "; use host")
            throw list.error("unknown model \(Spelling.quoted(model))\(rest)")
        }
        configuration.processors.hasPMU = try list.boolean("pmu") ?? false
        configuration.processors.hasSVE = try list.boolean("sve") ?? false
        configuration.processors.hasStealTime = try list.boolean("kvm-steal-time") ?? false
        for name in HostArchitecture.ineffectiveProcessorFeatures where list.contains(name) {
            warnings.append("-cpu: \(name) has no effect on \(HostArchitecture.name)")
        }
    }

    mutating func setMemory(_ option: ScannedOption) throws(CommandLineError) {
        let list = try properties(of: option)
        let size = try list.size("size", unit: 1 << 20)
        if let size { configuration.memory.size = MemorySize(bytes: size) }
        if let maximum = try list.size("maxmem", unit: 1 << 20) {
            guard maximum >= configuration.memory.size.bytes else {
                throw list.error(
                    "maxmem is \(MemorySize(bytes: maximum)), less than size, which is \(configuration.memory.size); give at least that"
                )
            }
            if maximum > configuration.memory.size.bytes {
                warnings.append("-m: maxmem has no effect; RAM cannot be added while the guest runs")
            }
        }
    }

    /// libvirt and QEMU write `guest=NAME,debug-threads=on`; StratoVirt takes any text.
    mutating func setName(_ option: ScannedOption) throws(CommandLineError) {
        guard option.word.hasPrefix("guest=") else {
            configuration.name = option.word
            return
        }
        let known = [
            PropertyDefinition("guest", "NAME", ""), PropertyDefinition("debug-threads", "on|off", ""),
            PropertyDefinition("process", "NAME", ""),
        ]
        let list = try PropertyList(option.word, option: option.label, leading: .none, known: known)
        try list.check(known)
        configuration.name = try list.requiredText("guest")
    }

    mutating func setIdentity(_ option: ScannedOption) throws(CommandLineError) {
        guard let identifier = MachineIdentifier(option.word) else {
            throw CommandLineError(
                option.label,
                "\(Spelling.quoted(option.word)) is not a UUID; write 8-4-4-4-12 hexadecimal digits, as uuidgen prints them")
        }
        configuration.uuid = identifier
    }

    mutating func setLog(_ option: ScannedOption) throws(CommandLineError) {
        guard let path = option.words.first else {
            log = .standardError
            return
        }
        try checkPath(path, option.label)
        log = .file(path)
    }

    mutating func setPIDFile(_ option: ScannedOption) throws(CommandLineError) {
        try checkPath(option.word, option.label)
        pidFile = option.word
    }

    private func checkPath(_ path: String, _ label: String) throws(CommandLineError) {
        guard !path.isEmpty else { throw CommandLineError(label, "is empty; give the path of a file") }
        // PATH_MAX of Linux is 4096 with the final zero byte.
        guard path.utf8.count < 4096 else {
            throw CommandLineError(label, "is \(path.utf8.count) bytes long; at most 4095 are allowed here")
        }
    }
}
