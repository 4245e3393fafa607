internal import StratoHost
internal import StratoMemory
internal import StratoPCI

/// The registers of a virtio device on PCI, behind one base address register (virtio 1.2, 4.1.4).
///
/// Each register is read at any width and alignment. Written it is as a whole, as drivers must (4.1.3.1); a 64-bit address
/// also by halves. Anything else is refused and logged.
final class VirtioPCIRegisters: BusDevice {
    /// Where the structures are, as StratoVirt has them.
    enum Layout {
        static let common: UInt64 = 0x0000
        static let interruptStatus: UInt64 = 0x1000
        static let device: UInt64 = 0x2000
        static let notification: UInt64 = 0x3000
        static let size: UInt64 = 0x4000
        /// Of each structure, in bytes.
        static let structureSize: UInt64 = 0x1000
        /// notify_off_multiplier: bytes from a queue's doorbell to the next (4.1.4.4).
        static let notificationStride: UInt64 = 4
        /// Queues whose doorbells fit.
        static let queueLimit = Int(structureSize / notificationStride)
    }

    /// The common configuration (4.1.4.3): offsets of fields.
    enum Common {
        static let deviceFeatureSelect: UInt64 = 0x00
        static let deviceFeature: UInt64 = 0x04
        static let driverFeatureSelect: UInt64 = 0x08
        static let driverFeature: UInt64 = 0x0C
        static let configurationVector: UInt64 = 0x10
        static let queueCount: UInt64 = 0x12
        static let deviceStatus: UInt64 = 0x14
        static let configurationGeneration: UInt64 = 0x15
        static let queueSelect: UInt64 = 0x16
        static let queueSize: UInt64 = 0x18
        static let queueVector: UInt64 = 0x1A
        static let queueEnable: UInt64 = 0x1C
        static let queueNotifyOffset: UInt64 = 0x1E
        static let queueDescriptors: UInt64 = 0x20
        static let queueDriver: UInt64 = 0x28
        static let queueDevice: UInt64 = 0x30
        /// With queue_notify_data and queue_reset, which belong to features that are not offered and read as zeros.
        static let size: UInt64 = 0x3C
    }

    let driver: VirtioDriverInterface

    private let interrupt: VirtioPCIInterrupt

    /// - Parameters:
    ///   - device: behind these registers for good, with `Layout.queueLimit` queues at most.
    ///   - memory: what the device reaches.
    ///   - interrupt: the transport's.
    ///   - doorbells: nil lets every notification come as a register access.
    ///   - logger: told of refusals.
    init(
        device: any VirtioDevice, memory: GuestMemory, interrupt: VirtioPCIInterrupt, doorbells: (any DoorbellRegistry)?,
        logger: Logger
    ) {
        self.interrupt = interrupt
        driver = VirtioDriverInterface(
            device: device, memory: memory, interrupt: interrupt, doorbells: doorbells,
            options: VirtioDriverInterface.Options(
                logSource: "virtio-pci", doorbellLayout: .separate(stride: Layout.notificationStride), doorbell: nil,
                sizesStartAtMaximum: true),
            logger: logger)
    }

    /// The guest reaches the registers somewhere else from now on, or nowhere.
    func move(to base: GuestAddress?) {
        driver.moveDoorbell(to: base?.advanced(by: Layout.notification))
    }

    // MARK: Reading

    func read(at offset: UInt64, width: Int) -> UInt64 {
        switch offset {
        case Layout.common..<Layout.interruptStatus:
            return readCommon(at: offset &- Layout.common, width: width)
        case Layout.interruptStatus:
            return UInt64(interrupt.takeReasons())
        case Layout.device..<Layout.notification:
            return driver.device.readConfiguration(at: Int(offset &- Layout.device), width: width)
        default:
            return 0
        }
    }

    /// The bytes of the 32-bit words that the access covers.
    private func readCommon(at offset: UInt64, width: Int) -> UInt64 {
        var value: UInt64 = 0
        var index = 0
        while index < min(max(width, 0), 8) {
            let position = offset &+ UInt64(index)
            guard position < Common.size else { break }
            let skipped = Int(position & 3)
            value |= (UInt64(word(at: position & ~3)) &>> UInt64(skipped &* 8)) &<< UInt64(index &* 8)
            index += 4 - skipped
        }
        return width < 8 ? value & ((1 &<< UInt64(max(width, 0) &* 8)) &- 1) : value
    }

