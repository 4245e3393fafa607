/// A point in time as people write it, in the Gregorian calendar without leap seconds.
struct CalendarTime: Equatable {
    /// 0...9999 where it was made of registers.
    var year: Int64
    /// 1...12.
    var month: Int64
    /// 1...31.
    var day: Int64
    /// 0...23.
    var hour: Int64
    /// 0...59.
    var minute: Int64
    /// 0...59.
    var second: Int64

    static let secondsPerDay: Int64 = 86400
    /// Of 400 years, after which the calendar repeats.
    private static let daysPerEra: Int64 = 146_097
    /// Days from 1 March of the year 0 to 1 January 1970.
    private static let daysToEpoch: Int64 = 719_468

    init(year: Int64, month: Int64, day: Int64, hour: Int64, minute: Int64, second: Int64) {
        self.year = year
        self.month = month
        self.day = day
        self.hour = hour
        self.minute = minute
        self.second = second
    }

    /// - Parameter seconds: since 1970.
    init(seconds: Int64) {
        let days = CalendarTime.floorDivide(seconds, CalendarTime.secondsPerDay)
        let time = seconds - days * CalendarTime.secondsPerDay
        // Years are counted from March, so that a leap day is the last of its year.
        let shifted = days + CalendarTime.daysToEpoch
        let era = CalendarTime.floorDivide(shifted, CalendarTime.daysPerEra)
        let dayOfEra = shifted - era * CalendarTime.daysPerEra
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        hour = time / 3600
        minute = time / 60 % 60
        second = time % 60
    }

    /// Since 1970. A day that its month does not have is one of the next month.
    var seconds: Int64 {
        let shiftedYear = month <= 2 ? year - 1 : year
        let era = CalendarTime.floorDivide(shiftedYear, 400)
        let yearOfEra = shiftedYear - era * 400
        let monthFromMarch = month > 2 ? month - 3 : month + 9
        let dayOfYear = (153 * monthFromMarch + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        let days = era * CalendarTime.daysPerEra + dayOfEra - CalendarTime.daysToEpoch
        return days * CalendarTime.secondsPerDay + hour * 3600 + minute * 60 + second
    }

    /// 1 for Sunday to 7.
    static func weekday(seconds: Int64) -> Int64 {
        // 1 January 1970 was a Thursday.
        let days = floorDivide(seconds, secondsPerDay) + 4
        return days - floorDivide(days, 7) * 7 + 1
    }

    static func floorDivide(_ value: Int64, _ divisor: Int64) -> Int64 {
        let quotient = value / divisor
        return value % divisor < 0 ? quotient - 1 : quotient
    }
}
