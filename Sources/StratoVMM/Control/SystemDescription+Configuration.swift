internal import StratoFirmwareTables
internal import StratoMachine

extension SystemDescription {
    /// What a configuration says about its machine.
    init(_ configuration: VirtualMachineConfiguration) {
        self.init()
        let identity = configuration.identity
        if let given = identity.firmware {
            var description = SMBIOSTable.Firmware()
            replace(&description.vendor, given.vendor)
            replace(&description.version, given.version)
            replace(&description.date, given.date)
            description.isUEFI = configuration.firmware != nil
            firmware = description
        }
        system.uuid = configuration.uuid?.bytes
        replace(&system.manufacturer, identity.system.manufacturer)
        replace(&system.product, identity.system.product)
        replace(&system.version, identity.system.version)
        replace(&system.serialNumber, identity.system.serialNumber)
        replace(&system.stockKeepingUnit, identity.system.stockKeepingUnit)
        replace(&system.family, identity.system.family)
        replace(&baseboard.manufacturer, identity.baseboard.manufacturer)
        replace(&baseboard.product, identity.baseboard.product)
        replace(&baseboard.version, identity.baseboard.version)
        replace(&baseboard.serialNumber, identity.baseboard.serialNumber)
        replace(&baseboard.assetTag, identity.baseboard.assetTag)
        replace(&baseboard.location, identity.baseboard.location)
        replace(&chassis.manufacturer, identity.chassis.manufacturer)
        replace(&chassis.version, identity.chassis.version)
        replace(&chassis.serialNumber, identity.chassis.serialNumber)
        replace(&chassis.assetTag, identity.chassis.assetTag)
        replace(&chassis.stockKeepingUnit, identity.chassis.stockKeepingUnit)
        replace(&processors.manufacturer, identity.processors.manufacturer)
        replace(&processors.version, identity.processors.version)
        replace(&processors.serialNumber, identity.processors.serialNumber)
        replace(&processors.assetTag, identity.processors.assetTag)
        replace(&processors.partNumber, identity.processors.partNumber)
        if let prefix = identity.processors.socketPrefix { processors.socketPrefix = prefix }
        if let speed = identity.processors.maximumSpeed { processors.highestSpeed = UInt16(clamping: speed) }
        if let speed = identity.processors.currentSpeed { processors.currentSpeed = UInt16(clamping: speed) }
        replace(&memory.bank, identity.memoryDevices.bank)
        replace(&memory.manufacturer, identity.memoryDevices.manufacturer)
        replace(&memory.serialNumber, identity.memoryDevices.serialNumber)
        replace(&memory.assetTag, identity.memoryDevices.assetTag)
        replace(&memory.partNumber, identity.memoryDevices.partNumber)
        if let prefix = identity.memoryDevices.locatorPrefix { memory.locatorPrefix = prefix }
        if let speed = identity.memoryDevices.speed { memory.speed = UInt16(clamping: speed) }
    }
}

private func replace(_ text: inout String?, _ given: String?) {
    if let given { text = given }
}
