/// What a function says it is.
package struct PCIIdentity: Sendable, Hashable {
    package var vendor: UInt16
    package var device: UInt16
    package var revision: UInt8
    /// Base class, subclass and programming interface, in the low 24 bits.
    package var classCode: UInt32
    package var subsystemVendor: UInt16
    package var subsystem: UInt16

    package init(
        vendor: UInt16, device: UInt16, revision: UInt8 = 0, classCode: UInt32, subsystemVendor: UInt16 = 0,
        subsystem: UInt16 = 0
    ) {
        self.vendor = vendor
        self.device = device
        self.revision = revision
        self.classCode = classCode
        self.subsystemVendor = subsystemVendor
        self.subsystem = subsystem
    }
}

extension PCIConfigurationSpace {
    /// Bits of the command register that every function has; those for its base addresses come with them.
    private static let commonCommand: PCICommand = [.busMaster, .parityErrorResponse, .systemError, .interruptDisable]

    /// The header of a device (type 0).
    package init(device identity: PCIIdentity, size: Size = .conventional, isMultifunction: Bool = false) {
        self.init(size)
        defineCommon(identity, headerType: isMultifunction ? PCIHeaderType.multifunction : 0)
        define(PCIRegister.subsystemVendorID, value: identity.subsystemVendor)
        define(PCIRegister.subsystemID, value: identity.subsystem)
    }

    /// The header of a bridge between PCI buses (type 1), which forwards 16-bit ports, 32-bit memory and 64-bit
    /// prefetchable memory.
    package init(bridge identity: PCIIdentity, size: Size = .express, isMultifunction: Bool = false) {
        self.init(size)
        let multifunction: UInt8 = isMultifunction ? PCIHeaderType.multifunction : 0
        defineCommon(identity, headerType: PCIHeaderType.bridge | multifunction)
        let forwarding: PCICommand = [.portSpace, .memorySpace]
        define(
            PCIRegister.command, value: UInt16(0),
            writable: PCIConfigurationSpace.commonCommand.union(forwarding).rawValue)
        for offset in [PCIRegister.primaryBus, PCIRegister.secondaryBus, PCIRegister.subordinateBus] {
            define(offset, value: UInt8(0), writable: UInt8.max)
        }
        // The low four bits of the windows' registers say how wide they are: 0 is 16 bits of ports and 32 of memory, 1 is 64
        // bits of memory (3.2.5.6, 3.2.5.8, 3.2.5.9).
        for offset in [PCIRegister.portBase, PCIRegister.portLimit] {
            define(offset, value: UInt8(0), writable: UInt8(0xF0))
        }
        for offset in [PCIRegister.memoryBase, PCIRegister.memoryLimit] {
            define(offset, value: UInt16(0), writable: UInt16(0xFFF0))
        }
        for offset in [PCIRegister.prefetchableBase, PCIRegister.prefetchableLimit] {
            define(offset, value: UInt16(1), writable: UInt16(0xFFF0))
        }
        for offset in [PCIRegister.prefetchableBaseHigh, PCIRegister.prefetchableLimitHigh] {
            define(offset, value: UInt32(0), writable: UInt32.max)
        }
        define(
            PCIRegister.bridgeControl, value: UInt16(0),
            writable: PCIBridgeControl.parityErrorResponse | PCIBridgeControl.systemError
                | PCIBridgeControl.secondaryBusReset)
    }

    private mutating func defineCommon(_ identity: PCIIdentity, headerType: UInt8) {
        define(PCIRegister.vendorID, value: identity.vendor)
        define(PCIRegister.deviceID, value: identity.device)
        define(PCIRegister.command, value: UInt16(0), writable: PCIConfigurationSpace.commonCommand.rawValue)
        define(PCIRegister.revision, value: identity.revision)
        define(PCIRegister.programmingInterface, value: UInt8(truncatingIfNeeded: identity.classCode))
        define(PCIRegister.classCode, value: UInt16(truncatingIfNeeded: identity.classCode &>> 8))
        define(PCIRegister.cacheLineSize, value: UInt8(0), writable: UInt8.max)
        define(PCIRegister.headerType, value: headerType)
        define(PCIRegister.interruptLine, value: UInt8(0), writable: UInt8.max)
    }

    /// The command register.
    package var command: PCICommand { PCICommand(rawValue: load(at: PCIRegister.command)) }
}
