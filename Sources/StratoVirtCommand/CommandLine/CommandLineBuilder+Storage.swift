internal import StratoVMM

extension CommandLineBuilder {
    private enum Interface: String, CaseIterable { case none, pflash }
    private enum Media: String, CaseIterable { case disk, cdrom }
    private enum Discard: String, CaseIterable { case unmap, ignore }
    private enum ZeroDetection: String, CaseIterable { case off, on, unmap }

    private static let largestCache: UInt64 = 32 << 20

    // MARK: -drive

    mutating func addDrive(_ option: ScannedOption) throws(CommandLineError) {
        var list = try properties(of: option)
        if let id = try list.text("id") { list.identify(by: id) }
        switch try interface(list) {
        case .none: try addDisk(list)
        case .pflash: try addFlash(list)
        }
    }

    private mutating func interface(_ list: PropertyList) throws(CommandLineError) -> Interface {
        // A misspelling that StratoVirt's own boot document prints.
        if try list.text("if") == "pfalsh" {
            warnings.append("\(list.label): if=pfalsh is taken as if=pflash")
            return .pflash
        }
        return try list.choice("if", Interface.self) ?? .none
    }

    private mutating func addDisk(_ list: PropertyList) throws(CommandLineError) {
        let file = try list.requiredText("file")
        let id = try list.text("id")
        if let id, drives.contains(where: { !$0.isGenerated && $0.image.id == id }) {
            throw CommandLineError("-drive", "id \(Spelling.quoted(id)) is used twice; choose another")
        }
        guard !list.contains("unit") else {
            throw list.error("unit belongs to if=pflash; leave it out")
        }
        var image = DiskImageConfiguration(id: id ?? "", path: file)
        image.isReadOnly = try list.boolean("readonly") ?? false
        image.isDirect = try list.boolean("direct") ?? true
        image.engine = try list.choice("aio", DiskImageConfiguration.Engine.self)
        image.format = try list.choice("format", DiskImageConfiguration.Format.self) ?? .raw
        if let rate = try list.integer("throttling.iops-total", DiskImageConfiguration.allowedRequestRates) {
            image.requestsPerSecond = rate
        }
        switch try list.choice("discard", Discard.self) {
        case .unmap: image.discard = .unmap
        case .ignore, nil: image.discard = .ignore
        }
        switch try list.choice("detect-zeroes", ZeroDetection.self) {
        case .unmap: image.zeroDetection = .unmap
        case .on: image.zeroDetection = .on
        case .off, nil: image.zeroDetection = .off
        }
        try checkMedia(list, &image)
        try checkEngine(list, image)
        try checkCaches(list, image)
        drives.append(Drive(image: image, isGenerated: id == nil, user: nil))
    }

    private func checkMedia(_ list: PropertyList, _ image: inout DiskImageConfiguration) throws(CommandLineError) {
        guard try list.choice("media", Media.self) == .cdrom else { return }
        guard try list.boolean("readonly") != false else {
            throw list.error("media=cdrom cannot be written; leave readonly=off out")
        }
        image.isReadOnly = true
    }

    private func checkEngine(_ list: PropertyList, _ image: DiskImageConfiguration) throws(CommandLineError) {
        switch (image.engine, image.isDirect) {
        case (.native, false):
            throw list.error("aio=native needs direct=on; use aio=threads with direct=off")
        case (.synchronous, true):
            throw list.error("aio=off needs direct=off; add it, or choose another aio")
        case (.native, true), (.ioUring, _), (.threads, _), (.synchronous, false), (nil, _):
            break
        }
    }

    private mutating func checkCaches(_ list: PropertyList, _ image: DiskImageConfiguration) throws(CommandLineError) {
        for name in ["l2-cache-size", "refcount-cache-size"] {
            guard let size = try list.size(name, unit: 1) else { continue }
            guard size <= Self.largestCache else {
                throw list.error(
                    "\(name) is \(MemorySize(bytes: size)); at most \(MemorySize(bytes: Self.largestCache)) are allowed")
            }
            if image.format == .raw {
                warnings.append("\(list.label): \(name) has no effect on a raw image")
            }
        }
    }

