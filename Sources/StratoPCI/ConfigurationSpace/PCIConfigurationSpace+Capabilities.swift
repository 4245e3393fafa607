/// The PCI Express capability (PCI Express Base 4.0, 7.5.3): offsets from its start, and the bits in use.
package enum PCIExpress {
    /// Version 2 has all registers, whatever the port.
    static let length = 0x3C
    static let version: UInt16 = 2

    package enum PortType: UInt16, Sendable {
        case endpoint = 0
        case rootPort = 4
    }

    enum Register {
        static let capabilities = 0x02
        static let deviceCapabilities = 0x04
        static let deviceControl = 0x08
        static let deviceStatus = 0x0A
        static let linkCapabilities = 0x0C
        static let linkControl = 0x10
        static let linkStatus = 0x12
        static let slotCapabilities = 0x14
        static let slotControl = 0x18
        static let slotStatus = 0x1A
        static let rootControl = 0x1C
        static let rootStatus = 0x20
        static let deviceControl2 = 0x28
        static let linkCapabilities2 = 0x2C
        static let linkControl2 = 0x30
    }

    /// Register `capabilities` (7.5.3.2).
    enum Capabilities {
        static let portTypeShift: UInt16 = 4
        static let slotImplemented: UInt16 = 1 << 8
    }

    /// 7.5.3.3.
    enum DeviceCapabilities {
        static let roleBasedErrors: UInt32 = 1 << 15
        static let functionLevelReset: UInt32 = 1 << 28
    }

    /// 7.5.3.4, 7.5.3.5.
    enum DeviceControl {
        /// Error reporting, relaxed ordering, payload size, no snoop and read request size. Extended tags, phantom functions
        /// and auxiliary power don't exist.
        static let writable: UInt16 = 0x78FF
        /// Relaxed ordering, no snoop, read requests of 512 bytes.
        static let initial: UInt16 = 0x2810
        static let initiateFunctionLevelReset: UInt16 = 1 << 15
        static let errorsDetected: UInt16 = 0x000F
    }

    /// 7.5.3.6, 7.5.3.7, 7.5.3.8.
    enum Link {
        /// 2.5 GT/s, which every link can do.
        static let speed: UInt32 = 1
        static let width: UInt32 = 1 << 4
        static let activeReporting: UInt32 = 1 << 20
        static let portNumberShift: UInt32 = 24

        static let disable: UInt16 = 1 << 4
        static let commonClock: UInt16 = 1 << 6
        static let extendedSynch: UInt16 = 1 << 7
        static let isActive: UInt16 = 1 << 13
        /// Supported speeds of the second register: 2.5 GT/s (7.5.3.18).
        static let speeds: UInt32 = 1 << 1
    }

    /// 7.5.3.9.
    enum SlotCapabilities {
        static let attentionButton: UInt32 = 1 << 0
        static let powerController: UInt32 = 1 << 1
        static let attentionIndicator: UInt32 = 1 << 3
        static let powerIndicator: UInt32 = 1 << 4
        static let surprise: UInt32 = 1 << 5
        static let hotPlug: UInt32 = 1 << 6
        static let noCommandCompleted: UInt32 = 1 << 18
        static let numberShift: UInt32 = 19
        static let numberLimit: UInt16 = 1 << 13
    }

    /// 7.5.3.10.
    enum SlotControl {
        static let attentionButtonEnable: UInt16 = 1 << 0
        static let presenceEnable: UInt16 = 1 << 3
        static let interruptEnable: UInt16 = 1 << 5
        static let attentionIndicatorShift: UInt16 = 6
        static let powerIndicatorShift: UInt16 = 8
        static let indicatorMask: UInt16 = 3
        static let indicatorOn: UInt16 = 1
        static let indicatorOff: UInt16 = 3
        /// Set means off.
        static let powerOff: UInt16 = 1 << 10
        static let linkEnable: UInt16 = 1 << 12
        /// Enables of events, interrupt, indicators and power; there is no latch and no lock, and no command to complete.
        static let writable: UInt16 = 0x17E9
    }

    /// 7.5.3.11.
    enum SlotStatus {
        static let attentionButton: UInt16 = 1 << 0
        static let presenceChanged: UInt16 = 1 << 3
        static let isPresent: UInt16 = 1 << 6
        static let linkChanged: UInt16 = 1 << 8
        static let events: UInt16 = attentionButton | presenceChanged | linkChanged
    }

    /// Whether a write asks for a function level reset (7.5.3.4).
    ///
    /// - Parameter express: the capability's offset.
    package static func isFunctionLevelReset(_ write: PCIConfigurationWrite, at express: Int) -> Bool {
        let high = UInt16(write.byte(at: express + Register.deviceControl + 1)) << 8
        return high & DeviceControl.initiateFunctionLevelReset != 0
    }

    /// System error and PME enables (7.5.3.12).
    static let rootControlWritable: UInt16 = 0x000F
    /// PME status (7.5.3.14).
    static let rootStatusClearable: UInt32 = 1 << 16
}

