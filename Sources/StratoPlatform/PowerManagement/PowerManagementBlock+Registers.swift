// Intel I/O Controller Hub 9 data sheet, 316972, 13.8.3 "power management I/O registers", and ACPI 6.4, 4.8.3.

extension PowerManagementBlock {
    /// Offsets of 32-bit words from PMBASE.
    enum Word {
        /// PM1_STS in the lower half, PM1_EN in the upper (13.8.3.1, 13.8.3.2).
        static let event: UInt64 = 0x00
        /// PM1_CNT (13.8.3.3).
        static let control: UInt64 = 0x04
        /// PM1_TMR (13.8.3.4).
        static let timer: UInt64 = 0x08
        /// GPE0_STS, 64 bits (13.8.3.6).
        static let generalStatusLow: UInt64 = 0x20
        static let generalStatusHigh: UInt64 = 0x24
        /// GPE0_EN, 64 bits (13.8.3.7).
        static let generalEnableLow: UInt64 = 0x28
        static let generalEnableHigh: UInt64 = 0x2C
        /// SMI_EN (13.8.3.8).
        static let systemManagementEnable: UInt64 = 0x30
    }

    /// Bits of PM1_STS, at the same place in PM1_EN (ACPI 6.4, tables 4.12 and 4.13).
    enum Event {
        static let timer: UInt16 = 1 << 0
        static let globalLock: UInt16 = 1 << 5
        static let powerButton: UInt16 = 1 << 8
        static let clock: UInt16 = 1 << 10
        static let wake: UInt16 = 1 << 15
        static let status = timer | globalLock | powerButton | clock | wake
        static let enable = timer | globalLock | powerButton | clock
    }

    /// PM1_CNT (ACPI 6.4, table 4.14).
    enum Control {
        /// Always set here: there is no other mode, and no command that would leave it (FADT.SMI_CMD is 0).
        static let isACPI: UInt32 = 1 << 0
        /// Bus master reload; no processor state here depends on it.
        static let busMasterReload: UInt32 = 1 << 1
        static let sleepTypeShift: UInt32 = 10
        static let sleepTypeMask: UInt32 = 0b111 << sleepTypeShift
        /// Written only.
        static let sleepEnable: UInt32 = 1 << 13
        static let stored = busMasterReload | sleepTypeMask
    }

    /// Values of SLP_TYP that turn the machine off.
    enum SleepType {
        /// What OVMF's reset library writes for a shutdown.
        static let firmwareOff: UInt32 = 0
        /// S5 as the DSDT's `_S5` object names it.
        static let softOff: UInt32 = 5
        /// S5 of the hardware (13.8.3.3).
        static let hardwareOff: UInt32 = 7
    }
}
