internal import StratoPCI
internal import Synchronization

/// The interrupts of a PCI transport: MSI-X vectors, one for each queue and one for the configuration as the driver assigns
/// them, or INTx with the ISR status to tell why (virtio 1.2, 4.1.4.5 and 4.1.5.3 to 4.1.5.4).
///
/// Takes locks of its own, the pin's and the vectors', and no other: devices call it with theirs held.
final class VirtioPCIInterrupt: VirtioTransportInterrupt {
    /// Bits of the ISR status (4.1.4.5).
    enum Reason {
        static let queue: UInt8 = 1
        static let configuration: UInt8 = 2
    }

    /// VIRTIO_MSI_NO_VECTOR (4.1.5.1.2).
    static let noVector: UInt16 = 0xFFFF

    private struct State {
        var reasons: UInt8 = 0
        var configurationVector = VirtioPCIInterrupt.noVector
        var queueVectors: [UInt16]
    }

    private let msix: MSIX
    private let pin: PCIInterruptPin
    private let state: Mutex<State>
    private let hasFailed = Atomic(false)
    private let isDriverReady = Atomic(false)

    init(msix: MSIX, pin: PCIInterruptPin, queueCount: Int) {
        self.msix = msix
        self.pin = pin
        state = Mutex(State(queueVectors: Array(repeating: VirtioPCIInterrupt.noVector, count: queueCount)))
    }

    // MARK: The driver's side

    var status: UInt32 { state.withLock { UInt32($0.reasons) } }

    /// Reads the ISR status, which clears it and releases the pin.
    func takeReasons() -> UInt8 {
        state.withLock { state in
            defer { state.reasons = 0 }
            pin.setPending(false)
            return state.reasons
        }
    }

    var configurationVector: UInt16 {
        get { state.withLock { $0.configurationVector } }
        set { state.withLock { $0.configurationVector = checked(newValue) } }
    }

    /// The vector of a queue; none for a queue that does not exist.
    func vector(of queue: Int) -> UInt16 {
        state.withLock { $0.queueVectors.indices.contains(queue) ? $0.queueVectors[queue] : VirtioPCIInterrupt.noVector }
    }

    func setVector(_ vector: UInt16, of queue: Int) {
        state.withLock { state in
            guard state.queueVectors.indices.contains(queue) else { return }
            state.queueVectors[queue] = checked(vector)
        }
    }

    /// A vector that does not exist cannot be assigned, which the driver sees when it reads back (4.1.5.1.2.1).
    private func checked(_ vector: UInt16) -> UInt16 {
        Int(vector) < msix.vectorCount ? vector : VirtioPCIInterrupt.noVector
    }

    var needsReset: Bool { hasFailed.load(ordering: .acquiring) }

    func driverIsReady() {
        isDriverReady.store(true, ordering: .releasing)
    }

    func reset() {
        isDriverReady.store(false, ordering: .releasing)
        hasFailed.store(false, ordering: .releasing)
        state.withLock { state in
            state = State(queueVectors: state.queueVectors.map { _ in VirtioPCIInterrupt.noVector })
            pin.setPending(false)
        }
    }

    func restore(status: UInt32, needsReset: Bool) {
        hasFailed.store(needsReset, ordering: .releasing)
        state.withLock { state in
            state.reasons = UInt8(truncatingIfNeeded: status) & (Reason.queue | Reason.configuration)
            pin.setPending(state.reasons != 0)
        }
    }

    // MARK: The device's side

    func queueUsed(_ index: Int) {
        if msix.isEnabled {
            let vector = vector(of: index)
            if vector != VirtioPCIInterrupt.noVector { msix.notify(Int(vector)) }
        } else {
            raise(Reason.queue)
        }
    }

    func configurationChanged() {
        // A device must not interrupt before DRIVER_OK (3.1.1); the new contents are there to be read anyway.
        guard isDriverReady.load(ordering: .acquiring) else { return }
        // This reason is told by the ISR status in either case (4.1.4.5.1).
        raise(Reason.configuration)
        let vector = configurationVector
        if vector != VirtioPCIInterrupt.noVector { msix.notify(Int(vector)) }
    }

    func deviceNeedsReset() {
        hasFailed.store(true, ordering: .releasing)
        configurationChanged()
    }

    private func raise(_ reason: UInt8) {
        state.withLock { state in
            state.reasons |= reason
            pin.setPending(true)
        }
    }
}
