package import StratoHost

/// What the guest can tell of a transport's registers and the device behind them; a transport may have more.
package struct VirtioTransportState: Sendable, Hashable {
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

    private static let version: UInt32 = 1
    /// Queues that a state may have: no device here has more.
    private static let queueLimit = 64
    /// Bytes that a device's own state may have.
    private static let deviceLimit = 1 << 16

    /// The state as bytes.
    package func encoded() -> [UInt8] {
        var encoder = StateEncoder(version: VirtioTransportState.version)
        encoder.put(deviceType)
        encoder.put(status)
        encoder.put(deviceFeaturesSelect)
        encoder.put(driverFeaturesSelect)
        encoder.put(driverFeatures)
        encoder.put(queueSelect)
        encoder.put(interruptStatus)
        encoder.put(needsReset)
        encoder.put(UInt16(truncatingIfNeeded: queues.count))
        for queue in queues {
            encoder.put(queue.configuration.size)
            encoder.put(queue.configuration.descriptorTable)
            encoder.put(queue.configuration.availableRing)
            encoder.put(queue.configuration.usedRing)
            encoder.put(queue.isReady)
            encoder.put(queue.position.nextAvailable)
            encoder.put(queue.position.nextUsed)
        }
        encoder.put(device)
        return encoder.bytes
    }

    /// Reads what `encoded` gave: outside data.
    ///
    /// - Throws: `StateError`.
    package init(decoding bytes: [UInt8]) throws(StateError) {
        var decoder = try StateDecoder(bytes, versions: VirtioTransportState.version...VirtioTransportState.version)
        deviceType = try decoder.take()
        status = try decoder.take()
        deviceFeaturesSelect = try decoder.take()
        driverFeaturesSelect = try decoder.take()
        driverFeatures = try decoder.take()
        queueSelect = try decoder.take()
        interruptStatus = try decoder.take()
        needsReset = try decoder.take("need of a reset")
        let count = Int(try decoder.take(UInt16.self))
        guard count <= VirtioTransportState.queueLimit else { throw .invalid("number of queues") }
        for _ in 0..<count {
            let configuration = QueueConfiguration(
                size: try decoder.take(), descriptorTable: try decoder.take(), availableRing: try decoder.take(),
                usedRing: try decoder.take())
            let isReady: Bool = try decoder.take("readiness of a queue")
            let position = QueuePosition(nextAvailable: try decoder.take(), nextUsed: try decoder.take())
            queues.append(Queue(configuration: configuration, isReady: isReady, position: position))
        }
        device = try decoder.take("length of the device's state", atMost: VirtioTransportState.deviceLimit)
        try decoder.finish()
    }
}
