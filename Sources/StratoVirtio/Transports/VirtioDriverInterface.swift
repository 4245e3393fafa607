internal import StratoHost
internal import StratoMemory
internal import Synchronization

/// What is behind the registers of every transport: the device status, the features, the queues' registers, and with them
/// the life cycle of the device (virtio 1.2, 2.1, 3.1, 4.1.4.3 and 4.2.2).
///
/// Virtual CPUs use the registers at the same time: one lock guards them. It is held while the device is activated and
/// reset, which waits for the device's requests in flight and for nothing else; devices never take it. What a driver does
/// out of order is refused: the register keeps its value, and a line, limited in rate, goes to the log.
final class VirtioDriverInterface: Sendable {
    typealias Status = VirtioDeviceStatus

    /// How queues are notified.
    enum DoorbellLayout: Sendable {
        /// All have one 32-bit register, to which the queue's index is written (4.2.2).
        case shared
        /// Each has an address, `stride` bytes after the one before, to which 16 bits are written (4.1.4.4).
        case separate(stride: UInt64)
    }

    /// What transports differ in.
    struct Options: Sendable {
        /// Begins each line in the log.
        var logSource: String
        var doorbellLayout: DoorbellLayout
        /// Of the first queue's doorbell; nil while the guest does not reach the registers.
        var doorbell: GuestAddress?
        /// A queue's size register holds the largest size at first (4.1.4.3), not zero (4.2.2).
        var sizesStartAtMaximum: Bool
    }

    struct Queue: Sendable {
        var configuration: QueueConfiguration
        /// Set as long as the driver has the queue enabled: what it was at that moment.
        var layout: QueueLayout?

        var isEnabled: Bool { layout != nil }
    }

    /// Halves of 64-bit registers that are chosen or accessed as 32 bits.
    enum Half {
        case low, high
    }

    private struct State {
        var status: Status = []
        var deviceFeaturesSelect: UInt32 = 0
        var driverFeaturesSelect: UInt32 = 0
        var driverFeatures: UInt64 = 0
        var queueSelect: UInt32 = 0
        var queues: [Queue]
        /// The device has its queues; notifications are to reach it.
        var isActive = false
        /// Where the transport has the first doorbell, whatever the driver does.
        var doorbell: GuestAddress?

        var selectedQueue: Queue? {
            let index = Int(queueSelect)
            return index < queues.count ? queues[index] : nil
        }
    }

    let device: any VirtioDevice

    private let interrupt: any VirtioTransportInterrupt
    private let options: Options
    private let memory: GuestMemory
    private let doorbells: (any DoorbellRegistry)?
    private let limiter: LogLimiter
    private let state: Mutex<State>

    /// - Parameters:
    ///   - device: behind this interface for good.
    ///   - memory: what the device reaches.
    ///   - interrupt: the transport's.
    ///   - doorbells: nil lets every notification come as a register access.
    ///   - options: the transport's.
    ///   - logger: told of refusals.
    init(
        device: any VirtioDevice, memory: GuestMemory, interrupt: any VirtioTransportInterrupt,
        doorbells: (any DoorbellRegistry)?, options: Options, logger: Logger
    ) {
        self.device = device
        self.memory = memory
        self.interrupt = interrupt
        self.doorbells = doorbells
        self.options = options
        limiter = LogLimiter(source: "\(options.logSource) \(device.name)", logger: logger)
        state = Mutex(VirtioDriverInterface.initialState(device, options, doorbell: options.doorbell))
    }

    private static func initialState(
        _ device: any VirtioDevice, _ options: Options, doorbell: GuestAddress?
    ) -> State {
        let queues = device.queueMaximumSizes.map { size in
            Queue(configuration: QueueConfiguration(size: options.sizesStartAtMaximum ? UInt32(size) : 0))
        }
        return State(queues: queues, doorbell: doorbell)
    }

    func refuse(_ message: @autoclosure () -> String) {
        limiter.log(.warn, "refused \(message())")
    }

    // MARK: Reading

    var status: Status {
        let status = state.withLock { $0.status }
        return interrupt.needsReset ? status.union(.deviceNeedsReset) : status
    }

