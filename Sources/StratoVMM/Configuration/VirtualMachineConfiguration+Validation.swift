extension VirtualMachineConfiguration {
    /// Checks the whole configuration.
    ///
    /// Nothing on the host is looked at: whether a file exists, or a lock on it can be had, is known when the machine is made.
    ///
    /// - Throws: `ConfigurationError` with every problem that was found.
    public func validate() throws(ConfigurationError) {
        let problems = problems()
        guard problems.isEmpty else { throw ConfigurationError(problems: problems) }
    }

    /// Everything that is wrong with the configuration, in the order of its properties; empty if a machine can be made from it.
    public func problems() -> [ConfigurationProblem] {
        var checker = ConfigurationChecker(machine: machine.kind)
        if let name {
            checker.checkText(name, at: "name", maximumLength: ConfigurationLimits.textLength)
        }
        checker.checkMachine(machine)
        checker.checkProcessors(processors)
        checker.checkMemory(memory)
        checker.checkBootLoader(bootLoader, hasFirmware: firmware != nil)
        checker.checkFirmware(firmware)
        checker.checkIdentity(identity)
        checker.checkStorageDevices(storageDevices, ioThreads: ioThreads)
        checker.checkPlacements(rootPorts, storageDevices)
        checker.checkCharacterDevices(serialPort: serialPort, characterDevices)
        checker.checkIOThreads(ioThreads)
        checker.checkReachableDirectories(reachableDirectories ?? [])
        return checker.problems
    }
}

/// Bounds that StratoVirt sets as well, so that a machine accepted here is accepted there.
enum ConfigurationLimits {
    /// Bytes of an id or name.
    static let textLength = 255
    /// Bytes of a path: `PATH_MAX` of Linux counts the final zero byte.
    static let pathLength = 4095
    /// Bytes of a Unix socket's path: `sun_path` holds 108 with the final zero byte (unix(7)).
    static let socketPathLength = 107
    /// Bytes that the driver is given for VIRTIO_BLK_T_GET_ID (virtio 1.2, 5.2.6).
    static let diskSerialLength = 20
    /// virtio-mmio slots of a microVM that hold block devices.
    static let microVMBlockDevices = 4
    /// Threads that serve devices.
    static let ioThreads = 8
    /// The unit in which KVM maps memory.
    static let pageSize: UInt64 = 4096
}

/// Collects problems; the functions follow the order of the configuration's properties.
struct ConfigurationChecker {
    private(set) var problems: [ConfigurationProblem] = []
    private let machine: MachineConfiguration.Kind

    init(machine: MachineConfiguration.Kind) {
        self.machine = machine
    }

    private mutating func report(_ path: String, _ message: String) {
        problems.append(ConfigurationProblem(path: path, message: message))
    }

    // MARK: Text

    mutating func checkText(_ text: String, at path: @autoclosure () -> String, maximumLength: Int) {
        let bytes = text.utf8
        if bytes.isEmpty {
            report(path(), "is empty; give at least one character")
        } else if bytes.count > maximumLength {
            report(path(), "is \(bytes.count) bytes long; at most \(maximumLength) are allowed")
        } else if bytes.contains(where: { $0 < 0x20 || $0 == 0x7F }) {
            report(path(), "contains a control character; remove it")
        }
    }

    private mutating func checkPath(
        _ text: String, at path: @autoclosure () -> String, maximumLength: Int = ConfigurationLimits.pathLength
    ) {
        let bytes = text.utf8
        if bytes.isEmpty {
            report(path(), "is empty; give the path of a file")
        } else if bytes.count > maximumLength {
            report(path(), "is \(bytes.count) bytes long; at most \(maximumLength) are allowed here")
        } else if bytes.contains(0) {
            report(path(), "contains a zero byte; remove it")
        }
    }

    /// The names are few: an array is searched in less time than a set takes to be made.
    private mutating func checkUnique(_ id: String, in seen: inout [String], at path: @autoclosure () -> String) {
        if seen.contains(id) {
            report(path(), "'\(id)' is used twice; choose another")
        } else {
            seen.append(id)
        }
    }

