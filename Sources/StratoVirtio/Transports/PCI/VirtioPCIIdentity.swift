internal import StratoPCI

/// What a virtio device says it is on PCI (virtio 1.2, 4.1.2).
enum VirtioPCIIdentity {
    static let vendor: UInt16 = 0x1AF4
    /// Added to the device type.
    static let firstDevice: UInt16 = 0x1040
    /// Of a device that legacy drivers must not take (4.1.2.1).
    static let revision: UInt8 = 1
    /// Added to the device type: 0x40 and above keep legacy drivers away as well (4.1.2.1).
    static let firstSubsystem: UInt16 = 0x40

    /// Class codes (PCI Code and ID Assignment 1.11, 1), with the programming interface in the low byte. Firmware looks for
    /// disks and network devices by them.
    private enum ClassCode {
        static let storageSCSI: UInt32 = 0x01_00_00
        static let storageOther: UInt32 = 0x01_80_00
        static let networkEthernet: UInt32 = 0x02_00_00
        static let memoryRAM: UInt32 = 0x05_00_00
        static let displayOther: UInt32 = 0x03_80_00
        static let communicationOther: UInt32 = 0x07_80_00
        static let inputOther: UInt32 = 0x09_80_00
        static let unassigned: UInt32 = 0xFF_00_00
    }

    /// By device type (5).
    private static let classCodes: [UInt32: UInt32] = [
        1: ClassCode.networkEthernet, 2: ClassCode.storageSCSI, 3: ClassCode.communicationOther,
        8: ClassCode.storageSCSI, 16: ClassCode.displayOther, 18: ClassCode.inputOther, 19: ClassCode.communicationOther,
        24: ClassCode.memoryRAM, 26: ClassCode.storageOther,
    ]

    static func identity(of type: VirtioDeviceType) -> PCIIdentity {
        let number = UInt16(truncatingIfNeeded: type.rawValue & 0x3F)
        return PCIIdentity(
            vendor: vendor, device: firstDevice + number, revision: revision,
            classCode: classCodes[type.rawValue] ?? ClassCode.unassigned, subsystemVendor: vendor,
            subsystem: firstSubsystem + number)
    }
}

/// The vendor capabilities by which a driver finds the registers (virtio 1.2, 4.1.4).
enum VirtioPCICapability {
    /// cfg_type.
    enum Kind: UInt8 {
        case common = 1
        case notification = 2
        case interruptStatus = 3
        case device = 4
        case configurationAccess = 5
    }

    /// Offsets from the capability's start.
    enum Field {
        static let baseAddress = 4
        static let offset = 8
        static let length = 12
        /// pci_cfg_data (4.1.4.9).
        static let data = 16
        static let dataSize = 4
    }

    /// What follows the capability's identifier, link and length.
    static func body(_ kind: Kind, baseAddress: Int, offset: UInt64, length: UInt64, extra: [UInt8] = []) -> [UInt8] {
        func bytes(_ value: UInt64) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value &>> UInt64($0 * 8)) } }
        return [kind.rawValue, UInt8(truncatingIfNeeded: baseAddress), 0, 0, 0] + bytes(offset) + bytes(length) + extra
    }
}
