extension CMOSClock {
    /// The chip without its surroundings. Times are in microseconds; `now` is the host's.
    struct Core: ~Copyable {
        private static let second: Int64 = 1_000_000
        /// Of the crystal, in Hz.
        private static let crystal: Int64 = 32768

        var state: State
        /// The interrupt line, as of the last look.
        var isAsserted = false
        private var isPlanRequested = false
        private var memorySize: (below: UInt64, above: UInt64)?

        init(offset: Int64, now: Int64) {
            state = State()
            state.offset = offset
            state.checked = now &+ offset
        }

        var index: UInt8 {
            get { state.index }
            set { state.index = newValue }
        }

        var extendedIndex: UInt8 {
            get { state.extendedIndex }
            set { state.extendedIndex = newValue }
        }

        var extended: [UInt8] {
            get { state.extended }
            _modify { yield &state.extended }
        }

        private subscript(register: Int) -> UInt8 {
            get { state.registers[register] }
            set { state.registers[register] = newValue }
        }

        // MARK: Time

        private func guestTime(_ now: Int64) -> Int64 { now &+ state.offset }

        private static func seconds(_ time: Int64) -> Int64 { CalendarTime.floorDivide(time, second) }

        private static func fraction(_ time: Int64) -> Int64 { time &- seconds(time) * second }

        /// The time stands still and can be set.
        private var isHalted: Bool { self[Register.b] & RegisterB.set != 0 || isDividerReset }

        private var isDividerReset: Bool {
            self[Register.a] & RegisterA.dividerReset == RegisterA.dividerReset
        }

        private func encode(_ value: Int64) -> UInt8 {
            let value = UInt8(truncatingIfNeeded: value)
            return self[Register.b] & RegisterB.isBinary != 0 ? value : (value / 10) << 4 | value % 10
        }

        private func decode(_ value: UInt8) -> Int64 {
            Int64(self[Register.b] & RegisterB.isBinary != 0 ? value : (value >> 4) * 10 + (value & 0x0F))
        }

        private func encodeHour(_ hour: Int64) -> UInt8 {
            guard self[Register.b] & RegisterB.is24Hour == 0 else { return encode(hour) }
            let value = encode(hour % 12 == 0 ? 12 : hour % 12)
            return hour >= 12 ? value | CMOSClock.afternoon : value
        }

        private func decodeHour(_ value: UInt8) -> Int64 {
            guard self[Register.b] & RegisterB.is24Hour == 0 else { return decode(value) }
            return decode(value & ~CMOSClock.afternoon) % 12 + (value & CMOSClock.afternoon != 0 ? 12 : 0)
        }

        /// Puts a time into the registers.
        private mutating func show(_ time: Int64) {
            let seconds = Core.seconds(time)
            let calendar = CalendarTime(seconds: seconds)
            self[Register.second] = encode(calendar.second)
            self[Register.minute] = encode(calendar.minute)
            self[Register.hour] = encodeHour(calendar.hour)
            self[Register.weekday] = encode(CalendarTime.weekday(seconds: seconds))
            self[Register.day] = encode(calendar.day)
            self[Register.month] = encode(calendar.month)
            let century = CalendarTime.floorDivide(calendar.year, 100)
            self[Register.year] = encode(calendar.year - century * 100)
            self[Register.century] = encode(century - CalendarTime.floorDivide(century, 100) * 100)
        }

        /// The time in the registers, in seconds; what no calendar has is brought to the nearest that it has.
        private var shownSeconds: Int64 {
            CalendarTime(
                year: min(decode(self[Register.century]), 99) * 100 + min(decode(self[Register.year]), 99),
                month: min(max(decode(self[Register.month]), 1), 12),
                day: min(max(decode(self[Register.day]), 1), 31),
                hour: min(decodeHour(self[Register.hour]), 23),
                minute: min(decode(self[Register.minute]), 59),
                second: min(decode(self[Register.second]), 59)
            ).seconds
        }

        /// Lets the clock go on from what the registers hold, `fraction` of a second later.
        private mutating func adopt(fraction: Int64, _ now: Int64) {
            let time = shownSeconds * Core.second + fraction
            state.offset = time &- now
            state.checked = time
        }