    private mutating func checkRange(_ value: Int, _ range: ClosedRange<Int>, at path: @autoclosure () -> String) {
        if !range.contains(value) {
            report(path(), "is \(value); \(range.lowerBound) to \(range.upperBound) are allowed")
        }
    }

    // MARK: Machine, processors, memory, kernel

    mutating func checkMachine(_ configuration: MachineConfiguration) {
        guard configuration.kind == .standard else { return }
        if !configuration.hasACPI {
            report("machine.hasACPI", "the standard machine has ACPI always; leave acpi=off out")
        }
        if configuration.showsEmptySlots {
            report("machine.showsEmptySlots", "virtio slots belong to a microvm; leave empty-slots=on out")
        }
    }

    mutating func checkProcessors(_ processors: ProcessorConfiguration) {
        let allowed = ProcessorConfiguration.allowedCounts
        checkRange(processors.count, allowed, at: "processors.count")
        let maximum = processors.maximumCount ?? processors.count
        if processors.maximumCount != nil {
            checkRange(maximum, allowed, at: "processors.maximumCount")
            if maximum < processors.count {
                report(
                    "processors.maximumCount",
                    "is \(maximum), less than the \(processors.count) present at start; give at least that many")
            }
        }
        guard let topology = processors.topology else { return }
        let levels = [
            ("sockets", topology.sockets), ("dies", topology.dies), ("clusters", topology.clusters),
            ("cores", topology.cores), ("threads", topology.threads),
        ]
        var product = 1
        for (name, count) in levels {
            guard count >= 1 else {
                report("processors.topology.\(name)", "is \(count); give at least 1")
                return
            }
            let (partial, overflow) = product.multipliedReportingOverflow(by: count)
            product = overflow ? .max : partial
        }
        if product != maximum {
            let text = levels.map { "\($0.1)" }.joined(separator: " * ")
            let result = product == .max ? "too many" : "\(product)"
            report(
                "processors.topology",
                "sockets * dies * clusters * cores * threads is \(text) = \(result), but there are \(maximum) virtual CPUs; "
                    + "make the two equal")
        }
    }

    mutating func checkMemory(_ memory: MemoryConfiguration) {
        let allowed = MemoryConfiguration.allowedSizes
        if !allowed.contains(memory.size) {
            report("memory.size", "is \(memory.size); \(allowed.lowerBound) to \(allowed.upperBound) are allowed")
        } else if memory.size.bytes % ConfigurationLimits.pageSize != 0 {
            report("memory.size", "is \(memory.size); give a multiple of 4 KiB")
        }
        if let path = memory.path {
            checkPath(path, at: "memory.path")
        }
    }

    mutating func checkBootLoader(_ bootLoader: LinuxBootLoader?, hasFirmware: Bool) {
        guard let bootLoader else {
            if machine == .microVM {
                report("bootLoader", "a microvm boots a kernel; name its image")
            } else if machine == .standard, !hasFirmware {
                report(
                    "bootLoader",
                    "without firmware a standard machine boots a kernel; name its image, or firmware by "
                        + "-drive file=CODE,if=pflash,unit=0,readonly=on")
            }
            return
        }
        guard machine != .none else {
            report("bootLoader", "a machine of kind none boots nothing; choose microvm")
            return
        }
        checkPath(bootLoader.kernel, at: "bootLoader.kernel")
        if let path = bootLoader.initialRamdisk {
            checkPath(path, at: "bootLoader.initialRamdisk")
        }
        if bootLoader.commandLine.utf8.contains(0) {
            report("bootLoader.commandLine", "contains a zero byte; remove it")
        }
    }

    mutating func checkFirmware(_ firmware: FirmwareImages?) {
        guard let firmware else { return }
        guard machine == .standard else {
            report("firmware", "holds what only a standard machine starts; remove it, or choose standard_vm")
            return
        }
        checkPath(firmware.code, at: "firmware.code")
        guard let variables = firmware.variables else { return }
        checkPath(variables, at: "firmware.variables")
        if variables == firmware.code {
            report("firmware.variables", "is the same file as unit 0; give the variables a file of their own")
        }
        if firmware.areVariablesReadOnly {
            report(
                "firmware.variables",
                "is read-only, but the firmware has to write its variables there: leave readonly out, or leave unit 1 out")
        }
    }