    private mutating func addFlash(_ list: PropertyList) throws(CommandLineError) {
        guard configuration.machine.kind == .standard else {
            throw list.error("if=pflash holds firmware, which this kind of machine does not have; remove it")
        }
        let file = try list.requiredText("file")
        let isReadOnly = try list.boolean("readonly")
        // Flash is read once, and written a sector at a time.
        for name in ["direct", "aio", "discard", "detect-zeroes", "throttling.iops-total"] where list.contains(name) {
            warnings.append("\(list.label): \(name) has no effect on pflash")
        }
        guard let number = try list.integer("unit", 0...1) else {
            throw list.error("if=pflash needs unit=0 for code or unit=1 for variables")
        }
        guard !flash.contains(where: { $0.unit == number }) else {
            throw list.error("unit=\(number) is given twice; there is one pflash of each")
        }
        guard try list.choice("format", DiskImageConfiguration.Format.self) != .qcow2 else {
            throw list.error("if=pflash takes raw images only")
        }
        flash.append(Flash(unit: number, path: file, isReadOnly: isReadOnly))
    }

    /// The two flash units make up the firmware.
    mutating func joinFlash() throws(CommandLineError) {
        let variables = flash.first { $0.unit == 1 }
        guard let code = flash.first(where: { $0.unit == 0 }) else {
            if variables != nil {
                throw CommandLineError(
                    "-drive", "if=pflash,unit=1 holds variables of the firmware in unit=0, which is missing; add it")
            }
            return
        }
        var firmware = FirmwareImages(code: code.path, variables: variables?.path)
        firmware.isCodeReadOnly = code.isReadOnly ?? true
        firmware.areVariablesReadOnly = variables?.isReadOnly ?? false
        configuration.firmware = firmware
    }

    // MARK: -device

    mutating func addDevice(_ option: ScannedOption) throws(CommandLineError) {
        let list = try PropertyList(option.word, option: option.label, leading: .className, known: [])
        let kind = try deviceClass(list)
        try list.check(kind.properties)
        let id = try list.text("id")
        if let id {
            guard !devices.contains(where: { $0.id == id }), !configuration.rootPorts.contains(where: { $0.id == id }) else {
                throw list.error("id \(Spelling.quoted(id)) is used twice; choose another")
            }
        }
        if kind.name == PropertyTable.rootPort.name { return try addRootPort(list) }
        if kind.name == PropertyTable.blockDevice.name, configuration.machine.kind == .standard {
            warnings.append("\(list.label): a standard machine's disks are on PCI; taken as virtio-blk-pci")
        }
        let drive = try list.requiredText("drive")
        let device = PendingDevice(
            properties: list, drive: drive, id: id, serial: try list.text("serial"), placement: try placement(list),
            queueCount: try list.integer("num-queues", StorageDeviceConfiguration.allowedQueueCounts),
            queueSize: try list.integer("queue-size", StorageDeviceConfiguration.allowedQueueSizes),
            ioThread: try list.text("iothread"),
            bootIndex: try list.integer("bootindex", StorageDeviceConfiguration.allowedBootIndexes))
        devices.append(device)
    }

    private func deviceClass(_ list: PropertyList) throws(CommandLineError) -> ClassDefinition {
        let name = list.className
        let isStandard = configuration.machine.kind == .standard
        let known = isStandard ? PropertyTable.devices : [PropertyTable.blockDevice]
        if let kind = known.first(where: { $0.name == name }) { return kind }
        let label = "-device"
        if !isStandard, PropertyTable.devices.contains(where: { $0.name == name }) {
            let stem = Self.stem(of: name, suffix: "-pci")
            let rest = stem.map { "; use '\($0)-device'" } ?? "; choose -machine standard_vm"
            throw CommandLineError(label, "\(Spelling.quoted(name)) needs a PCI bus, which a microvm does not have\(rest)")
        }
        let stem = Self.stem(of: name, suffix: "-device") ?? Self.stem(of: name, suffix: "-pci") ?? name
        if PropertyTable.devicesOfLaterVersions.contains(stem) || PropertyTable.devicesOfLaterVersions.contains(name) {
            throw CommandLineError(
                label, "\(Spelling.quoted(name)) is not available in this version; '-device help' lists those that are")
        }
        let rest = Spelling.suggestion(
            for: name, from: known.map(\.name), otherwise: "; '-device help' lists those there are")
        throw CommandLineError(label, "unknown device \(Spelling.quoted(name))\(rest)")
    }

