extension PowerManagementBlock {
    /// The registers without their surroundings. `now` is in microseconds.
    struct Core: ~Copyable {
        private var registers = State()
        private var timer: PowerManagementTimer
        /// Changes of the timer's highest bit that TMR_STS has been set for.
        private var seenChanges: Int64 = 0
        /// The SCI, as of the last look.
        var isAsserted = false

        init(timer: PowerManagementTimer) {
            self.timer = timer
        }

        // MARK: State

        func state(_ now: Int64) -> State {
            var state = registers
            state.timerCount = timer.value(now)
            return state
        }

        mutating func load(_ state: State, _ now: Int64) {
            registers = state
            timer.set(Int64(state.timerCount), now)
            seenChanges = timer.count(now) / timer.halfPeriod
        }

        mutating func reset() {
            registers = State()
        }

        // MARK: Registers

        mutating func read(_ word: UInt64, _ now: Int64) -> UInt32 {
            switch word {
            case Word.event:
                updateTimerStatus(now)
                return UInt32(registers.status) | UInt32(registers.enable) << 16
            case Word.control:
                return registers.control | Control.isACPI
            case Word.timer:
                return timer.value(now)
            case Word.generalStatusLow:
                return UInt32(truncatingIfNeeded: registers.generalStatus)
            case Word.generalStatusHigh:
                return UInt32(truncatingIfNeeded: registers.generalStatus >> 32)
            case Word.generalEnableLow:
                return UInt32(truncatingIfNeeded: registers.generalEnable)
            case Word.generalEnableHigh:
                return UInt32(truncatingIfNeeded: registers.generalEnable >> 32)
            case Word.systemManagementEnable:
                return registers.systemManagementEnable
            default:
                return 0
            }
        }

        /// Writes those bits of a word that `mask` has; true if that turns the machine off.
        mutating func write(_ value: UInt32, mask: UInt32, _ word: UInt64) -> Bool {
            switch word {
            case Word.event:
                registers.status &= ~UInt16(truncatingIfNeeded: value)
                let enableMask = UInt16(truncatingIfNeeded: mask >> 16)
                let enable = registers.enable & ~enableMask | UInt16(truncatingIfNeeded: value >> 16)
                registers.enable = enable & Event.enable
            case Word.control:
                registers.control = (registers.control & ~mask | value) & Control.stored
                return value & Control.sleepEnable != 0 && isOff
            case Word.generalStatusLow:
                registers.generalStatus &= ~UInt64(value)
            case Word.generalStatusHigh:
                registers.generalStatus &= ~(UInt64(value) << 32)
            case Word.generalEnableLow:
                registers.generalEnable = registers.generalEnable & ~UInt64(mask) | UInt64(value)
            case Word.generalEnableHigh:
                registers.generalEnable = registers.generalEnable & ~(UInt64(mask) << 32) | UInt64(value) << 32
            case Word.systemManagementEnable:
                registers.systemManagementEnable = registers.systemManagementEnable & ~mask | value
            default:
                break
            }
            return false
        }

        private var isOff: Bool {
            switch (registers.control & Control.sleepTypeMask) >> Control.sleepTypeShift {
            case SleepType.firmwareOff, SleepType.softOff, SleepType.hardwareOff: true
            default: false
            }
        }

        // MARK: Events

        mutating func raise(_ event: UInt16) {
            registers.status |= event & Event.status
        }

        mutating func raiseGeneral(_ events: UInt64) {
            registers.generalStatus |= events
        }

        var isInterrupting: Bool {
            registers.status & registers.enable != 0 || registers.generalStatus & registers.generalEnable != 0
        }

        // MARK: Timer

        mutating func updateTimerStatus(_ now: Int64) {
            let changes = timer.count(now) / timer.halfPeriod
            guard changes != seenChanges else { return }
            seenChanges = changes
            registers.status |= Event.timer
        }

        /// Milliseconds until the timer interrupts; nil while it does not.
        func nextEvent(_ now: Int64) -> Int64? {
            guard registers.enable & Event.timer != 0, registers.status & Event.timer == 0 else { return nil }
            return timer.count(now) / timer.halfPeriod != seenChanges ? 0 : timer.untilChange(now)
        }
    }
}