    var deviceFeaturesSelect: UInt32 { state.withLock { $0.deviceFeaturesSelect } }
    var driverFeaturesSelect: UInt32 { state.withLock { $0.driverFeaturesSelect } }
    var queueSelect: UInt32 { state.withLock { $0.queueSelect } }

    /// The 32 features that were selected; there are 64, and the others read as zeros.
    var deviceFeatures: UInt32 {
        VirtioDriverInterface.half(device.offeredFeatures.rawValue, state.withLock { $0.deviceFeaturesSelect })
    }

    var driverFeatures: UInt32 {
        state.withLock { VirtioDriverInterface.half($0.driverFeatures, $0.driverFeaturesSelect) }
    }

    private static func half(_ value: UInt64, _ select: UInt32) -> UInt32 {
        switch select {
        case 0: UInt32(truncatingIfNeeded: value)
        case 1: UInt32(truncatingIfNeeded: value &>> 32)
        default: 0
        }
    }

    /// The queue that was selected; nil if there is none.
    var selectedQueue: Queue? { state.withLock { $0.selectedQueue } }

    /// The largest size of the queue that was selected; a queue that does not exist has zero.
    var selectedQueueMaximumSize: UInt16 {
        let index = Int(queueSelect)
        let sizes = device.queueMaximumSizes
        return index < sizes.count ? sizes[index] : 0
    }

    // MARK: Writing

    func selectDeviceFeatures(_ value: UInt32) { state.withLock { $0.deviceFeaturesSelect = value } }

    func selectDriverFeatures(_ value: UInt32) { state.withLock { $0.driverFeaturesSelect = value } }

    func selectQueue(_ value: UInt32) { state.withLock { $0.queueSelect = value } }

    func setDriverFeatures(_ value: UInt32) {
        let isAccepted = state.withLock { setFeatures(value, &$0) }
        if !isAccepted { refuse("driver features out of order") }
    }

    private func setFeatures(_ value: UInt32, _ state: inout State) -> Bool {
        // Between DRIVER and FEATURES_OK, and never after (3.1.1).
        guard state.status.contains(.driver), state.status.isDisjoint(with: [.featuresOK, .failed]) else { return false }
        switch state.driverFeaturesSelect {
        case 0: state.driverFeatures.replace(.low, value)
        case 1: state.driverFeatures.replace(.high, value)
        // No feature has such a number; accepting one would be found out at FEATURES_OK by nobody.
        default: return value == 0
        }
        return true
    }

    /// Changes the registers of the queue that was selected.
    func changeQueue(_ change: (inout QueueConfiguration) -> Void) {
        let isAccepted = state.withLock { state in
            let index = Int(state.queueSelect)
            // A queue is set up after FEATURES_OK, before DRIVER_OK and before it is enabled (3.1.1, 4.1.4.3.2, 4.2.3.2).
            guard state.status.contains(.featuresOK), state.status.isDisjoint(with: [.driverOK, .failed]),
                index < state.queues.count, state.queues[index].layout == nil
            else { return false }
            change(&state.queues[index].configuration)
            return true
        }
        if !isAccepted { refuse("a queue's configuration out of order") }
    }

    /// Enables the queue that was selected: from now on it is as it is now.
    func enableQueue() {
        if let refusal = state.withLock({ enableQueue(&$0) }) { refuse(refusal) }
    }

