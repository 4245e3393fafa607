package import StratoHost
package import StratoMemory
internal import Synchronization

/// A PC's clock with its memory: an MC146818A at ports 0x70 and 0x71, and another 128 bytes behind 0x72 and 0x73 (Intel ICH9
/// data sheet, 316972, 13.6).
///
/// The time is the host's, as far off as the guest has set it: it neither drifts nor stands still with the machine. Flags come up
/// as time goes; interrupts need an event loop, whose resolution limits the periodic one to a thousand a second.
package final class CMOSClock: BusDevice, ByteRegisters {
    /// The first port.
    package static let basePort: UInt64 = 0x70
    /// In ports.
    package static let portCount: UInt64 = 8
    /// The ISA interrupt.
    package static let interruptNumber = 8

    private let interrupt: any InterruptLine
    private let clock: @Sendable () -> Int64
    private let core: Mutex<Core>
    private let timer = Mutex<DeviceTimer?>(nil)

    /// - Parameters:
    ///   - interrupt: held asserted until the guest reads register C. Its level is set with the device's lock held.
    ///   - loop: where interrupts come from; nil for a clock without.
    ///   - offset: what the guest's clock is ahead of the host's in UTC, in seconds, at most 1 000 years.
    ///   - clock: microseconds since 1970.
    package init(
        interrupt: any InterruptLine, loop: EventLoop?, offset: Int64 = 0,
        clock: @escaping @Sendable () -> Int64 = { WallClock.microseconds }
    ) {
        self.interrupt = interrupt
        self.clock = clock
        let limit = State.offsetLimit / 10
        let microseconds = min(max(offset, -limit / 1_000_000), limit / 1_000_000) * 1_000_000
        core = Mutex(Core(offset: microseconds, now: clock()))
        guard let loop else { return }
        let timer = DeviceTimer(
            loop: loop, delay: { [weak self] in self?.nextDelay() }, fire: { [weak self] in self?.update() })
        self.timer.withLock { $0 = timer }
    }

    // MARK: Bus

    package func read(at offset: UInt64, width: Int) -> UInt64 { readBytes(at: offset, width: width) }

    package func write(_ value: UInt64, at offset: UInt64, width: Int) { writeBytes(value, at: offset, width: width) }

    func readByte(at offset: UInt64) -> UInt8 {
        let now = clock()
        switch offset & Port.mask {
        case Port.data:
            let (value, isPlanNeeded) = core.withLock { core in
                let value = core.read(now)
                interrupt.updateLevel(&core.isAsserted, core.isInterrupting)
                return (value, core.takePlanRequest())
            }
            if isPlanNeeded { plan() }
            return value
        case Port.extendedData:
            return core.withLock { $0.extended[Int($0.extendedIndex)] }
        default:
            // The index registers are written only.
            return 0xFF
        }
    }

    func writeByte(_ value: UInt8, at offset: UInt64) {
        let now = clock()
        switch offset & Port.mask {
        case Port.index:
            // The top bit masks non-maskable interrupts, of which there are none.
            core.withLock { $0.index = value & 0x7F }
        case Port.extendedIndex:
            core.withLock { $0.extendedIndex = value & 0x7F }
        case Port.extendedData:
            core.withLock { $0.extended[Int($0.extendedIndex)] = value }
        default:
            let isPlanNeeded = core.withLock { core in
                core.write(value, now)
                interrupt.updateLevel(&core.isAsserted, core.isInterrupting)
                return core.takePlanRequest()
            }
            if isPlanNeeded { plan() }
        }
    }

    // MARK: Interrupts

    private func plan() {
        timer.withLock { $0 }?.plan()
    }

    private func nextDelay() -> Int64? {
        let now = clock()
        return core.withLock { $0.nextEvent(now) }
    }

    private func update() {
        let now = clock()
        core.withLock { core in
            core.update(now)
            interrupt.updateLevel(&core.isAsserted, core.isInterrupting)
        }
    }

    // MARK: Memory

    /// Puts the memory's size where firmware looks for it, now and at each reset.
    ///
    /// - Parameters:
    ///   - below4GiB: from address 0 on, in bytes.
    ///   - above4GiB: from 4 GiB on, in bytes.
    package func setMemorySize(below4GiB: UInt64, above4GiB: UInt64) {
        core.withLock { $0.setMemorySize(below4GiB, above4GiB) }
    }

    // MARK: State

    /// What the reset line does ("reset"): interrupts are off, time and memory stay.
    package func reset() {
        core.withLock { core in
            core.reset()
            interrupt.updateLevel(&core.isAsserted, core.isInterrupting)
        }
        plan()
    }

    package func save() -> State {
        let now = clock()
        return core.withLock { core in
            core.update(now)
            interrupt.updateLevel(&core.isAsserted, core.isInterrupting)
            return core.state
        }
    }

    /// Goes on from a saved state; the time is the host's, as far off as it was.
    package func restore(_ state: State) {
        core.withLock { core in
            core.state = state
            interrupt.restoreLevel(&core.isAsserted, core.isInterrupting)
        }
        plan()
    }
}
