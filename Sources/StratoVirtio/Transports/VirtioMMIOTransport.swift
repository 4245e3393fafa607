package import StratoHost
package import StratoMemory

/// A virtio device behind memory-mapped registers (virtio 1.2, 4.2): modern only, 512 bytes, one interrupt.
///
/// What the registers do is `VirtioDriverInterface`'s; here is where they are.
package final class VirtioMMIOTransport: BusDevice {
    /// Bytes of the range to insert the transport at: the registers and 256 bytes of configuration space.
    package static let size: UInt64 = 0x200

    /// Offsets of registers (virtio 1.2, 4.2.2, table 4.1).
    enum Register: UInt64 {
        case magicValue = 0x000
        case version = 0x004
        case deviceID = 0x008
        case vendorID = 0x00C
        case deviceFeatures = 0x010
        case deviceFeaturesSelect = 0x014
        case driverFeatures = 0x020
        case driverFeaturesSelect = 0x024
        case queueSelect = 0x030
        case queueSizeMaximum = 0x034
        case queueSize = 0x038
        case queueReady = 0x044
        case queueNotify = 0x050
        case interruptStatus = 0x060
        case interruptAcknowledge = 0x064
        case status = 0x070
        case queueDescriptorsLow = 0x080
        case queueDescriptorsHigh = 0x084
        case queueDriverLow = 0x090
        case queueDriverHigh = 0x094
        case queueDeviceLow = 0x0A0
        case queueDeviceHigh = 0x0A4
        case sharedMemorySelect = 0x0AC
        case sharedMemoryLengthLow = 0x0B0
        case sharedMemoryLengthHigh = 0x0B4
        case sharedMemoryBaseLow = 0x0B8
        case sharedMemoryBaseHigh = 0x0BC
        case queueReset = 0x0C0
        case configurationGeneration = 0x0FC
    }

    /// `virt`, little-endian (4.2.2).
    static let magicValue: UInt32 = 0x7472_6976
    /// Not a legacy device (4.2.2).
    static let version: UInt32 = 2
    /// StratoVirt's.
    static let vendorID: UInt32 = 0
    /// Where the device's configuration space begins (4.2.2).
    static let configurationOffset: UInt64 = 0x100
    /// What the length and base of a shared memory region read as that does not exist (4.2.2).
    static let noSharedMemory: UInt32 = .max

    package var device: any VirtioDevice { driver.device }

    private let driver: VirtioDriverInterface
    private let interrupt: VirtioMMIOInterrupt

    /// - Parameters:
    ///   - device: behind this transport for good.
    ///   - memory: what the device reaches.
    ///   - base: where the transport will be inserted in the bus, for its doorbells.
    ///   - interrupt: edge-triggered.
    ///   - doorbells: nil lets every notification come as a register access.
    ///   - logger: told of refusals.
    package init(
        device: any VirtioDevice, memory: GuestMemory, base: GuestAddress, interrupt: any InterruptLine,
        doorbells: (any DoorbellRegistry)?, logger: Logger
    ) {
        self.interrupt = VirtioMMIOInterrupt(line: interrupt)
        driver = VirtioDriverInterface(
            device: device, memory: memory, interrupt: self.interrupt, doorbells: doorbells,
            options: VirtioDriverInterface.Options(
                logSource: "virtio-mmio", doorbellLayout: .shared,
                doorbell: base.advanced(by: Register.queueNotify.rawValue), sizesStartAtMaximum: false),
            logger: logger)
    }

    // MARK: Bus

    package func read(at offset: UInt64, width: Int) -> UInt64 {
        if offset >= VirtioMMIOTransport.configurationOffset {
            guard offset < VirtioMMIOTransport.size else { return 0 }
            return device.readConfiguration(at: Int(offset &- VirtioMMIOTransport.configurationOffset), width: width)
        }
        // Control registers are accessed by aligned words of 32 bits only (4.2.2.2).
        guard width == 4, let register = Register(rawValue: offset) else { return 0 }
        return UInt64(read(register))
    }

    package func write(_ value: UInt64, at offset: UInt64, width: Int) {
        if offset >= VirtioMMIOTransport.configurationOffset {
            guard offset < VirtioMMIOTransport.size else { return }
            driver.writeConfiguration(value, at: Int(offset &- VirtioMMIOTransport.configurationOffset), width: width)
            return
        }
        guard width == 4, let register = Register(rawValue: offset) else {
            driver.refuse("a write of \(width) bytes at register 0x\(String(offset, radix: 16))")
            return
        }
        write(UInt32(truncatingIfNeeded: value), to: register)
    }

    // MARK: Reading

    private func read(_ register: Register) -> UInt32 {
        switch register {
        case .magicValue: return VirtioMMIOTransport.magicValue
        case .version: return VirtioMMIOTransport.version
        case .deviceID: return device.type.rawValue
        case .vendorID: return VirtioMMIOTransport.vendorID
        case .interruptStatus: return interrupt.status
        case .configurationGeneration: return device.configurationGeneration
        case .sharedMemoryLengthLow, .sharedMemoryLengthHigh, .sharedMemoryBaseLow, .sharedMemoryBaseHigh:
            return VirtioMMIOTransport.noSharedMemory
        case .deviceFeatures: return driver.deviceFeatures
        case .queueSizeMaximum: return UInt32(driver.selectedQueueMaximumSize)
        case .queueReady: return driver.selectedQueue?.isEnabled == true ? 1 : 0
        case .status: return driver.status.rawValue
        case .deviceFeaturesSelect, .driverFeatures, .driverFeaturesSelect, .queueSelect, .queueSize, .queueNotify,
            .interruptAcknowledge, .queueDescriptorsLow, .queueDescriptorsHigh, .queueDriverLow, .queueDriverHigh,
            .queueDeviceLow, .queueDeviceHigh, .sharedMemorySelect, .queueReset:
            // Write-only, or of a feature that is not offered (VIRTIO_F_RING_RESET).
            return 0
        }
    }

    // MARK: Writing

    private func write(_ value: UInt32, to register: Register) {
        switch register {
        case .deviceFeaturesSelect: driver.selectDeviceFeatures(value)
        case .driverFeaturesSelect: driver.selectDriverFeatures(value)
        case .driverFeatures: driver.setDriverFeatures(value)
        case .queueSelect: driver.selectQueue(value)
        case .sharedMemorySelect:
            // There are no regions to choose from.
            break
        case .queueSize: driver.changeQueue { $0.size = value }
        case .queueDescriptorsLow: driver.changeQueue { $0.descriptorTable.replace(.low, value) }
        case .queueDescriptorsHigh: driver.changeQueue { $0.descriptorTable.replace(.high, value) }
        case .queueDriverLow: driver.changeQueue { $0.availableRing.replace(.low, value) }
        case .queueDriverHigh: driver.changeQueue { $0.availableRing.replace(.high, value) }
        case .queueDeviceLow: driver.changeQueue { $0.usedRing.replace(.low, value) }
        case .queueDeviceHigh: driver.changeQueue { $0.usedRing.replace(.high, value) }
        case .queueReady: value & 1 != 0 ? driver.enableQueue() : driver.disableQueue()
        case .queueNotify: driver.notify(Int(value))
        case .interruptAcknowledge: interrupt.acknowledge(value)
        case .status: driver.setStatus(value)
        case .magicValue, .version, .deviceID, .vendorID, .deviceFeatures, .queueSizeMaximum, .interruptStatus,
            .sharedMemoryLengthLow, .sharedMemoryLengthHigh, .sharedMemoryBaseLow, .sharedMemoryBaseHigh, .queueReset,
            .configurationGeneration:
            driver.refuse("a write of register 0x\(String(register.rawValue, radix: 16))")
        }
    }

    // MARK: Life cycle

    /// Resets transport and device, as a driver does by writing a status of zero.
    package func reset() { driver.reset() }

    /// Resets, and gives back what the device has of the host's. The last call.
    package func shutDown() { driver.shutDown() }

    // MARK: State

    /// All that the guest can tell of transport and device. To be asked while the device is paused and no virtual CPU runs.
    package func saveState() -> VirtioTransportState { driver.saveState() }

    /// Takes over a state that `saveState` gave: outside data. A device that was active goes on where it was.
    ///
    /// - Throws: `VirtioError`; the transport is then as after a reset.
    package func restoreState(_ saved: VirtioTransportState) throws(VirtioError) { try driver.restoreState(saved) }
}
