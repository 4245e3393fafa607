/// ACPI's timer: a counter of 3.579545 MHz that never stops (ACPI 6.4, 4.8.2.1).
struct PowerManagementTimer {
    /// In Hz.
    static let frequency: Int64 = 3_579_545

    private static let second: Int64 = 1_000_000

    let isExtended: Bool
    /// The count at the clock's zero.
    private var base: Int64 = 0

    /// - Parameters:
    ///   - isExtended: 32 bits instead of 24.
    ///   - start: when the count is 0, in microseconds.
    init(isExtended: Bool, start: Int64) {
        self.isExtended = isExtended
        set(0, start)
    }

    /// All counts so far, beyond the register's width.
    func count(_ now: Int64) -> Int64 { PowerManagementTimer.ticks(now) &+ base }

    /// What the register shows.
    func value(_ now: Int64) -> UInt32 {
        let count = UInt32(truncatingIfNeeded: count(now))
        return isExtended ? count : count & 0x00FF_FFFF
    }

    mutating func set(_ count: Int64, _ now: Int64) {
        base = count &- PowerManagementTimer.ticks(now)
    }

    /// TMR_STS is set with each change of the highest bit: counts between two.
    var halfPeriod: Int64 { isExtended ? 1 << 31 : 1 << 23 }

    /// Milliseconds until the highest bit changes.
    func untilChange(_ now: Int64) -> Int64 {
        let rest = halfPeriod - (count(now) & (halfPeriod - 1))
        return (rest * 1000 + PowerManagementTimer.frequency - 1) / PowerManagementTimer.frequency
    }

    private static func ticks(_ microseconds: Int64) -> Int64 {
        let whole = microseconds / second
        return whole &* frequency &+ (microseconds % second) * frequency / second
    }
}