    private func word(at offset: UInt64) -> UInt32 {
        switch offset {
        case Common.deviceFeatureSelect: return driver.deviceFeaturesSelect
        case Common.deviceFeature: return driver.deviceFeatures
        case Common.driverFeatureSelect: return driver.driverFeaturesSelect
        case Common.driverFeature: return driver.driverFeatures
        case Common.configurationVector:
            let count = UInt32(truncatingIfNeeded: driver.device.queueMaximumSizes.count)
            return UInt32(interrupt.configurationVector) | count &<< 16
        case Common.deviceStatus:
            return driver.status.rawValue & 0xFF | (driver.device.configurationGeneration & 0xFF) &<< 8
                | (driver.queueSelect & 0xFFFF) &<< 16
        default:
            return queueWord(at: offset)
        }
    }

    /// The registers of the queue that was selected: a queue that does not exist reads as zeros (4.1.4.3.1).
    private func queueWord(at offset: UInt64) -> UInt32 {
        guard let queue = driver.selectedQueue else { return 0 }
        let index = driver.queueSelect
        func part(_ address: UInt64, _ base: UInt64) -> UInt32 {
            UInt32(truncatingIfNeeded: offset == base ? address : address &>> 32)
        }
        switch offset {
        case Common.queueSize:
            return queue.configuration.size & 0xFFFF | UInt32(interrupt.vector(of: Int(index))) &<< 16
        case Common.queueEnable:
            return (queue.isEnabled ? 1 : 0) | (index & 0xFFFF) &<< 16
        case Common.queueDescriptors..<Common.queueDriver:
            return part(queue.configuration.descriptorTable, Common.queueDescriptors)
        case Common.queueDriver..<Common.queueDevice: return part(queue.configuration.availableRing, Common.queueDriver)
        case Common.queueDevice..<(Common.queueDevice + 8): return part(queue.configuration.usedRing, Common.queueDevice)
        default: return 0
        }
    }

    // MARK: Writing

    func write(_ value: UInt64, at offset: UInt64, width: Int) {
        switch offset {
        case Layout.common..<Layout.interruptStatus:
            writeCommon(value, at: offset &- Layout.common, width: width)
        case Layout.device..<Layout.notification:
            driver.writeConfiguration(value, at: Int(offset &- Layout.device), width: width)
        case Layout.notification..<Layout.size where (offset &- Layout.notification) % Layout.notificationStride == 0:
            // The doorbell's place says which queue it is; what is written says so too (4.1.5.2).
            driver.notify(Int((offset &- Layout.notification) / Layout.notificationStride))
        default:
            driver.refuse("a write of \(width) bytes at register 0x\(String(offset, radix: 16))")
        }
    }

    private func writeCommon(_ value: UInt64, at offset: UInt64, width: Int) {
        let word = UInt32(truncatingIfNeeded: value)
        let half = UInt16(truncatingIfNeeded: value)
        switch (offset, width) {
        case (Common.deviceFeatureSelect, 4): driver.selectDeviceFeatures(word)
        case (Common.driverFeatureSelect, 4): driver.selectDriverFeatures(word)
        case (Common.driverFeature, 4): driver.setDriverFeatures(word)
        case (Common.configurationVector, 2): interrupt.configurationVector = half
        case (Common.deviceStatus, 1): driver.setStatus(word & 0xFF)
        case (Common.queueSelect, 2): driver.selectQueue(UInt32(half))
        case (Common.queueSize, 2): driver.changeQueue { $0.size = UInt32(half) }
        case (Common.queueVector, 2): interrupt.setVector(half, of: Int(driver.queueSelect))
        case (Common.queueEnable, 2):
            // The driver must not write zero: a queue stops by a reset (4.1.4.3.2).
            half == 1 ? driver.enableQueue() : driver.refuse("a write of \(half) to queue_enable")
        case (Common.queueDescriptors..<(Common.queueDevice + 8), 4) where offset % 4 == 0,
            (Common.queueDescriptors..<(Common.queueDevice + 8), 8) where offset % 8 == 0:
            setAddress(value, at: offset, width: width)
        default:
            driver.refuse("a write of \(width) bytes at common configuration 0x\(String(offset, radix: 16))")
        }
    }

    private func setAddress(_ value: UInt64, at offset: UInt64, width: Int) {
        func change(_ address: inout UInt64) {
            guard width == 4 else { return address = value }
            address.replace(offset % 8 == 0 ? .low : .high, UInt32(truncatingIfNeeded: value))
        }
        driver.changeQueue { queue in
            switch offset & ~7 {
            case Common.queueDescriptors: change(&queue.descriptorTable)
            case Common.queueDriver: change(&queue.availableRing)
            default: change(&queue.usedRing)
            }
        }
    }
}
