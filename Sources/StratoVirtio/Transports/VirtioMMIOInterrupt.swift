internal import StratoMemory
internal import Synchronization

/// The interrupt of a memory-mapped transport: two reasons on one line, and the flag that the device gave up.
///
/// Takes no lock: devices call it with theirs held, and virtual CPUs read it with the transport's held.
final class VirtioMMIOInterrupt: VirtioTransportInterrupt {
    /// Bits of InterruptStatus (virtio 1.2, 4.2.2, table 4.1).
    enum Reason {
        static let usedBuffer: UInt32 = 1
        static let configurationChange: UInt32 = 2
    }

    private let line: any InterruptLine
    private let reasons = Atomic<UInt32>(0)
    private let hasFailed = Atomic(false)
    private let isDriverReady = Atomic(false)

    init(line: any InterruptLine) {
        self.line = line
    }

    /// What the driver has not acknowledged yet.
    var status: UInt32 { reasons.load(ordering: .acquiring) }

    /// The device needs a reset.
    var needsReset: Bool { hasFailed.load(ordering: .acquiring) }

    func acknowledge(_ bits: UInt32) {
        reasons.bitwiseAnd(~bits, ordering: .acquiringAndReleasing)
    }

    /// The driver has set DRIVER_OK: from now on it may be interrupted.
    func driverIsReady() {
        isDriverReady.store(true, ordering: .releasing)
    }

    func reset() {
        isDriverReady.store(false, ordering: .releasing)
        hasFailed.store(false, ordering: .releasing)
        reasons.store(0, ordering: .releasing)
    }

    func restore(status: UInt32, needsReset: Bool) {
        reasons.store(status & (Reason.usedBuffer | Reason.configurationChange), ordering: .releasing)
        hasFailed.store(needsReset, ordering: .releasing)
    }

    private func raise(_ reason: UInt32) {
        reasons.bitwiseOr(reason, ordering: .acquiringAndReleasing)
        line.pulse()
    }

    func queueUsed(_ index: Int) {
        raise(Reason.usedBuffer)
    }

    func configurationChanged() {
        // A device must not interrupt before DRIVER_OK (virtio 1.2, 3.1.1); the new contents are there to be read anyway.
        if isDriverReady.load(ordering: .acquiring) { raise(Reason.configurationChange) }
    }

    func deviceNeedsReset() {
        hasFailed.store(true, ordering: .releasing)
        configurationChanged()
    }
}