        // MARK: Access

        mutating func read(_ now: Int64) -> UInt8 {
            let index = Int(state.index)
            switch index {
            case Register.a:
                return self[Register.a] | (isUpdateNear(now) ? RegisterA.updateInProgress : 0)
            case Register.c:
                update(now)
                let value = self[Register.c]
                self[Register.c] = 0
                if value & RegisterC.interruptFlag != 0 { isPlanRequested = true }
                return value
            case Register.d:
                return CMOSClock.registerD
            default:
                if Register.isTime(index), !isHalted { show(guestTime(now)) }
                return self[index]
            }
        }

        private func isUpdateNear(_ now: Int64) -> Bool {
            !isHalted && Core.fraction(guestTime(now)) >= Core.second - CMOSClock.updateWarning
        }

        mutating func write(_ value: UInt8, _ now: Int64) {
            let index = Int(state.index)
            update(now)
            switch index {
            case Register.a, Register.b:
                control(index, value, now)
            case Register.c, Register.d:
                break
            case Register.secondAlarm, Register.minuteAlarm, Register.hourAlarm:
                self[index] = value
                isPlanRequested = true
            default:
                guard Register.isTime(index), !isHalted else {
                    self[index] = value
                    return
                }
                let time = guestTime(now)
                show(time)
                self[index] = value
                adopt(fraction: Core.fraction(time), now)
                isPlanRequested = true
            }
        }

        private mutating func control(_ index: Int, _ value: UInt8, _ now: Int64) {
            let wasHalted = isHalted
            let wasDividerReset = isDividerReset
            let haltTime = guestTime(now)
            if index == Register.a {
                self[Register.a] = value & ~RegisterA.updateInProgress
            } else {
                self[Register.b] = value
                // "SET ... clears UIE".
                if value & RegisterB.set != 0 { self[Register.b] &= ~RegisterB.updateInterrupt }
            }
            if wasDividerReset, !isDividerReset {
                // The first update comes half a second after the divider's reset ends ("divider control").
                state.offset &+= Core.second / 2 - Core.fraction(haltTime)
            }
            switch (wasHalted, isHalted) {
            case (false, true):
                show(haltTime)
            case (true, false):
                adopt(fraction: Core.fraction(guestTime(now)), now)
            default:
                break
            }
            raiseInterruptFlag()
            isPlanRequested = true
        }

        // MARK: Flags

        /// Sets the flags of what has happened since the last call.
        mutating func update(_ now: Int64) {
            let time = guestTime(now)
            let last = state.checked
            state.checked = time
            guard !isHalted, time > last else { return }
            if Core.seconds(time) > Core.seconds(last) {
                self[Register.c] |= RegisterC.updateFlag
                if let alarm = nextAlarm(after: Core.seconds(last)), alarm <= Core.seconds(time) {
                    self[Register.c] |= RegisterC.alarmFlag
                }
            }
            if let shift = periodShift, Core.ticks(time) >> shift > Core.ticks(last) >> shift {
                self[Register.c] |= RegisterC.periodicFlag
            }
            raiseInterruptFlag()
        }

        private mutating func raiseInterruptFlag() {
            if self[Register.c] & self[Register.b] & RegisterC.flags != 0 {
                self[Register.c] |= RegisterC.interruptFlag
            }
        }

        var isInterrupting: Bool { self[Register.c] & RegisterC.interruptFlag != 0 }

        /// Periods of the crystal since 1970.
        private static func ticks(_ time: Int64) -> Int64 {
            let seconds = Core.seconds(time)
            return seconds &* crystal &+ (time &- seconds &* second) * crystal / second
        }

        /// The periodic interrupt's interval as a power of two of the crystal's (table "periodic interrupt rate"); nil for none.
        private var periodShift: Int64? {
            switch self[Register.a] & RegisterA.rate {
            case 0: nil
            case 1: 7
            case 2: 8
            case let rate: Int64(rate) - 1
            }
        }

