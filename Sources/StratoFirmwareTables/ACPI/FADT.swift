/// The fixed ACPI description table, revision 6 (ACPI 6.5, 5.2.9). A field that is not set is zero: not there.
package struct FADT: Sendable, Equatable {
    /// What kind of machine it is, as a hint for power management (table 5.10).
    package enum PowerProfile: UInt8, Sendable {
        case unspecified = 0
        case enterpriseServer = 4
    }

    /// Fixed feature flags (table 5.10).
    package struct Flags: OptionSet, Sendable {
        package let rawValue: UInt32

        package init(rawValue: UInt32) {
            self.rawValue = rawValue
        }

        /// WBINVD flushes the caches and keeps memory coherent.
        package static let wbinvd = Flags(rawValue: 1 << 0)

        /// The C1 state is there on all processors.
        package static let c1OnAllProcessors = Flags(rawValue: 1 << 2)

        /// The power button is no fixed feature: a device, or not there.
        package static let powerButtonIsNotFixed = Flags(rawValue: 1 << 4)

        /// The sleep button is no fixed feature.
        package static let sleepButtonIsNotFixed = Flags(rawValue: 1 << 5)

        /// The clock's alarm is no fixed feature: it does not wake the machine.
        package static let alarmIsNotFixed = Flags(rawValue: 1 << 6)

        /// `resetRegister` works.
        package static let resetRegister = Flags(rawValue: 1 << 10)

        /// There is no display and no keyboard.
        package static let headless = Flags(rawValue: 1 << 12)

        /// None of the fixed register blocks is there, and no SCI.
        package static let hardwareReduced = Flags(rawValue: 1 << 20)
    }

    /// What of the PC's heritage is there (table 5.11).
    package struct BootArchitecture: OptionSet, Sendable {
        package let rawValue: UInt16

        package init(rawValue: UInt16) {
            self.rawValue = rawValue
        }

        /// User-visible devices on an LPC or ISA bus.
        package static let legacyDevices = BootArchitecture(rawValue: 1 << 0)

        /// A keyboard controller that can be probed.
        package static let keyboardController = BootArchitecture(rawValue: 1 << 1)

        /// VGA must not be probed.
        package static let noVGA = BootArchitecture(rawValue: 1 << 2)

        /// PCIe's active-state power management must not be used.
        package static let noASPM = BootArchitecture(rawValue: 1 << 4)

        /// The CMOS clock is not there.
        package static let noCMOSClock = BootArchitecture(rawValue: 1 << 5)
    }

    /// What aarch64 is told of its firmware (table 5.12).
    package struct ARMBootArchitecture: OptionSet, Sendable {
        package let rawValue: UInt16

        package init(rawValue: UInt16) {
            self.rawValue = rawValue
        }

        /// PSCI is there.
        package static let psci = ARMBootArchitecture(rawValue: 1 << 0)

        /// It is called by HVC, not by SMC.
        package static let usesHVC = ARMBootArchitecture(rawValue: 1 << 1)
    }

    package static let revision: UInt8 = 6
    package static let minorRevision: UInt8 = 5

    /// Where in the table the addresses of other tables stand.
    static let firmwareControlOffset = 36
    static let dsdtOffset = 40
    static let extendedFirmwareControlOffset = 132
    static let extendedDSDTOffset = 140

    /// 32-bit address of the FACS, 0 if there is none.
    package var firmwareControl: UInt32 = 0

    /// 32-bit address of the DSDT.
    package var dsdt: UInt32 = 0
    package var powerProfile = PowerProfile.unspecified
    package var sciInterrupt: UInt16 = 0
    package var smiCommandPort: UInt32 = 0
    package var acpiEnable: UInt8 = 0
    package var acpiDisable: UInt8 = 0
    package var pm1aEventBlock: UInt32 = 0
    package var pm1aControlBlock: UInt32 = 0
    package var pmTimerBlock: UInt32 = 0
    package var gpe0Block: UInt32 = 0
    package var pm1EventLength: UInt8 = 0
    package var pm1ControlLength: UInt8 = 0
    package var pmTimerLength: UInt8 = 0
    package var gpe0BlockLength: UInt8 = 0

    /// In microseconds; above 100 there is no C2.
    package var c2Latency: UInt16 = 101

    /// In microseconds; above 1000 there is no C3.
    package var c3Latency: UInt16 = 1001

    /// Index of the century in CMOS, 0 for none.
    package var century: UInt8 = 0
    package var bootArchitecture: BootArchitecture = []
    package var armBootArchitecture: ARMBootArchitecture = []
    package var flags: Flags = []
    package var resetRegister = GenericAddress.absent
    package var resetValue: UInt8 = 0
    package var extendedPM1aEventBlock = GenericAddress.absent
    package var extendedPM1aControlBlock = GenericAddress.absent
    package var extendedPMTimerBlock = GenericAddress.absent
    package var extendedGPE0Block = GenericAddress.absent
    package var sleepControlRegister = GenericAddress.absent
    package var sleepStatusRegister = GenericAddress.absent
    package var hypervisorVendor = ""

    package init() {}

    /// The whole table, in the order of table 5.9.
    package func encode() -> [UInt8] {
        var body = TableBytes()
        body.append(firmwareControl)
        body.append(dsdt)
        body.append(UInt8(0))  // Reserved, once INT_MODEL.
        body.append(powerProfile.rawValue)
        body.append(sciInterrupt)
        body.append(smiCommandPort)
        body.append(acpiEnable)
        body.append(acpiDisable)
        body.append(UInt8(0))  // S4BIOS_REQ
        body.append(UInt8(0))  // PSTATE_CNT
        body.append(pm1aEventBlock)
        body.append(UInt32(0))  // PM1b_EVT_BLK
        body.append(pm1aControlBlock)
        body.append(UInt32(0))  // PM1b_CNT_BLK
        body.append(UInt32(0))  // PM2_CNT_BLK
        body.append(pmTimerBlock)
        body.append(gpe0Block)
        body.append(UInt32(0))  // GPE1_BLK
        body.append(pm1EventLength)
        body.append(pm1ControlLength)
        body.append(UInt8(0))  // PM2_CNT_LEN
        body.append(pmTimerLength)
        body.append(gpe0BlockLength)
        body.append(UInt8(0))  // GPE1_BLK_LEN
        body.append(UInt8(0))  // GPE1_BASE
        body.append(UInt8(0))  // CST_CNT
        body.append(c2Latency)
        body.append(c3Latency)
        body.append(UInt16(0))  // FLUSH_SIZE
        body.append(UInt16(0))  // FLUSH_STRIDE
        body.append(UInt8(0))  // DUTY_OFFSET
        body.append(UInt8(0))  // DUTY_WIDTH
        body.append(UInt8(0))  // DAY_ALRM
        body.append(UInt8(0))  // MON_ALRM
        body.append(century)
        body.append(bootArchitecture.rawValue)
        body.append(UInt8(0))  // Reserved.
        body.append(flags.rawValue)
        resetRegister.encode(to: &body)
        body.append(resetValue)
        body.append(armBootArchitecture.rawValue)
        body.append(FADT.minorRevision)
        body.append(UInt64(firmwareControl))  // X_FIRMWARE_CTRL
        body.append(UInt64(dsdt))  // X_DSDT
        extendedPM1aEventBlock.encode(to: &body)
        GenericAddress.absent.encode(to: &body)  // X_PM1b_EVT_BLK
        extendedPM1aControlBlock.encode(to: &body)
        GenericAddress.absent.encode(to: &body)  // X_PM1b_CNT_BLK
        GenericAddress.absent.encode(to: &body)  // X_PM2_CNT_BLK
        extendedPMTimerBlock.encode(to: &body)
        extendedGPE0Block.encode(to: &body)
        GenericAddress.absent.encode(to: &body)  // X_GPE1_BLK
        sleepControlRegister.encode(to: &body)
        sleepStatusRegister.encode(to: &body)
        body.append(text: hypervisorVendor, width: 8, filler: 0)
        return ACPITable.encode(signature: "FACP", revision: FADT.revision, body: body.bytes)
    }
}
