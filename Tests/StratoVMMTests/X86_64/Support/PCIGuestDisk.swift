#if arch(x86_64)
/// A virtio block device behind PCI, as a guest sees it (virtio 1.2, 4.1): at place 1 of bus 0, its registers where a machine
/// without firmware places the first.
enum PCIGuestDisk {
    /// Fields of the common configuration structure (4.1.4.3).
    enum Common {
        static let driverFeatureSelect: UInt64 = 0x08
        static let driverFeature: UInt64 = 0x0C
        static let configurationVector: UInt64 = 0x10
        static let status: UInt64 = 0x14
        static let queueSelect: UInt64 = 0x16
        static let queueSize: UInt64 = 0x18
        static let queueVector: UInt64 = 0x1A
        static let queueEnable: UInt64 = 0x1C
        static let queueDescriptors: UInt64 = 0x20
        static let queueDriver: UInt64 = 0x28
        static let queueDevice: UInt64 = 0x30
    }

    static let registers: UInt64 = 0xC000_0000
    static let notification = registers + 0x3000
    static let vectors: UInt64 = 0xC000_4000
    static let device: UInt64 = 1

    static func configurationAddress(_ offset: UInt64) -> UInt64 { 0x8000_0000 | device << 11 | offset }
}

extension GuestProgram {
    mutating func writePCIConfiguration(_ value: UInt64, at offset: UInt64, width: Int) {
        portWrite(PCIGuestDisk.configurationAddress(offset & ~3), to: 0xCF8, width: 4)
        portWrite(value, to: UInt16(0xCFC + (offset & 3)), width: width)
    }

    /// Lets the device access memory, and brings it up to DRIVER_OK with one queue.
    mutating func startPCIDisk(_ area: RingArea) {
        typealias Common = PCIGuestDisk.Common
        typealias Status = GuestDisk.Status
        func register(_ offset: UInt64) -> UInt64 { PCIGuestDisk.registers + offset }
        writePCIConfiguration(0x0006, at: 4, width: 2)
        write(0, to: register(Common.status), width: 1)
        wait(for: 0, at: register(Common.status), width: 1)
        write(Status.acknowledge | Status.driver, to: register(Common.status), width: 1)
        for half in 0..<UInt64(2) {
            write(half, to: register(Common.driverFeatureSelect))
            write(GuestDisk.Feature.version1 >> (32 * half) & 0xFFFF_FFFF, to: register(Common.driverFeature))
        }
        let accepted = Status.acknowledge | Status.driver | Status.featuresOK
        write(accepted, to: register(Common.status), width: 1)
        write(0, to: register(Common.queueSelect), width: 2)
        write(UInt64(area.queueSize), to: register(Common.queueSize), width: 2)
        write(area.descriptors, to: register(Common.queueDescriptors), width: 8)
        write(area.available, to: register(Common.queueDriver), width: 8)
        write(area.used, to: register(Common.queueDevice), width: 8)
        write(1, to: register(Common.queueEnable), width: 2)
        write(accepted | Status.driverOK, to: register(Common.status), width: 1)
    }

    mutating func notifyPCIDisk() { write(0, to: PCIGuestDisk.notification, width: 2) }
}
#endif