    /// - Returns: what is refused, if anything.
    private func enableQueue(_ state: inout State) -> String? {
        let index = Int(state.queueSelect)
        guard index < state.queues.count else { return "to enable queue \(index), which does not exist" }
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

    /// Disables the queue that was selected; while the device runs, for good (4.2.2.2).
    func disableQueue() {
        state.withLock { state in
            let index = Int(state.queueSelect)
            guard index < state.queues.count, state.queues[index].layout != nil else { return }
            if state.isActive { setDoorbell(of: index, isBound: false, state) }
            state.queues[index].layout = nil
            if state.status.contains(.driverOK) { device.stopQueue(index) }
        }
    }

    /// A notification that came as a register access.
    func notify(_ index: Int) {
        let kicks = device.kicks
        let isReady = state.withLock { state in
            state.status.contains(.driverOK) && index >= 0 && index < kicks.count && index < state.queues.count
                && state.queues[index].layout != nil
        }
        guard isReady else { return refuse("a notification of queue \(index)") }
        kicks[index].signal()
    }

    /// Writes the device's configuration space, which needs a driver.
    func writeConfiguration(_ value: UInt64, at offset: Int, width: Int) {
        let isAllowed = state.withLock { $0.status.contains(.driver) && !$0.status.contains(.failed) }
        guard isAllowed else { return refuse("a write of the configuration space without a driver") }
        device.writeConfiguration(value, at: offset, width: width)
    }

    func setStatus(_ value: UInt32) {
        if let refusal = state.withLock({ setStatus(value, &$0) }) { refuse(refusal) }
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
        state.isActive = true
        setDoorbells(isBound: true, state)
        return nil
    }

    private func setDoorbells(isBound: Bool, _ state: State) {
        guard state.isActive else { return }
        for index in state.queues.indices where state.queues[index].layout != nil {
            setDoorbell(of: index, isBound: isBound, state)
        }
    }

    private func setDoorbell(of index: Int, isBound: Bool, _ state: State) {
        let kicks = device.kicks
        guard let doorbells, index < kicks.count, let base = state.doorbell else { return }
        let place: (address: GuestAddress?, width: Int, match: UInt64?) =
            switch options.doorbellLayout {
            case .shared: (base, 4, UInt64(index))
            case .separate(let stride): (base.advanced(by: UInt64(index) &* stride), 2, nil)
            }
        guard let address = place.address else { return }
        guard isBound else {
            doorbells.unbind(kicks[index], at: address, width: place.width, match: place.match)
            return
        }
        do {
            try doorbells.bind(kicks[index], at: address, width: place.width, match: place.match)
        } catch {
            limiter.log(.warn, "queue \(index) is notified by register accesses: \(error)")
        }
    }

    /// The guest reaches the doorbells somewhere else from now on, or nowhere.
    func moveDoorbell(to base: GuestAddress?) {
        state.withLock { state in
            guard state.doorbell != base else { return }
            setDoorbells(isBound: false, state)
            state.doorbell = base
            setDoorbells(isBound: true, state)
        }
    }

    private func reset(_ state: inout State) {
        setDoorbells(isBound: false, state)
        device.reset()
        interrupt.reset()
        state = VirtioDriverInterface.initialState(device, options, doorbell: state.doorbell)
    }

    /// Resets interface and device, as a driver does by writing a status of zero.
    func reset() {
        state.withLock { reset(&$0) }
    }

    /// Resets, and gives back what the device has of the host's. The last call.
    func shutDown() {
        reset()
        device.shutDown()
    }

    // MARK: State

    /// All that the guest can tell of interface and device. To be asked while the device is paused and no virtual CPU runs.
    func saveState() -> VirtioTransportState {
        state.withLock { state in
            let positions = device.queuePositions
            var saved = VirtioTransportState()
            saved.deviceType = device.type.rawValue
            saved.status = state.status.rawValue
            saved.deviceFeaturesSelect = state.deviceFeaturesSelect
            saved.driverFeaturesSelect = state.driverFeaturesSelect
            saved.driverFeatures = state.driverFeatures
            saved.queueSelect = state.queueSelect
            saved.interruptStatus = interrupt.status
            saved.needsReset = interrupt.needsReset
            saved.queues = state.queues.enumerated().map { index, queue in
                VirtioTransportState.Queue(
                    configuration: queue.configuration, isReady: queue.isEnabled,
                    position: (index < positions.count ? positions[index] : nil) ?? QueuePosition())
            }
            saved.device = device.saveState()
            return saved
        }
    }

    /// Takes over a state that `saveState` gave: outside data. A device that was active goes on where it was.
    ///
    /// - Throws: `VirtioError`; the interface is then as after a reset.
    func restoreState(_ saved: VirtioTransportState) throws(VirtioError) {
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

    private func restore(_ saved: VirtioTransportState, _ state: inout State) throws(VirtioError) {
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
    /// Sets one half, as a driver that writes 32 bits does.
    mutating func replace(_ half: VirtioDriverInterface.Half, _ value: UInt32) {
        switch half {
        case .low: self = self & 0xFFFF_FFFF_0000_0000 | UInt64(value)
        case .high: self = self & 0x0000_0000_FFFF_FFFF | UInt64(value) &<< 32
        }
    }
}
