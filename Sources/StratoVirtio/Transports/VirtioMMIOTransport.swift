package import StratoHost
package import StratoMemory
internal import Synchronization

/// A virtio device behind memory-mapped registers (virtio 1.2, 4.2): modern only, 512 bytes, one interrupt.
///
/// Virtual CPUs use the registers at the same time: one lock guards them. It is held while the device is activated and
/// reset, which waits for the device's requests in flight and for nothing else; devices never take it. What a driver does
/// out of order is refused: the register keeps its value, and a line, limited in rate, goes to the log.
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

    /// Bits of the device status (2.1).
    package struct Status: OptionSet, Sendable, Hashable {
        package let rawValue: UInt32

        package init(rawValue: UInt32) {
            self.rawValue = rawValue
        }

        package static let acknowledge = Status(rawValue: 1)
        package static let driver = Status(rawValue: 2)
        package static let driverOK = Status(rawValue: 4)
        package static let featuresOK = Status(rawValue: 8)
        package static let deviceNeedsReset = Status(rawValue: 64)
        package static let failed = Status(rawValue: 128)
    }

    private struct Queue {
        var configuration = QueueConfiguration()
        /// Set as long as the driver has the queue ready: what it was at that moment.
        var layout: QueueLayout?
    }

    private struct State {
        var status: Status = []
        var deviceFeaturesSelect: UInt32 = 0
        var driverFeaturesSelect: UInt32 = 0
        var driverFeatures: UInt64 = 0
        var queueSelect: UInt32 = 0
        var queues: [Queue]
        var hasDoorbells = false
    }

    package let device: any VirtioDevice

    private let memory: GuestMemory
    private let base: GuestAddress
    private let doorbells: (any DoorbellRegistry)?
    private let interrupt: VirtioMMIOInterrupt
    private let limiter: LogLimiter
    private let logger: Logger
    private let state: Mutex<State>

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
        self.device = device
        self.memory = memory
        self.base = base
        self.doorbells = doorbells
        self.interrupt = VirtioMMIOInterrupt(line: interrupt)
        self.logger = logger
        limiter = LogLimiter(source: "virtio-mmio \(device.name)", logger: logger)
        state = Mutex(State(queues: device.queueMaximumSizes.map { _ in Queue() }))
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
            writeConfiguration(value, at: Int(offset &- VirtioMMIOTransport.configurationOffset), width: width)
            return
        }
        guard width == 4, let register = Register(rawValue: offset) else {
            refuse("a write of \(width) bytes at register 0x\(String(offset, radix: 16))")
            return
        }
        write(UInt32(truncatingIfNeeded: value), to: register)
    }

    private func refuse(_ message: @autoclosure () -> String) {
        limiter.log(.warn, "refused \(message())")
    }

    private func writeConfiguration(_ value: UInt64, at offset: Int, width: Int) {
        let isAllowed = state.withLock { $0.status.contains(.driver) && !$0.status.contains(.failed) }
        guard isAllowed else { return refuse("a write of the configuration space without a driver") }
        device.writeConfiguration(value, at: offset, width: width)
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
        case .deviceFeatures:
            let features = device.offeredFeatures.rawValue
            switch state.withLock({ $0.deviceFeaturesSelect }) {
            case 0: return UInt32(truncatingIfNeeded: features)
            case 1: return UInt32(truncatingIfNeeded: features &>> 32)
            default: return 0
            }
        case .queueSizeMaximum:
            // A queue that does not exist reads as zero (4.2.2).
            let index = state.withLock { Int($0.queueSelect) }
            let sizes = device.queueMaximumSizes
            return index < sizes.count ? UInt32(sizes[index]) : 0
        case .queueReady:
            return state.withLock { state in
                let index = Int(state.queueSelect)
                return index < state.queues.count && state.queues[index].layout != nil ? 1 : 0
            }
        case .status:
            let status = state.withLock { $0.status }
            return (interrupt.needsReset ? status.union(.deviceNeedsReset) : status).rawValue
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
        case .deviceFeaturesSelect:
            state.withLock { $0.deviceFeaturesSelect = value }
        case .driverFeaturesSelect:
            state.withLock { $0.driverFeaturesSelect = value }
        case .queueSelect:
            state.withLock { $0.queueSelect = value }
        case .sharedMemorySelect:
            // There are no regions to choose from.
            break
        case .driverFeatures:
            let isAccepted = state.withLock { setFeatures(value, &$0) }
            if !isAccepted { refuse("driver features out of order") }
        case .queueSize:
            setQueue { $0.size = value }
        case .queueDescriptorsLow:
            setQueue { $0.descriptorTable.replaceLow(value) }
        case .queueDescriptorsHigh:
            setQueue { $0.descriptorTable.replaceHigh(value) }
        case .queueDriverLow:
            setQueue { $0.availableRing.replaceLow(value) }
        case .queueDriverHigh:
            setQueue { $0.availableRing.replaceHigh(value) }
        case .queueDeviceLow:
            setQueue { $0.usedRing.replaceLow(value) }
        case .queueDeviceHigh:
            setQueue { $0.usedRing.replaceHigh(value) }
        case .queueReady:
            if let refusal = state.withLock({ setReady(value, &$0) }) { refuse(refusal) }
        case .queueNotify:
            let kicks = device.kicks
            let isReady = state.withLock { state in
                let index = Int(value)
                return state.status.contains(.driverOK) && index < kicks.count && index < state.queues.count
                    && state.queues[index].layout != nil
            }
            guard isReady else { return refuse("a notification of queue \(value)") }
            kicks[Int(value)].signal()
        case .interruptAcknowledge:
            interrupt.acknowledge(value)
        case .status:
            if let refusal = state.withLock({ setStatus(value, &$0) }) { refuse(refusal) }
        case .magicValue, .version, .deviceID, .vendorID, .deviceFeatures, .queueSizeMaximum, .interruptStatus,
            .sharedMemoryLengthLow, .sharedMemoryLengthHigh, .sharedMemoryBaseLow, .sharedMemoryBaseHigh, .queueReset,
            .configurationGeneration:
            refuse("a write of register 0x\(String(register.rawValue, radix: 16))")
        }
    }

    private func setFeatures(_ value: UInt32, _ state: inout State) -> Bool {
        // Between DRIVER and FEATURES_OK, and never after (3.1.1).
        guard state.status.contains(.driver), state.status.isDisjoint(with: [.featuresOK, .failed]) else { return false }
        switch state.driverFeaturesSelect {
        case 0: state.driverFeatures.replaceLow(value)
        case 1: state.driverFeatures.replaceHigh(value)
        // No feature has such a number; accepting one would be found out at FEATURES_OK by nobody.
        default: return value == 0
        }
        return true
    }

    private func setQueue(_ change: (inout QueueConfiguration) -> Void) {
        let isAccepted = state.withLock { state in
            let index = Int(state.queueSelect)
            // A queue is set up after FEATURES_OK, before DRIVER_OK and before it is ready (3.1.1, 4.2.3.2).
            guard state.status.contains(.featuresOK), state.status.isDisjoint(with: [.driverOK, .failed]),
                index < state.queues.count, state.queues[index].layout == nil
            else { return false }
            change(&state.queues[index].configuration)
            return true
        }
        if !isAccepted { refuse("a queue's configuration out of order") }
    }

    /// - Returns: what is refused, if anything.
    private func setReady(_ value: UInt32, _ state: inout State) -> String? {
        let index = Int(state.queueSelect)
        guard index < state.queues.count else { return value == 0 ? nil : "to enable queue \(index), which does not exist" }
        guard value & 1 != 0 else {
            guard state.queues[index].layout != nil else { return nil }
            state.queues[index].layout = nil
            // The driver may stop a queue for good while the device runs (4.2.2.2).
            if state.status.contains(.driverOK) {
                setDoorbell(of: index, isBound: false, state)
                device.stopQueue(index)
            }
            return nil
        }
        guard state.status.contains(.featuresOK), state.status.isDisjoint(with: [.driverOK, .failed]) else {
            return "to enable queue \(index) out of order"
        }
        guard state.queues[index].layout == nil else { return nil }
        do {
            state.queues[index].layout = try QueueLayout(
                state.queues[index].configuration, maximumSize: device.queueMaximumSizes[index], in: memory)
            return nil
        } catch {
            // Drivers don't read the register back, so that the status must tell them.
            interrupt.deviceNeedsReset()
            return "queue \(index): \(error)"
        }
    }

    private func setStatus(_ value: UInt32, _ state: inout State) -> String? {
        guard value != 0 else {
            reset(&state)
            return nil
        }
        // DEVICE_NEEDS_RESET is the device's own (2.1.2); a driver that writes back what it has read is not wrong.
        let wanted = Status(rawValue: value).subtracting(.deviceNeedsReset)
        let added = wanted.subtracting(state.status)
        let refusal = "to change status \(state.status.rawValue) to \(value)"
        // A driver never clears a bit but by a reset (2.1.1).
        guard wanted.isSuperset(of: state.status) else { return refusal }
        guard added.isSubset(of: [.acknowledge, .driver, .featuresOK, .driverOK, .failed]) else { return refusal }
        if added.contains(.failed) {
            state.status.formUnion(.failed)
            return nil
        }
        guard !state.status.contains(.failed) else { return added.isEmpty ? nil : refusal }
        // ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK, in this order (3.1.1). The first two may come together; DRIVER_OK
        // comes after the driver has seen that its features are accepted.
        if added.contains(.driver), !wanted.contains(.acknowledge) { return refusal }
        if added.contains(.featuresOK), !wanted.contains(.driver) { return refusal }
        if added.contains(.driverOK), !state.status.contains(.featuresOK) { return refusal }
        state.status.formUnion(added.intersection([.acknowledge, .driver]))
        if added.contains(.featuresOK) {
            let features = VirtioFeatures(rawValue: state.driverFeatures)
            guard device.offeredFeatures.isSuperset(of: features), features.contains(.version1) else {
                return "features \(features) of \(device.offeredFeatures)"
            }
            state.status.formUnion(.featuresOK)
        }
        if added.contains(.driverOK) {
            state.status.formUnion(.driverOK)
            interrupt.driverIsReady()
            return activate(&state, positions: nil)
        }
        return nil
    }

    // MARK: Life cycle

    private func activate(_ state: inout State, positions: [QueuePosition?]?) -> String? {
        // A queue that could not be enabled has left the device asking for a reset already.
        guard !interrupt.needsReset else { return "to start a device that needs a reset" }
        var queues: [VirtioActivation.Queue?] = []
        for (index, queue) in state.queues.enumerated() {
            guard let layout = queue.layout else {
                queues.append(nil)
                continue
            }
            let position = positions.flatMap { index < $0.count ? $0[index] : nil }
            queues.append(VirtioActivation.Queue(layout: layout, position: position ?? QueuePosition()))
        }
        do {
            try device.activate(
                VirtioActivation(
                    features: VirtioFeatures(rawValue: state.driverFeatures), memory: memory, queues: queues,
                    interrupt: interrupt))
        } catch {
            interrupt.deviceNeedsReset()
            return "to start: \(error)"
        }
        state.hasDoorbells = true
        for index in state.queues.indices where state.queues[index].layout != nil {
            setDoorbell(of: index, isBound: true, state)
        }
        return nil
    }

    private func setDoorbell(of index: Int, isBound: Bool, _ state: State) {
        let kicks = device.kicks
        guard let doorbells, state.hasDoorbells, index < kicks.count,
            let address = base.advanced(by: Register.queueNotify.rawValue)
        else { return }
        guard isBound else {
            doorbells.unbind(kicks[index], at: address, width: 4, match: UInt64(index))
            return
        }
        do {
            try doorbells.bind(kicks[index], at: address, width: 4, match: UInt64(index))
        } catch {
            limiter.log(.warn, "queue \(index) is notified by register accesses: \(error)")
        }
    }

    private func reset(_ state: inout State) {
        for index in state.queues.indices where state.queues[index].layout != nil {
            setDoorbell(of: index, isBound: false, state)
        }
        device.reset()
        interrupt.reset()
        state = State(queues: device.queueMaximumSizes.map { _ in Queue() })
    }

    /// Resets transport and device, as a driver does by writing a status of zero.
    package func reset() {
        state.withLock { reset(&$0) }
    }

    /// Resets, and gives back what the device has of the host's. The last call.
    package func shutDown() {
        reset()
        device.shutDown()
    }

    // MARK: State

    /// All that the guest can tell of transport and device. To be asked while the device is paused and no virtual CPU runs.
    package func saveState() -> VirtioMMIOState {
        state.withLock { state in
            let positions = device.queuePositions
            var saved = VirtioMMIOState()
            saved.deviceType = device.type.rawValue
            saved.status = state.status.rawValue
            saved.deviceFeaturesSelect = state.deviceFeaturesSelect
            saved.driverFeaturesSelect = state.driverFeaturesSelect
            saved.driverFeatures = state.driverFeatures
            saved.queueSelect = state.queueSelect
            saved.interruptStatus = interrupt.status
            saved.needsReset = interrupt.needsReset
            saved.queues = state.queues.enumerated().map { index, queue in
                VirtioMMIOState.Queue(
                    configuration: queue.configuration, isReady: queue.layout != nil,
                    position: (index < positions.count ? positions[index] : nil) ?? QueuePosition())
            }
            saved.device = device.saveState()
            return saved
        }
    }

    /// Takes over a state that `saveState` gave: outside data. A device that was active goes on where it was.
    ///
    /// - Throws: `VirtioError`; the transport is then as after a reset.
    package func restoreState(_ saved: VirtioMMIOState) throws(VirtioError) {
        try state.withLock { state throws(VirtioError) in
            reset(&state)
            do throws(VirtioError) {
                try restore(saved, &state)
            } catch {
                reset(&state)
                throw error
            }
        }
    }

    private func restore(_ saved: VirtioMMIOState, _ state: inout State) throws(VirtioError) {
        guard saved.deviceType == device.type.rawValue, saved.queues.count == state.queues.count else {
            throw VirtioError("\(device.name): the state is of another device")
        }
        let status = Status(rawValue: saved.status)
        let known: Status = [.acknowledge, .driver, .featuresOK, .driverOK, .failed]
        guard status.isSubset(of: known) else {
            throw VirtioError("\(device.name): the state has status \(saved.status)")
        }
        let features = VirtioFeatures(rawValue: saved.driverFeatures)
        if status.contains(.featuresOK) {
            guard device.offeredFeatures.isSuperset(of: features), features.contains(.version1) else {
                throw VirtioError("\(device.name): the state has features \(features), of \(device.offeredFeatures) here")
            }
        }
        guard !status.contains(.driverOK) || status.contains(.featuresOK) else {
            throw VirtioError("\(device.name): the state has status \(saved.status)")
        }
        try device.restoreState(saved.device)
        state.status = status
        state.deviceFeaturesSelect = saved.deviceFeaturesSelect
        state.driverFeaturesSelect = saved.driverFeaturesSelect
        state.driverFeatures = saved.driverFeatures
        state.queueSelect = saved.queueSelect
        for (index, queue) in saved.queues.enumerated() {
            state.queues[index].configuration = queue.configuration
            guard queue.isReady else { continue }
            do {
                state.queues[index].layout = try QueueLayout(
                    queue.configuration, maximumSize: device.queueMaximumSizes[index], in: memory)
            } catch {
                throw VirtioError("\(device.name): queue \(index) of the state: \(error)")
            }
        }
        interrupt.restore(status: saved.interruptStatus, needsReset: saved.needsReset)
        guard status.contains(.driverOK) else { return }
        interrupt.driverIsReady()
        guard !saved.needsReset else { return }
        if let refusal = activate(&state, positions: saved.queues.map(\.position)) {
            throw VirtioError("\(device.name): \(refusal)")
        }
    }
}

extension UInt64 {
    fileprivate mutating func replaceLow(_ value: UInt32) {
        self = self & 0xFFFF_FFFF_0000_0000 | UInt64(value)
    }

    fileprivate mutating func replaceHigh(_ value: UInt32) {
        self = self & 0x0000_0000_FFFF_FFFF | UInt64(value) &<< 32
    }
}