    mutating func checkIdentity(_ identity: SystemIdentity) {
        // Few machines have one, and most of the work here is to make the types of the lists below.
        guard identity != SystemIdentity() else { return }
        for (name, text) in identity.texts {
            checkText(text, at: "identity.\(name)", maximumLength: ConfigurationLimits.textLength)
            if text.utf8.contains(where: { $0 > 0x7E }) {
                report("identity.\(name)", "contains a character that is not ASCII; SMBIOS has no others")
            }
        }
        for (name, speed) in identity.speeds {
            checkRange(speed, SystemIdentity.Processors.allowedSpeeds, at: "identity.\(name)")
        }
    }

    // MARK: PCI

    mutating func checkPlacements(_ ports: [PCIRootPortConfiguration], _ disks: [StorageDeviceConfiguration]) {
        guard machine == .standard else {
            if let port = ports.first {
                report("rootPorts", "'\(port.id)' needs a PCI bus, which this kind of machine does not have; remove it")
            }
            for (index, disk) in disks.enumerated() where disk.placement != nil {
                report("storageDevices[\(index)].placement", "this kind of machine has no PCI bus; leave the place out")
            }
            return
        }
        var places = PCIPlaceChecker(buses: [PCIPlacement.rootBus] + ports.map(\.id))
        var ids = disks.map(\.id)
        var numbers: [Int: String] = [:]
        for (index, port) in ports.enumerated() {
            let path = "rootPorts[\(index)]"
            checkText(port.id, at: "\(path).id", maximumLength: ConfigurationLimits.textLength)
            checkUnique(port.id, in: &ids, at: "\(path).id")
            if port.id == PCIPlacement.rootBus {
                report("\(path).id", "'\(port.id)' is the root bus; choose another")
            }
            if let number = port.number {
                checkRange(number, PCIRootPortConfiguration.allowedNumbers, at: "\(path).number")
                if let other = numbers.updateValue(port.id, forKey: number) {
                    report("\(path).number", "is \(number), which '\(other)' has already; choose another")
                }
            }
            if port.placement.bus != PCIPlacement.rootBus {
                report("\(path).placement", "a root port is on bus \(PCIPlacement.rootBus) alone")
            } else if let problem = places.add(port.placement, id: port.id) {
                report("\(path).placement", problem)
            }
        }
        for (index, disk) in disks.enumerated() {
            guard let placement = disk.placement, let problem = places.add(placement, id: disk.id) else { continue }
            report("storageDevices[\(index)].placement", problem)
        }
    }

    // MARK: Disks

    mutating func checkStorageDevices(_ devices: [StorageDeviceConfiguration], ioThreads: [IOThreadConfiguration]) {
        if machine == .none, !devices.isEmpty {
            report("storageDevices", "a machine of kind none has no devices; choose microvm")
        }
        let maximum = ConfigurationLimits.microVMBlockDevices
        if machine == .microVM, devices.count > maximum {
            report(
                "storageDevices", "a microvm has \(maximum) slots for block devices, but \(devices.count) are given; remove some")
        }
        var deviceIDs: [String] = []
        var imageIDs: [String] = []
        var bootIndexes: [Int: String] = [:]
        for (index, device) in devices.enumerated() {
            let path = "storageDevices[\(index)]"
            checkText(device.id, at: "\(path).id", maximumLength: ConfigurationLimits.textLength)
            checkUnique(device.id, in: &deviceIDs, at: "\(path).id")
            checkImage(device.image, at: path + ".image")
            checkUnique(device.image.id, in: &imageIDs, at: "\(path).image.id")
            if let serial = device.serial {
                checkText(serial, at: "\(path).serial", maximumLength: ConfigurationLimits.diskSerialLength)
            }
            if let count = device.queueCount {
                checkRange(count, StorageDeviceConfiguration.allowedQueueCounts, at: "\(path).queueCount")
            }
            let sizes = StorageDeviceConfiguration.allowedQueueSizes
            if !sizes.contains(device.queueSize) || device.queueSize & (device.queueSize &- 1) != 0 {
                report(
                    "\(path).queueSize",
                    "is \(device.queueSize); powers of two from \(sizes.lowerBound) to \(sizes.upperBound) are allowed")
            }
            if let id = device.ioThread, !ioThreads.contains(where: { $0.id == id }) {
                report("\(path).ioThread", "there is no iothread '\(id)'; add it, or name one that exists")
            }
            if let bootIndex = device.bootIndex {
                checkRange(bootIndex, StorageDeviceConfiguration.allowedBootIndexes, at: "\(path).bootIndex")
                if let other = bootIndexes.updateValue(device.id, forKey: bootIndex) {
                    report("\(path).bootIndex", "is \(bootIndex), which '\(other)' has already; choose another")
                }
            }
        }
    }

