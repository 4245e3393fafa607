/// Offsets of registers in configuration space, in bytes.
package enum PCIRegister {
    // Both header types (PCI Local Bus 3.0, 6.1).
    package static let vendorID = 0x00
    package static let deviceID = 0x02
    package static let command = 0x04
    package static let status = 0x06
    package static let revision = 0x08
    package static let programmingInterface = 0x09
    package static let classCode = 0x0A
    package static let cacheLineSize = 0x0C
    package static let headerType = 0x0E
    package static let baseAddresses = 0x10
    package static let capabilities = 0x34
    package static let interruptLine = 0x3C
    package static let interruptPin = 0x3D

    // Type 0 (6.1).
    package static let subsystemVendorID = 0x2C
    package static let subsystemID = 0x2E

    // Type 1 (PCI-to-PCI Bridge Architecture 1.2, 3.2).
    package static let primaryBus = 0x18
    package static let secondaryBus = 0x19
    package static let subordinateBus = 0x1A
    package static let portBase = 0x1C
    package static let portLimit = 0x1D
    package static let secondaryStatus = 0x1E
    package static let memoryBase = 0x20
    package static let memoryLimit = 0x22
    package static let prefetchableBase = 0x24
    package static let prefetchableLimit = 0x26
    package static let prefetchableBaseHigh = 0x28
    package static let prefetchableLimitHigh = 0x2C
    package static let bridgeControl = 0x3E

    /// Where the registers of the header end.
    package static let deviceDependent = 0x40
    /// Where those that only PCI Express reaches begin (PCI Express Base 4.0, 7.6).
    package static let extended = 0x100
}

/// The command register (PCI Local Bus 3.0, 6.2.2).
package struct PCICommand: OptionSet, Sendable, Hashable {
    package let rawValue: UInt16

    package init(rawValue: UInt16) {
        self.rawValue = rawValue
    }

    /// The function answers accesses to ports.
    package static let portSpace = PCICommand(rawValue: 1 << 0)
    /// The function answers accesses to memory.
    package static let memorySpace = PCICommand(rawValue: 1 << 1)
    /// The function may access memory, and so send messages.
    package static let busMaster = PCICommand(rawValue: 1 << 2)
    package static let parityErrorResponse = PCICommand(rawValue: 1 << 6)
    package static let systemError = PCICommand(rawValue: 1 << 8)
    /// The function does not assert INTx.
    package static let interruptDisable = PCICommand(rawValue: 1 << 10)
}

/// The status register (PCI Local Bus 3.0, 6.2.3).
package enum PCIStatus {
    /// The function would assert INTx, were it not disabled.
    package static let interrupt: UInt16 = 1 << 3
    package static let capabilities: UInt16 = 1 << 4
}

/// The header type register (PCI Local Bus 3.0, 6.2.1).
package enum PCIHeaderType {
    package static let bridge: UInt8 = 1
    package static let multifunction: UInt8 = 0x80
}

/// The bridge control register (PCI-to-PCI Bridge Architecture 1.2, 3.2.5.18).
package enum PCIBridgeControl {
    static let parityErrorResponse: UInt16 = 1 << 0
    static let systemError: UInt16 = 1 << 1
    static let secondaryBusReset: UInt16 = 1 << 6
}

/// Capability identifiers (PCI Code and ID Assignment 1.11, 2).
package enum PCICapabilityID {
    package static let powerManagement: UInt8 = 0x01
    package static let vendor: UInt8 = 0x09
    package static let express: UInt8 = 0x10
    package static let msix: UInt8 = 0x11
}