        /// What an alarm byte matches of 0..<limit.
        private func alarmValues(_ register: Int, _ limit: Int64) -> Range<Int64> {
            let byte = self[register]
            guard byte < CMOSClock.alarmWildcard else { return 0..<limit }
            let only = register == Register.hourAlarm ? decodeHour(byte) : decode(byte)
            return only < limit ? only..<only + 1 : 0..<0
        }

        /// The first second after another that the alarm bytes match; nil if they match none.
        private func nextAlarm(after seconds: Int64) -> Int64? {
            let hours = alarmValues(Register.hourAlarm, 24)
            let minutes = alarmValues(Register.minuteAlarm, 60)
            let moments = alarmValues(Register.secondAlarm, 60)
            guard !moments.isEmpty else { return nil }
            let midnight = CalendarTime.floorDivide(seconds, CalendarTime.secondsPerDay) * CalendarTime.secondsPerDay
            let earliest = seconds + 1
            for day in 0...1 {
                for hour in hours {
                    let hourStart = midnight + Int64(day) * CalendarTime.secondsPerDay + hour * 3600
                    guard hourStart + 3599 >= earliest else { continue }
                    for minute in minutes {
                        let minuteStart = hourStart + minute * 60
                        // Later ones of a minute that has begun may still match.
                        let first = max(moments.lowerBound, earliest - minuteStart)
                        if first < moments.upperBound { return minuteStart + first }
                    }
                }
            }
            return nil
        }

        // MARK: Interrupts

        /// True once after something that changes when the next interrupt is due.
        mutating func takePlanRequest() -> Bool {
            defer { isPlanRequested = false }
            return isPlanRequested
        }

        /// Milliseconds until the next interrupt; nil while none can come.
        func nextEvent(_ now: Int64) -> Int64? {
            let enabled = self[Register.b] & RegisterB.interrupts
            guard enabled != 0, !isHalted, !isInterrupting else { return nil }
            let time = guestTime(now)
            // Counted from what has been looked at: what has come since is due at once.
            let last = min(state.checked, time)
            var next = Int64.max
            if enabled & RegisterB.updateInterrupt != 0 {
                next = min(next, (Core.seconds(last) + 1) * Core.second)
            }
            if enabled & RegisterB.alarmInterrupt != 0, let alarm = nextAlarm(after: Core.seconds(last)) {
                next = min(next, alarm * Core.second)
            }
            if enabled & RegisterB.periodicInterrupt != 0, let shift = periodShift {
                let tick = ((Core.ticks(last) >> shift) + 1) << shift
                let seconds = CalendarTime.floorDivide(tick, Core.crystal)
                let rest = tick - seconds * Core.crystal
                next = min(next, seconds * Core.second + (rest * Core.second + Core.crystal - 1) / Core.crystal)
            }
            guard next < Int64.max else { return nil }
            return max(0, (next &- time &+ 999) / 1000)
        }

        // MARK: Memory

        mutating func setMemorySize(_ below: UInt64, _ above: UInt64) {
            memorySize = (below, above)
            put(Memory.baseKiB, at: Memory.base, bytes: 2)
            let extended = below > 1 << 20 ? (below - (1 << 20)) >> 10 : 0
            put(extended, at: Memory.extended, bytes: 2)
            put(extended, at: Memory.extendedCopy, bytes: 2)
            put(below > 16 << 20 ? (below - (16 << 20)) >> 16 : 0, at: Memory.above16MiB, bytes: 2)
            put(above >> 16, at: Memory.above4GiB, bytes: 3)
        }

        /// Little-endian; what is too large is as large as it can be.
        private mutating func put(_ value: UInt64, at index: Int, bytes: Int) {
            let value = min(value, (1 << UInt64(8 * bytes)) - 1)
            for byte in 0..<bytes { self[index + byte] = UInt8(truncatingIfNeeded: value >> UInt64(8 * byte)) }
        }

        mutating func reset() {
            self[Register.b] &= ~(RegisterB.interrupts | RegisterB.squareWave)
            self[Register.c] = 0
            if let memorySize { setMemorySize(memorySize.below, memorySize.above) }
        }
    }
}