    private static func stem(of name: String, suffix: String) -> String? {
        name.hasSuffix(suffix) ? String(name.dropLast(suffix.utf8.count)) : nil
    }

    // MARK: -object

    mutating func addObject(_ option: ScannedOption) throws(CommandLineError) {
        let list = try PropertyList(option.word, option: option.label, leading: .className, known: [])
        guard let kind = PropertyTable.objects.first(where: { $0.name == list.className }) else {
            let word = Spelling.quoted(list.className)
            if PropertyTable.objectsOfLaterVersions.contains(list.className) {
                throw CommandLineError(
                    option.label, "\(word) is not available in this version; '-object help' lists those that are")
            }
            let rest = Spelling.suggestion(
                for: list.className, from: PropertyTable.objects.map(\.name), otherwise: "; '-object help' lists those there are")
            throw CommandLineError(option.label, "unknown object \(word)\(rest)")
        }
        try list.check(kind.properties)
        configuration.ioThreads.append(IOThreadConfiguration(id: try list.requiredText("id")))
    }

    static func missingIOThread(_ id: String, known: [String]) -> String {
        let rest = Spelling.suggestion(for: id, from: known, otherwise: "; add -object iothread,id=\(Spelling.clean(id))")
        return "there is no iothread \(Spelling.quoted(id))\(rest)"
    }

    // MARK: Drives meet devices

    mutating func joinDrives() throws(CommandLineError) {
        nameDrives()
        for device in devices {
            guard let index = drives.firstIndex(where: { $0.image.id == device.drive }) else {
                let rest = Spelling.suggestion(
                    for: device.drive, from: drives.map(\.image.id),
                    otherwise: "; add -drive id=\(Spelling.clean(device.drive)),file=FILE")
                throw device.properties.error("there is no drive \(Spelling.quoted(device.drive))\(rest)")
            }
            let id = device.id ?? unusedDeviceID(like: device.drive)
            if let user = drives[index].user {
                throw device.properties.error(
                    "drive \(Spelling.quoted(device.drive)) is used by device \(Spelling.quoted(user)) already; give each its own"
                )
            }
            if let ioThread = device.ioThread {
                let known = configuration.ioThreads.map(\.id)
                guard known.contains(ioThread) else {
                    throw device.properties.error(CommandLineBuilder.missingIOThread(ioThread, known: known))
                }
            }
            drives[index].user = id
            var storage = StorageDeviceConfiguration(id: id, image: drives[index].image)
            storage.serial = device.serial
            storage.placement = device.placement
            storage.queueCount = device.queueCount
            storage.queueSize = device.queueSize ?? storage.queueSize
            storage.ioThread = device.ioThread
            storage.bootIndex = device.bootIndex
            configuration.storageDevices.append(storage)
        }
        for drive in drives where drive.user == nil {
            let id = Spelling.clean(drive.image.id)
            let kind = configuration.machine.kind == .standard ? PropertyTable.blockDeviceOnPCI : PropertyTable.blockDevice
            warnings.append("-drive \(id): no device uses it; add -device \(kind.name),drive=\(id)")
        }
    }

    /// Drives without an id are `drive0`, `drive1` and so on, by their place among all drives.
    private mutating func nameDrives() {
        for index in drives.indices where drives[index].isGenerated {
            var number = index
            while drives.contains(where: { $0.image.id == "drive\(number)" }) { number += 1 }
            drives[index].image.id = "drive\(number)"
        }
    }

    /// The drive's id, as no two devices can have the same drive; numbered where a device was given that id.
    private func unusedDeviceID(like drive: String) -> String {
        let used = devices.compactMap(\.id) + configuration.storageDevices.map(\.id) + configuration.rootPorts.map(\.id)
        var id = drive
        var number = 1
        while used.contains(id) {
            id = "\(drive)-\(number)"
            number += 1
        }
        return id
    }
}
