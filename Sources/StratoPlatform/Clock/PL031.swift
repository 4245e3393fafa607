package import StratoHost
package import StratoMemory
internal import Synchronization

/// A PrimeCell real time clock (PL031, ARM DDI 0224C): seconds since 1970 in 32 bits, and an alarm.
///
/// The time is the host's, as far off as the guest has set it: it neither drifts nor stands still with the machine.
package final class PL031: BusDevice {
    /// In bytes.
    package static let registerSize: UInt64 = 0x1000

    /// Offsets (table 3-1).
    private enum Register {
        static let data: UInt64 = 0x000
        static let match: UInt64 = 0x004
        static let load: UInt64 = 0x008
        static let control: UInt64 = 0x00C
        static let interruptMask: UInt64 = 0x010
        static let rawInterrupt: UInt64 = 0x014
        static let maskedInterrupt: UInt64 = 0x018
        static let interruptClear: UInt64 = 0x01C
        static let identification: UInt64 = 0xFE0
    }

    /// RTCPeriphID0...3 and RTCPCellID0...3 (3.3.9, 3.3.10).
    private static let identification: InlineArray<8, UInt8> = [0x31, 0x10, 0x04, 0x00, 0x0D, 0xF0, 0x05, 0xB1]

    /// Everything that the clock remembers.
    package struct State: Equatable, Sendable {
        static let version: UInt32 = 1

        /// What the guest's time is ahead of the host's, in seconds, as far as 32 bits show it.
        var offset: UInt32 = 0
        var match: UInt32 = 0
        var load: UInt32 = 0
        var isInterruptEnabled = false
        var isInterruptRaised = false
        /// The alarm has been looked at up to this time of the guest.
        var checked: UInt32 = 0

        package init() {}

        /// The state as bytes, a version first.
        package func encoded() -> [UInt8] {
            var encoder = StateEncoder(version: State.version)
            for value in [offset, match, load, checked] { encoder.put(value) }
            encoder.put(isInterruptEnabled)
            encoder.put(isInterruptRaised)
            return encoder.bytes
        }

        /// The state that was made into bytes.
        ///
        /// - Throws: `StateError` for anything that `encoded` can't have made.
        package init(decoding bytes: [UInt8]) throws(StateError) {
            var decoder = try StateDecoder(bytes, versions: State.version...State.version)
            offset = try decoder.take()
            match = try decoder.take()
            load = try decoder.take()
            checked = try decoder.take()
            isInterruptEnabled = try decoder.take("interrupt mask")
            isInterruptRaised = try decoder.take("interrupt")
            try decoder.finish()
        }
    }

    private struct Core: ~Copyable {
        var state = State()
        var isAsserted = false

        var isInterrupting: Bool { state.isInterruptEnabled && state.isInterruptRaised }

        func time(_ now: Int64) -> UInt32 { Core.seconds(now) &+ state.offset }

        static func seconds(_ microseconds: Int64) -> UInt32 { UInt32(truncatingIfNeeded: microseconds / 1_000_000) }

        /// Raises the alarm if its time has come since the last look.
        mutating func update(_ now: Int64) {
            let time = time(now)
            let passed = time &- state.checked
            // A clock that was set back has passed nothing; the register holds no more than 136 years.
            let isForward = passed < UInt32(1) << 31
            if isForward, passed > 0, state.match &- state.checked &- 1 < passed { state.isInterruptRaised = true }
            state.checked = time
        }

        mutating func write(_ value: UInt32, _ register: UInt64, _ now: Int64) {
            switch register {
            case Register.match:
                state.match = value
                if value == time(now) { state.isInterruptRaised = true }
            case Register.load:
                state.load = value
                state.offset = value &- Core.seconds(now)
                state.checked = value
                if value == state.match { state.isInterruptRaised = true }
            case Register.interruptMask: state.isInterruptEnabled = value & 1 != 0
            case Register.interruptClear: if value & 1 != 0 { state.isInterruptRaised = false }
            // Once on, the clock stays on until its reset (3.3.4): here it never is off.
            default: break
            }
        }

        func read(_ register: UInt64, _ now: Int64) -> UInt32 {
            switch register {
            case Register.data: return time(now)
            case Register.match: return state.match
            case Register.load: return state.load
            case Register.control: return 1
            case Register.interruptMask: return state.isInterruptEnabled ? 1 : 0
            case Register.rawInterrupt: return state.isInterruptRaised ? 1 : 0
            case Register.maskedInterrupt: return isInterrupting ? 1 : 0
            case Register.identification..<PL031.registerSize:
                return UInt32(PL031.identification[Int(register &- Register.identification) / 4])
            default: return 0
            }
        }
    }

    private let interrupt: any InterruptLine
    private let clock: @Sendable () -> Int64
    private let core: Mutex<Core>
    private let timer = Mutex<DeviceTimer?>(nil)

    /// - Parameters:
    ///   - interrupt: held asserted while the alarm is raised. Its level is set with the device's lock held.
    ///   - loop: where the alarm comes from; nil for a clock whose alarm is seen by looking at it alone.
    ///   - clock: microseconds since 1970.
    package init(
        interrupt: any InterruptLine, loop: EventLoop?, clock: @escaping @Sendable () -> Int64 = { WallClock.microseconds }
    ) {
        self.interrupt = interrupt
        self.clock = clock
        var core = Core()
        core.state.checked = core.time(clock())
        self.core = Mutex(core)
        guard let loop else { return }
        let timer = DeviceTimer(
            loop: loop, delay: { [weak self] in self?.nextDelay() }, fire: { [weak self] in self?.update() })
        self.timer.withLock { $0 = timer }
    }

    // MARK: Bus

    /// Registers are 32 bits wide; a part of one is read as such.
    package func read(at offset: UInt64, width: Int) -> UInt64 {
        let now = clock()
        let value = core.withLock { core in
            core.update(now)
            interrupt.updateLevel(&core.isAsserted, core.isInterrupting)
            return core.read(offset & ~3, now)
        }
        let part = UInt64(value) >> (8 * (offset & 3))
        return width >= 4 ? part : part & ((1 << (8 * UInt64(max(width, 1)))) - 1)
    }

    /// Only a whole register can be written.
    package func write(_ value: UInt64, at offset: UInt64, width: Int) {
        guard offset & 3 == 0, width >= 4 else { return }
        let now = clock()
        core.withLock { core in
            core.update(now)
            core.write(UInt32(truncatingIfNeeded: value), offset, now)
            interrupt.updateLevel(&core.isAsserted, core.isInterrupting)
        }
        plan()
    }

    // MARK: Alarm

    private func plan() {
        timer.withLock { $0 }?.plan()
    }

    /// Nothing to wait for unless the guest is to hear of it.
    private func nextDelay() -> Int64? {
        let now = clock()
        return core.withLock { core in
            guard core.state.isInterruptEnabled, !core.state.isInterruptRaised else { return nil }
            let seconds = Int64(core.state.match &- core.time(now))
            return max(0, seconds * 1000 - now / 1000 % 1000)
        }
    }

    private func update() {
        let now = clock()
        core.withLock { core in
            core.update(now)
            interrupt.updateLevel(&core.isAsserted, core.isInterrupting)
        }
    }

    // MARK: State

    /// The alarm is off, the time stays.
    package func reset() {
        core.withLock { core in
            core.state.match = 0
            core.state.load = 0
            core.state.isInterruptEnabled = false
            core.state.isInterruptRaised = false
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