/// The power management capability (PCI Bus Power Management 1.2, 3.2).
package enum PCIPowerManagement {
    static let length = 8
    static let capabilities = 2
    static let control = 4
    static let version: UInt16 = 3
    static let stateMask: UInt16 = 3
    /// D3hot; D1 and D2 don't exist here.
    static let stateOff: UInt16 = 3
    /// A function that comes back from D3hot has forgotten nothing.
    static let noSoftReset: UInt16 = 1 << 3
}

/// The MSI-X capability (PCI Local Bus 3.0, 6.8.2).
package enum MSIXCapability {
    static let length = 12
    static let control = 2
    static let table = 4
    static let pending = 8
    /// A table has as many vectors, in 11 bits less one.
    static let vectorLimit = 2048
    static let functionMask: UInt16 = 1 << 14
    static let enable: UInt16 = 1 << 15
}

extension PCIConfigurationSpace {
    /// Puts a capability at the end of the list.
    ///
    /// - Parameters:
    ///   - identifier: of its kind.
    ///   - length: in bytes, with the two of identifier and link.
    /// - Returns: where it is.
    /// - Throws: `PCIError` when the 256 bytes that every PCI has are full.
    package mutating func addCapability(_ identifier: UInt8, length: Int) throws(PCIError) -> Int {
        let offset = nextCapability
        guard length >= 2, length <= PCIRegister.extended - offset else {
            throw PCIError("no room for capability \(identifier) of \(length) bytes")
        }
        define(offset, value: identifier)
        define(capabilityLink, value: UInt8(truncatingIfNeeded: offset))
        define(PCIRegister.status, value: PCIStatus.capabilities)
        capabilityLink = offset + 1
        nextCapability = (offset + length + 3) & ~3
        return offset
    }

    /// The table of the MSI-X vectors and their pending bits, both in one base address register.
    package mutating func addMSIX(_ vectors: MSIX, baseAddress: Int) throws(PCIError) -> Int {
        let offset = try addCapability(PCICapabilityID.msix, length: MSIXCapability.length)
        define(
            offset + MSIXCapability.control, value: UInt16(truncatingIfNeeded: vectors.vectorCount &- 1),
            writable: MSIXCapability.enable | MSIXCapability.functionMask)
        let register = UInt32(truncatingIfNeeded: baseAddress)
        define(offset + MSIXCapability.table, value: register)
        define(offset + MSIXCapability.pending, value: UInt32(truncatingIfNeeded: vectors.pendingOffset) | register)
        return offset
    }

    /// D0 and D3hot.
    package mutating func addPowerManagement() throws(PCIError) -> Int {
        let offset = try addCapability(PCICapabilityID.powerManagement, length: PCIPowerManagement.length)
        define(offset + PCIPowerManagement.capabilities, value: PCIPowerManagement.version)
        define(
            offset + PCIPowerManagement.control, value: PCIPowerManagement.noSoftReset,
            writable: PCIPowerManagement.stateMask)
        return offset
    }

    /// A capability whose contents the vendor defines.
    ///
    /// - Parameter body: what follows identifier, link and length, which are filled in.
    package mutating func addVendor(_ body: [UInt8]) throws(PCIError) -> Int {
        let length = body.count + 3
        let offset = try addCapability(PCICapabilityID.vendor, length: length)
        define(offset + 2, value: UInt8(truncatingIfNeeded: length))
        for (index, byte) in body.enumerated() { define(offset + 3 + index, value: byte) }
        return offset
    }

    /// What each PCI Express function has; a root port adds its slot.
    ///
    /// - Parameters:
    ///   - type: of the function.
    ///   - hasFunctionLevelReset: the owner resets the function when the guest asks for it.
    package mutating func addExpress(_ type: PCIExpress.PortType, hasFunctionLevelReset: Bool = false) throws(PCIError) -> Int {
        typealias Register = PCIExpress.Register
        let offset = try addCapability(PCICapabilityID.express, length: PCIExpress.length)
        define(
            offset + Register.capabilities,
            value: PCIExpress.version | type.rawValue << PCIExpress.Capabilities.portTypeShift)
        define(
            offset + Register.deviceCapabilities,
            value: PCIExpress.DeviceCapabilities.roleBasedErrors
                | (hasFunctionLevelReset ? PCIExpress.DeviceCapabilities.functionLevelReset : 0))
        define(
            offset + Register.deviceControl, value: PCIExpress.DeviceControl.initial,
            writable: PCIExpress.DeviceControl.writable)
        define(offset + Register.deviceStatus, value: UInt16(0), clearable: PCIExpress.DeviceControl.errorsDetected)
        let link = PCIExpress.Link.speed | PCIExpress.Link.width
        define(offset + Register.linkCapabilities, value: link)
        define(
            offset + Register.linkControl, value: UInt16(0),
            writable: PCIExpress.Link.commonClock | PCIExpress.Link.extendedSynch)
        define(offset + Register.linkStatus, value: UInt16(truncatingIfNeeded: link))
        define(offset + Register.linkCapabilities2, value: PCIExpress.Link.speeds)
        define(offset + Register.linkControl2, value: UInt16(truncatingIfNeeded: PCIExpress.Link.speed))
        return offset
    }
}