    private mutating func checkImage(_ image: DiskImageConfiguration, at path: String) {
        checkText(image.id, at: "\(path).id", maximumLength: ConfigurationLimits.textLength)
        checkPath(image.path, at: "\(path).path")
        if image.engine == .native, !image.isDirect {
            report("\(path).engine", "native I/O needs a direct image; turn direct on, or choose another engine")
        }
        if image.format != .raw {
            report(
                "\(path).format",
                machine == .microVM
                    ? "a microvm takes raw images only; convert the image to raw"
                    : "only raw images are available in this version; convert the image to raw")
        }
        if let rate = image.requestsPerSecond {
            checkRange(rate, DiskImageConfiguration.allowedRequestRates, at: "\(path).requestsPerSecond")
        }
    }

    // MARK: Character devices

    mutating func checkCharacterDevices(serialPort: SerialPortConfiguration?, _ devices: [CharacterDeviceConfiguration]) {
        var ids: [String] = []
        var sockets: [String] = []
        var standardIOUser: String?
        func check(
            _ id: String, _ backend: CharacterBackendConfiguration, at path: String, by checker: inout ConfigurationChecker
        ) {
            checker.checkText(id, at: "\(path).id", maximumLength: ConfigurationLimits.textLength)
            checker.checkUnique(id, in: &ids, at: "\(path).id")
            checker.checkBackend(backend, at: path + ".backend", sockets: &sockets)
            guard backend == .standardIO else { return }
            if let user = standardIOUser {
                checker.report(
                    "\(path).backend", "standard input and output are used by '\(user)' already; choose another backend")
            }
            standardIOUser = id
        }
        if let serialPort {
            check(serialPort.id, serialPort.backend, at: "serialPort", by: &self)
        }
        for (index, device) in devices.enumerated() {
            check(device.id, device.backend, at: "characterDevices[\(index)]", by: &self)
        }
    }

    private mutating func checkBackend(
        _ backend: CharacterBackendConfiguration, at path: String, sockets: inout [String]
    ) {
        switch backend {
        case .standardIO, .pseudoTerminal, .log, .null:
            break
        case .file(let file):
            checkPath(file, at: path)
        case .unixSocket(let socket):
            checkPath(socket, at: path, maximumLength: ConfigurationLimits.socketPathLength)
            checkUnique(socket, in: &sockets, at: path)
        case .tcpSocket(let host, let port):
            checkText(host, at: path, maximumLength: ConfigurationLimits.textLength)
            if port == 0 {
                report(path, "port 0 cannot be connected to; give 1 to 65535")
            } else {
                checkUnique("\(host):\(port)", in: &sockets, at: path)
            }
        case .descriptor(let number):
            if number < 0 {
                report(path, "\(number) is not a descriptor; give an open one")
            }
        }
    }

    // MARK: Threads

    mutating func checkReachableDirectories(_ directories: [String]) {
        for (index, directory) in directories.enumerated() {
            checkPath(directory, at: "reachableDirectories[\(index)]")
        }
    }

