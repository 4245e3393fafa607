internal import StratoDisk
internal import StratoHost
internal import StratoKVM
internal import StratoMachine
internal import StratoMemory
internal import StratoPCI
internal import StratoVirtio

/// A machine, with everything of the host that was opened for it.
final class AssembledMachine: Sendable {
    private let machine: any Machine
    private let resources: MachineResources

    /// Opens what a configuration names, and builds the machine from it, up to its first instruction.
    ///
    /// - Throws: `MachineControlError`; everything that was opened is closed then.
    init(
        _ configuration: VirtualMachineConfiguration, loop: EventLoop, logger: Logger, startTime: MonotonicClock.Instant,
        onRequest: @escaping @Sendable (GuestRequest) -> Void, onQuit: @escaping @Sendable () -> Void
    ) throws(MachineControlError) {
        let confinement = try AssembledMachine.confinement(configuration)
        // A thread that cannot be confined ends, and the machine with it.
        let threadConfinement = confinement.inputOutput { error in onRequest(.failed("\(error)")) }
        let resources = MachineResources(
            loop: loop, logger: logger, confinement: threadConfinement,
            filtersSystemCalls: confinement.filtersSystemCalls, onQuit: onQuit)
        do {
            switch configuration.machine.kind {
            case .microVM:
                machine = try AssembledMachine.makeMicroVM(
                    configuration, resources, confinement, loop, logger, startTime, onRequest)
            case .standard:
                machine = try AssembledMachine.makeStandardVM(
                    configuration, resources, confinement, loop, logger, startTime, onRequest)
            case .none:
                throw MachineError("-machine: \(configuration.machine.kind.rawValue) has no machine to start")
            }
            try machine.start()
        } catch {
            resources.close()
            throw MachineControlError("\(error)")
        }
        self.resources = resources
    }

    private static func confinement(
        _ configuration: VirtualMachineConfiguration
    ) throws(MachineControlError) -> MachineConfinement {
        var confinement = MachineConfinement()
        confinement.filtersSystemCalls = configuration.confinesThreads
        if let directories = configuration.reachableDirectories {
            do {
                confinement.ruleset = try LandlockRuleset(reaching: directories)
            } catch {
                throw MachineControlError("-landlock: \(error)")
            }
        }
        return confinement
    }

    private static func makeMicroVM(
        _ configuration: VirtualMachineConfiguration, _ resources: MachineResources, _ confinement: MachineConfinement,
        _ loop: EventLoop, _ logger: Logger, _ startTime: MonotonicClock.Instant,
        _ onRequest: @escaping @Sendable (GuestRequest) -> Void
    ) throws -> any Machine {
        guard let bootLoader = configuration.bootLoader else {
            throw MachineError("-kernel: a microVM needs a kernel; name its image")
        }
        let system = try KVMSystem()
        let ranges = try MicroVMBoard.memoryRanges(configuration.memory.size.bytes)
        var description = MicroVM.Description(
            boot: BootSource(bootLoader), topology: configuration.processors.layout)
        description.processorCount = configuration.processors.count
        description.processorFeatures = configuration.processors.features
        description.hasACPI = configuration.machine.hasACPI
        description.hasBootMarkers = configuration.machine.hasBootMarkers
        description.clockLoop = loop
        description.startTime = startTime
        description.confinement = confinement
        for ioThread in configuration.ioThreads { try resources.startIOThread(ioThread.id) }
        // Images are locked before anything else of the host is touched: a conflict leaves no trace.
        for device in configuration.storageDevices {
            description.devices.append(MicroVM.SlotDevice(kind: .block, device: try resources.makeBlockDevice(device)))
        }
        if configuration.machine.showsEmptySlots {
            description.devices += try resources.makeEmptySlots(beside: description.devices)
        }
        if let port = configuration.serialPort {
            description.serialBackend = try resources.openBackend(port.backend, label: port.id)
        }
        let memory = try GuestMemory(ranges, backing: GuestMemory.Backing(configuration.memory))
        return try MicroVM(description, memory: memory, system: system, logger: logger, onRequest: onRequest)
    }

