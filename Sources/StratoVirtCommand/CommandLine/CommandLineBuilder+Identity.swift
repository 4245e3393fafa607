internal import StratoVMM

extension CommandLineBuilder {
    /// `-smbios type=N,FIELD=TEXT...`, once for each type.
    mutating func addIdentity(_ option: ScannedOption) throws(CommandLineError) {
        guard configuration.machine.kind == .standard else {
            throw CommandLineError(option.label, "a standard machine alone has SMBIOS; choose -machine standard_vm")
        }
        let list = try PropertyList(option.word, option: option.label, leading: .valueOf("type"), known: [])
        let type = try list.requiredText("type")
        guard let kind = PropertyTable.identities.first(where: { $0.name == type }) else {
            let known = PropertyTable.identities.map(\.name)
            throw list.error("type must be \(Spelling.alternatives(known)), not \(Spelling.quoted(type))")
        }
        guard !identityTypes.contains(type) else {
            throw list.error("type=\(type) is given twice; join the two")
        }
        identityTypes.append(type)
        try list.check([PropertyDefinition("type", "N", "")] + kind.properties)
        switch type {
        case "0": try setFirmware(list)
        case "1": try setSystem(list)
        case "2": try setBaseboard(list)
        case "3": try setChassis(list)
        case "4": try setProcessorIdentity(list)
        default: try setMemoryDevices(list)
        }
    }

    private mutating func setFirmware(_ list: PropertyList) throws(CommandLineError) {
        var firmware = SystemIdentity.Firmware()
        firmware.vendor = try list.text("vendor")
        firmware.version = try list.text("version")
        firmware.date = try list.text("date")
        configuration.identity.firmware = firmware
    }

    private mutating func setSystem(_ list: PropertyList) throws(CommandLineError) {
        configuration.identity.system.manufacturer = try list.text("manufacturer")
        configuration.identity.system.product = try list.text("product")
        configuration.identity.system.version = try list.text("version")
        configuration.identity.system.serialNumber = try list.text("serial")
        configuration.identity.system.stockKeepingUnit = try list.text("sku")
        configuration.identity.system.family = try list.text("family")
        guard let text = try list.text("uuid") else { return }
        guard let identifier = MachineIdentifier(text) else {
            throw list.error(
                "uuid \(Spelling.quoted(text)) is not a UUID; write 8-4-4-4-12 hexadecimal digits, as uuidgen prints them")
        }
        systemUUID = identifier
    }

    private mutating func setBaseboard(_ list: PropertyList) throws(CommandLineError) {
        configuration.identity.baseboard.manufacturer = try list.text("manufacturer")
        configuration.identity.baseboard.product = try list.text("product")
        configuration.identity.baseboard.version = try list.text("version")
        configuration.identity.baseboard.serialNumber = try list.text("serial")
        configuration.identity.baseboard.assetTag = try list.text("asset")
        configuration.identity.baseboard.location = try list.text("location")
    }

    private mutating func setChassis(_ list: PropertyList) throws(CommandLineError) {
        configuration.identity.chassis.manufacturer = try list.text("manufacturer")
        configuration.identity.chassis.version = try list.text("version")
        configuration.identity.chassis.serialNumber = try list.text("serial")
        configuration.identity.chassis.assetTag = try list.text("asset")
        configuration.identity.chassis.stockKeepingUnit = try list.text("sku")
    }

    private mutating func setProcessorIdentity(_ list: PropertyList) throws(CommandLineError) {
        let speeds = SystemIdentity.Processors.allowedSpeeds
        configuration.identity.processors.socketPrefix = try list.text("sock_pfx")
        configuration.identity.processors.manufacturer = try list.text("manufacturer")
        configuration.identity.processors.version = try list.text("version")
        configuration.identity.processors.serialNumber = try list.text("serial")
        configuration.identity.processors.assetTag = try list.text("asset")
        configuration.identity.processors.partNumber = try list.text("part")
        configuration.identity.processors.maximumSpeed = try list.integer("max-speed", speeds)
        configuration.identity.processors.currentSpeed = try list.integer("current-speed", speeds)
    }

    private mutating func setMemoryDevices(_ list: PropertyList) throws(CommandLineError) {
        configuration.identity.memoryDevices.locatorPrefix = try list.text("loc_pfx")
        configuration.identity.memoryDevices.bank = try list.text("bank")
        configuration.identity.memoryDevices.manufacturer = try list.text("manufacturer")
        configuration.identity.memoryDevices.serialNumber = try list.text("serial")
        configuration.identity.memoryDevices.assetTag = try list.text("asset")
        configuration.identity.memoryDevices.partNumber = try list.text("part")
        configuration.identity.memoryDevices.speed = try list.integer("speed", SystemIdentity.Processors.allowedSpeeds)
    }

    /// `-uuid` and `-smbios type=1,uuid=` are the same.
    mutating func joinIdentity() throws(CommandLineError) {
        guard let systemUUID else { return }
        if let other = configuration.uuid, other != systemUUID {
            throw CommandLineError("-smbios 1", "uuid is \(systemUUID), but -uuid says \(other); give one of them")
        }
        configuration.uuid = systemUUID
    }
}
