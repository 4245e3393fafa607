package import StratoHost
package import StratoMemory
internal import Synchronization

/// The power management registers of a PC's south bridge (Intel ICH9 data sheet, 316972, 13.8.3): ACPI's fixed events, sleep
/// control, timer and general-purpose events, with one level-triggered interrupt for all, the SCI.
///
/// Where the registers are is PMBASE in the LPC bridge's configuration space: its owner calls `relocate`.
package final class PowerManagementBlock: BusDevice {
    /// In ports; PMBASE is a multiple of it.
    package static let portCount: UInt64 = 128
    /// Where firmware puts the block, and a machine without firmware has it from the start.
    package static let defaultBase: UInt64 = 0x600
    /// The ISA interrupt of the SCI.
    package static let interruptNumber = 9

    // Offsets for the FADT and its like.
    package static let eventOffset: UInt64 = 0x00
    package static let eventLength: UInt64 = 4
    package static let controlOffset: UInt64 = 0x04
    package static let controlLength: UInt64 = 2
    package static let timerOffset: UInt64 = 0x08
    package static let timerLength: UInt64 = 4
    package static let generalEventOffset: UInt64 = 0x20
    /// Status and enable together; half of it each.
    package static let generalEventLength: UInt64 = 16
    package static let generalEventCount = 64

    /// What SLP_TYP is for S5, for the DSDT's `_S5` object.
    package static let softOffType: UInt8 = 5

    private let bus: Bus?
    private let interrupt: any InterruptLine
    private let clock: @Sendable () -> Int64
    private let onPowerOff: @Sendable () -> Void
    private let core: Mutex<Core>
    private let location = Mutex<GuestRange?>(nil)
    private let timer = Mutex<DeviceTimer?>(nil)

    /// - Parameters:
    ///   - bus: the ports, for `relocate`.
    ///   - interrupt: the SCI. Its level is set with the device's lock held.
    ///   - isTimerExtended: the timer has 32 bits instead of 24; the FADT's TMR_VAL_EXT flag says the same.
    ///   - loop: where the timer's interrupts come from; nil for a timer without.
    ///   - clock: microseconds that nobody sets.
    ///   - onPowerOff: called on the virtual CPU's thread, which waits for it, when the guest enters S5.
    package init(
        bus: Bus?, interrupt: any InterruptLine, isTimerExtended: Bool = false, loop: EventLoop?,
        clock: @escaping @Sendable () -> Int64 = { MonotonicClock.now.microseconds },
        onPowerOff: @escaping @Sendable () -> Void
    ) {
        self.bus = bus
        self.interrupt = interrupt
        self.clock = clock
        self.onPowerOff = onPowerOff
        core = Mutex(Core(timer: PowerManagementTimer(isExtended: isTimerExtended, start: clock())))
        guard let loop else { return }
        let timer = DeviceTimer(
            loop: loop, delay: { [weak self] in self?.nextDelay() }, fire: { [weak self] in self?.update { _ in } })
        self.timer.withLock { $0 = timer }
    }

    // MARK: Place

    /// Where the registers are now; nil while nowhere.
    package var base: UInt64? { location.withLock { $0?.base.value } }

    /// Moves the registers to what PMBASE says, or takes them off the bus.
    ///
    /// May be called while other processors use the registers, by a processor that writes another device's.
    ///
    /// - Parameter base: the first port, a multiple of 128 up to 0xFF80; the lower bits are ignored, as PMBASE has none.
    /// - Throws: `BusError` if another device is in the way; the registers are nowhere then, and the next call may do.
    package func relocate(to base: UInt64?) throws(BusError) {
        guard let bus else { return }
        try location.withLock { location throws(BusError) in
            let wanted = base.flatMap { base in
                GuestRange(
                    base: GuestAddress(base & 0xFFFF & ~(PowerManagementBlock.portCount - 1)),
                    size: PowerManagementBlock.portCount)
            }
            guard wanted != location else { return }
            if let old = location { bus.remove(old) }
            location = nil
            guard let wanted else { return }
            try bus.insert(self, at: wanted)
            location = wanted
        }
    }

    // MARK: Bus

    package func read(at offset: UInt64, width: Int) -> UInt64 {
        let now = clock()
        return core.withLock { core in
            var value: UInt64 = 0
            let width = UInt64(min(max(width, 0), 8))
            var done: UInt64 = 0
            // Each word at once: the timer's bytes belong together.
            while done < width {
                let position = offset &+ done
                let shift = 8 * (position & 3)
                value |= (UInt64(core.read(position & ~3, now)) >> shift) << (8 * done)
                done += 4 - (position & 3)
            }
            // Reading may have found that the timer's status is set.
            interrupt.updateLevel(&core.isAsserted, core.isInterrupting)
            return width >= 8 ? value : value & ((1 << (8 * width)) &- 1)
        }
    }

    package func write(_ value: UInt64, at offset: UInt64, width: Int) {
        let width = UInt64(min(max(width, 0), 8))
        let isOff = update { core in
            var isOff = false
            var done: UInt64 = 0
            while done < width {
                let position = offset &+ done
                let lane = position & 3
                let count = min(4 - lane, width - done)
                let mask = UInt32(truncatingIfNeeded: ((UInt64(1) << (8 * count)) &- 1) << (8 * lane))
                let word = UInt32(truncatingIfNeeded: (value >> (8 * done)) << (8 * lane))
                isOff = core.write(word & mask, mask: mask, position & ~3) || isOff
                done += count
            }
            return isOff
        }
        timer.withLock { $0 }?.plan()
        if isOff { onPowerOff() }
    }

    // MARK: Events

    /// Somebody presses the power button (ACPI 6.4, 4.8.3.1.1).
    package func pressPowerButton() {
        update { $0.raise(Event.powerButton) }
    }

    /// A general-purpose event has happened; the guest takes it back.
    ///
    /// - Parameter number: 0...63; others are ignored.
    package func raiseGeneralEvent(_ number: Int) {
        guard (0..<PowerManagementBlock.generalEventCount).contains(number) else { return }
        update { $0.raiseGeneral(UInt64(1) << UInt64(number)) }
    }

    /// Changes something, and sets the SCI's level accordingly.
    @discardableResult
    private func update<Result>(_ change: (inout Core) -> sending Result) -> sending Result {
        let now = clock()
        return core.withLock { core in
            core.updateTimerStatus(now)
            let result = change(&core)
            interrupt.updateLevel(&core.isAsserted, core.isInterrupting)
            return result
        }
    }

    private func nextDelay() -> Int64? {
        let now = clock()
        return core.withLock { $0.nextEvent(now) }
    }

    // MARK: State

    /// What power-on leaves in the registers. They stay where they are; the LPC bridge's reset calls `relocate`.
    package func reset() {
        update { $0.reset() }
    }

    package func save() -> State {
        let now = clock()
        return core.withLock { core in
            core.updateTimerStatus(now)
            interrupt.updateLevel(&core.isAsserted, core.isInterrupting)
            return core.state(now)
        }
    }

    /// Goes on from a saved state, the timer from the value that it had.
    package func restore(_ state: State) {
        let now = clock()
        core.withLock { core in
            core.load(state, now)
            interrupt.restoreLevel(&core.isAsserted, core.isInterrupting)
        }
        timer.withLock { $0 }?.plan()
    }
}