    private static func makeStandardVM(
        _ configuration: VirtualMachineConfiguration, _ resources: MachineResources, _ confinement: MachineConfinement,
        _ loop: EventLoop, _ logger: Logger, _ startTime: MonotonicClock.Instant,
        _ onRequest: @escaping @Sendable (GuestRequest) -> Void
    ) throws -> any Machine {
        let system = try KVMSystem()
        let ranges = try StandardBoard.memoryRanges(configuration.memory.size.bytes)
        var description = StandardVM.Description(topology: configuration.processors.layout)
        description.boot = configuration.bootLoader.map(BootSource.init)
        description.processorCount = configuration.processors.count
        description.processorFeatures = configuration.processors.features
        description.hasBootMarkers = configuration.machine.hasBootMarkers
        description.startTime = startTime
        description.confinement = confinement
        description.identity = SystemDescription(configuration)
        for ioThread in configuration.ioThreads { try resources.startIOThread(ioThread.id) }
        // Images are locked before anything else of the host is touched: a conflict leaves no trace.
        if let firmware = configuration.firmware {
            description.firmware = StandardVM.Firmware(
                code: try FlashImage(path: firmware.code, isReadOnly: firmware.isCodeReadOnly, logger: logger),
                variables: try firmware.variables.map {
                    try FlashImage(path: $0, isReadOnly: firmware.areVariablesReadOnly, logger: logger)
                })
        }
        description.devices = try configuration.rootPortDescriptions
        let queueCount = min(configuration.processors.count, StorageDeviceConfiguration.allowedQueueCounts.upperBound)
        for var device in configuration.storageDevices {
            device.queueCount = device.queueCount ?? queueCount
            var pciDevice = PCIDeviceDescription(id: device.id, contents: .virtio(try resources.makeBlockDevice(device)))
            pciDevice.bootIndex = device.bootIndex
            if let placement = device.placement { pciDevice.place(at: placement) }
            description.devices.append(pciDevice)
        }
        if configuration.firmware != nil, configuration.bootLoader == nil {
            resources.warnWithoutSystemPartition()
        }
        if let port = configuration.serialPort {
            description.serialBackend = try resources.openBackend(port.backend, label: port.id)
        }
        let memory = try GuestMemory(ranges, backing: GuestMemory.Backing(configuration.memory))
        return try StandardVM(
            description, memory: memory, system: system, loop: loop, logger: logger, onRequest: onRequest)
    }

    func release() { machine.release() }

    func hold() -> Bool { machine.hold() }

    func reset() throws(MachineError) { try machine.reset() }

    func registerSummaries() -> [String] { machine.registerSummaries() }

    func pressPowerButton() -> Bool { machine.pressPowerButton() }

    /// Ends the machine, then closes what was opened for it.
    func shutDown() {
        machine.shutDown()
        resources.close()
    }

    var processorThreadIDs: [Int32] { machine.processorThreadIDs }

    var blockDevices: [BlockDeviceInfo] { resources.blockDevices }

    var pciFunctions: [PCIFunctionInfo] {
        (machine as? StandardVM).map { PCIFunctionInfo.functions(on: $0.rootBus) } ?? []
    }

    var characterDevices: [CharacterDeviceInfo] { resources.characterDevices }

    var ioThreads: [IOThreadInfo] { resources.ioThreads }
}

extension BootSource {
    fileprivate init(_ loader: LinuxBootLoader) {
        self.init(kernelPath: loader.kernel, initialRamdiskPath: loader.initialRamdisk, commandLine: loader.commandLine)
    }
}

extension GuestMemory.Backing {
    fileprivate init(_ configuration: MemoryConfiguration) {
        self.init()
        path = configuration.path
        isShared = configuration.isShared
        isPreallocated = configuration.isPreallocated
        usesTransparentHugePages = configuration.usesTransparentHugePages
        isDumped = configuration.isDumped
    }
}

extension ProcessorConfiguration {
    var features: ProcessorFeatures {
        var features = ProcessorFeatures()
        features.hasPMU = hasPMU
        features.hasSVE = hasSVE
        return features
    }

    /// The arrangement; where none was given, cores of one socket, as StratoVirt fills them.
    var layout: ProcessorLayout {
        guard let topology else { return ProcessorLayout(sockets: 1, cores: maximumCount ?? count) }
        return ProcessorLayout(
            sockets: topology.sockets, dies: topology.dies, clusters: topology.clusters, cores: topology.cores,
            threads: topology.threads)
    }
}

extension VirtualMachineConfiguration {
    /// The root ports; those without a number get the next that is free.
    fileprivate var rootPortDescriptions: [PCIDeviceDescription] {
        get throws(MachineError) {
            var used = Set(rootPorts.compactMap(\.number))
            var descriptions: [PCIDeviceDescription] = []
            for port in rootPorts {
                let free = PCIRootPortConfiguration.allowedNumbers.first { !used.contains($0) }
                guard let number = port.number ?? free else {
                    throw MachineError("-device \(port.id): there are no more port numbers")
                }
                used.insert(number)
                var description = PCIDeviceDescription(
                    id: port.id, contents: .rootPort(port: UInt8(clamping: number)))
                description.place(at: port.placement)
                descriptions.append(description)
            }
            return descriptions
        }
    }
}

extension PCIDeviceDescription {
    fileprivate mutating func place(at placement: PCIPlacement) {
        bus = placement.bus
        device = placement.device.map { UInt8(clamping: $0) }
        function = UInt8(clamping: placement.function)
        isMultifunction = placement.isMultifunction
    }
}