    mutating func checkIOThreads(_ threads: [IOThreadConfiguration]) {
        let maximum = ConfigurationLimits.ioThreads
        if threads.count > maximum {
            report("ioThreads", "\(threads.count) are given; at most \(maximum) are allowed")
        }
        var ids: [String] = []
        for (index, thread) in threads.enumerated() {
            checkText(thread.id, at: "ioThreads[\(index)].id", maximumLength: ConfigurationLimits.textLength)
            checkUnique(thread.id, in: &ids, at: "ioThreads[\(index)].id")
        }
    }
}

/// Finds devices that are given the same place, or one that there is not.
private struct PCIPlaceChecker {
    private let buses: [String]
    private var taken: [PCIPlacement: String] = [:]

    init(buses: [String]) {
        self.buses = buses
    }

    /// What is wrong with a place, nil if it is free.
    mutating func add(_ placement: PCIPlacement, id: String) -> String? {
        guard buses.contains(placement.bus) else {
            return "there is no bus '\(placement.bus)'; there are \(buses.joined(separator: ", "))"
        }
        guard PCIPlacement.allowedFunctions.contains(placement.function) else {
            return "function \(placement.function) does not exist; there are 0 to 7"
        }
        guard let device = placement.device else { return nil }
        guard PCIPlacement.allowedDevices.contains(device) else {
            return "place \(device) does not exist; there are 0 to 31"
        }
        let isOnRoot = placement.bus == PCIPlacement.rootBus
        if isOnRoot, device == 0 || device == 31 {
            return "place \(device) of bus \(placement.bus) belongs to the chip set; choose another"
        }
        if !isOnRoot, device != 0 {
            return "bus \(placement.bus) is behind a root port, and has place 0 alone"
        }
        var key = placement
        key.isMultifunction = false
        if let other = taken.updateValue(id, forKey: key) {
            return "place \(device).\(placement.function) of bus \(placement.bus) is taken by '\(other)'; choose another"
        }
        return nil
    }
}

extension SystemIdentity {
    fileprivate var texts: [(String, String)] {
        let all: [(String, String?)] = [
            ("firmware.vendor", firmware?.vendor), ("firmware.version", firmware?.version), ("firmware.date", firmware?.date),
            ("system.manufacturer", system.manufacturer), ("system.product", system.product),
            ("system.version", system.version), ("system.serialNumber", system.serialNumber),
            ("system.stockKeepingUnit", system.stockKeepingUnit), ("system.family", system.family),
            ("baseboard.manufacturer", baseboard.manufacturer), ("baseboard.product", baseboard.product),
            ("baseboard.version", baseboard.version), ("baseboard.serialNumber", baseboard.serialNumber),
            ("baseboard.assetTag", baseboard.assetTag), ("baseboard.location", baseboard.location),
            ("chassis.manufacturer", chassis.manufacturer), ("chassis.version", chassis.version),
            ("chassis.serialNumber", chassis.serialNumber), ("chassis.assetTag", chassis.assetTag),
            ("chassis.stockKeepingUnit", chassis.stockKeepingUnit), ("processors.socketPrefix", processors.socketPrefix),
            ("processors.manufacturer", processors.manufacturer), ("processors.version", processors.version),
            ("processors.serialNumber", processors.serialNumber), ("processors.assetTag", processors.assetTag),
            ("processors.partNumber", processors.partNumber), ("memoryDevices.locatorPrefix", memoryDevices.locatorPrefix),
            ("memoryDevices.bank", memoryDevices.bank), ("memoryDevices.manufacturer", memoryDevices.manufacturer),
            ("memoryDevices.serialNumber", memoryDevices.serialNumber), ("memoryDevices.assetTag", memoryDevices.assetTag),
            ("memoryDevices.partNumber", memoryDevices.partNumber),
        ]
        return all.compactMap { name, text in text.map { (name, $0) } }
    }

    fileprivate var speeds: [(String, Int)] {
        let all: [(String, Int?)] = [
            ("processors.maximumSpeed", processors.maximumSpeed), ("processors.currentSpeed", processors.currentSpeed),
            ("memoryDevices.speed", memoryDevices.speed),
        ]
        return all.compactMap { name, speed in speed.map { (name, $0) } }
    }
}
