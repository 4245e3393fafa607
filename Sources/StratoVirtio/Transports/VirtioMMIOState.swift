/// What the guest can tell of a memory-mapped transport and the device behind it.
package struct VirtioMMIOState: Sendable, Hashable {
    /// One queue's registers, and how far it has come.
    package struct Queue: Sendable, Hashable {
        package var configuration: QueueConfiguration
        package var isReady: Bool
        package var position: QueuePosition

        package init(configuration: QueueConfiguration, isReady: Bool, position: QueuePosition) {
            self.configuration = configuration
            self.isReady = isReady
            self.position = position
        }
    }

    package var deviceType: UInt32 = 0
    package var status: UInt32 = 0
    package var deviceFeaturesSelect: UInt32 = 0
    package var driverFeaturesSelect: UInt32 = 0
    package var driverFeatures: UInt64 = 0
    package var queueSelect: UInt32 = 0
    package var interruptStatus: UInt32 = 0
    package var needsReset = false
    package var queues: [Queue] = []
    /// The device's own state, in the device's encoding.
    package var device: [UInt8] = []

    package init() {}

    // MARK: Encoding

    /// The encoding's version, its first two bytes.
    private static let version: UInt16 = 1
    /// Queues that a state may have: no device here has more.
    private static let queueLimit = 64
    /// Bytes that a device's own state may have.
    private static let deviceLimit = 1 << 16

    /// The state as bytes: little-endian, a version first.
    package func encoded() -> [UInt8] {
        var writer = StateWriter()
        writer.append(VirtioMMIOState.version)
        writer.append(deviceType)
        writer.append(status)
        writer.append(deviceFeaturesSelect)
        writer.append(driverFeaturesSelect)
        writer.append(driverFeatures)
        writer.append(queueSelect)
        writer.append(interruptStatus)
        writer.append(needsReset)
        writer.append(UInt16(truncatingIfNeeded: queues.count))
        for queue in queues {
            writer.append(queue.configuration.size)
            writer.append(queue.configuration.descriptorTable)
            writer.append(queue.configuration.availableRing)
            writer.append(queue.configuration.usedRing)
            writer.append(queue.isReady)
            writer.append(queue.position.nextAvailable)
            writer.append(queue.position.nextUsed)
        }
        writer.append(UInt32(truncatingIfNeeded: device.count))
        writer.append(device)
        return writer.bytes
    }

    /// Reads what `encoded` gave: outside data.
    ///
    /// - Throws: `VirtioError` for another version and for what is too short, too long or out of range.
    package init(decoding bytes: [UInt8]) throws(VirtioError) {
        var reader = StateReader(bytes)
        let version = try reader.integer(UInt16.self)
        guard version == VirtioMMIOState.version else {
            throw VirtioError("virtio-mmio state: version \(version) is not known")
        }
        deviceType = try reader.integer(UInt32.self)
        status = try reader.integer(UInt32.self)
        deviceFeaturesSelect = try reader.integer(UInt32.self)
        driverFeaturesSelect = try reader.integer(UInt32.self)
        driverFeatures = try reader.integer(UInt64.self)
        queueSelect = try reader.integer(UInt32.self)
        interruptStatus = try reader.integer(UInt32.self)
        needsReset = try reader.flag()
        let count = Int(try reader.integer(UInt16.self))
        guard count <= VirtioMMIOState.queueLimit else { throw VirtioError("virtio-mmio state: \(count) queues") }
        for _ in 0..<count {
            let configuration = QueueConfiguration(
                size: try reader.integer(UInt32.self), descriptorTable: try reader.integer(UInt64.self),
                availableRing: try reader.integer(UInt64.self), usedRing: try reader.integer(UInt64.self))
            let isReady = try reader.flag()
            let position = QueuePosition(
                nextAvailable: try reader.integer(UInt16.self), nextUsed: try reader.integer(UInt16.self))
            queues.append(Queue(configuration: configuration, isReady: isReady, position: position))
        }
        let length = try reader.integer(UInt32.self)
        guard length <= UInt32(VirtioMMIOState.deviceLimit) else {
            throw VirtioError("virtio-mmio state: \(length) bytes of device state")
        }
        device = try reader.bytes(Int(length))
        try reader.end()
    }
}
