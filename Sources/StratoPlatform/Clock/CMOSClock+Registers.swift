// Registers of the MC146818A (Motorola data sheet, "address map" and "registers"), and what a PC keeps in the memory behind them.

extension CMOSClock {
    /// Offsets from the first port. The four repeat (Intel ICH9 data sheet, 316972, 13.6.1).
    enum Port {
        static let index: UInt64 = 0
        static let data: UInt64 = 1
        static let extendedIndex: UInt64 = 2
        static let extendedData: UInt64 = 3
        static let mask: UInt64 = 3
    }

    /// Address map.
    enum Register {
        static let second = 0x00
        static let secondAlarm = 0x01
        static let minute = 0x02
        static let minuteAlarm = 0x03
        static let hour = 0x04
        static let hourAlarm = 0x05
        static let weekday = 0x06
        static let day = 0x07
        static let month = 0x08
        static let year = 0x09
        static let a = 0x0A
        static let b = 0x0B
        static let c = 0x0C
        static let d = 0x0D
        /// What the FADT's CENTURY field names (ACPI 6.4, 5.2.9).
        static let century = 0x32

        /// Those that follow from the time.
        static func isTime(_ index: Int) -> Bool {
            switch index {
            case second, minute, hour, weekday, day, month, year, century: true
            default: false
            }
        }
    }

    /// "Register A".
    enum RegisterA {
        static let updateInProgress: UInt8 = 1 << 7
        static let divider: UInt8 = 0x70
        /// Both settings of the divider with these bits hold it in reset.
        static let dividerReset: UInt8 = 0x60
        static let rate: UInt8 = 0x0F
        /// A 32 768 Hz crystal; 1024 Hz.
        static let initial: UInt8 = 0x26
    }

    /// "Register B".
    enum RegisterB {
        static let is24Hour: UInt8 = 1 << 1
        static let isBinary: UInt8 = 1 << 2
        static let squareWave: UInt8 = 1 << 3
        static let updateInterrupt: UInt8 = 1 << 4
        static let alarmInterrupt: UInt8 = 1 << 5
        static let periodicInterrupt: UInt8 = 1 << 6
        static let set: UInt8 = 1 << 7
        static let interrupts = updateInterrupt | alarmInterrupt | periodicInterrupt
    }

    /// "Register C".
    enum RegisterC {
        static let updateFlag: UInt8 = 1 << 4
        static let alarmFlag: UInt8 = 1 << 5
        static let periodicFlag: UInt8 = 1 << 6
        static let interruptFlag: UInt8 = 1 << 7
        static let flags = updateFlag | alarmFlag | periodicFlag
        static let implemented = flags | interruptFlag
    }

    /// "Register D": valid RAM and time.
    static let registerD: UInt8 = 0x80

    /// An alarm byte from here on matches everything ("time, calendar and alarm locations").
    static let alarmWildcard: UInt8 = 0xC0

    /// The hour's bit for the afternoon while hours go to 12.
    static let afternoon: UInt8 = 1 << 7

    /// The update-in-progress bit is set at least this long before the time changes, in microseconds (t_BUC).
    static let updateWarning: Int64 = 244

    /// Where firmware looks for the memory's size when nobody else tells it.
    enum Memory {
        /// Below 640 KiB, in KiB, 16 bits.
        static let base = 0x15
        /// From 1 MiB on, in KiB, 16 bits, twice.
        static let extended = 0x17
        static let extendedCopy = 0x30
        /// From 16 MiB on and below 4 GiB, in units of 64 KiB, 16 bits.
        static let above16MiB = 0x34
        /// From 4 GiB on, in units of 64 KiB, 24 bits.
        static let above4GiB = 0x5B

        static let baseKiB: UInt64 = 640
    }
}
