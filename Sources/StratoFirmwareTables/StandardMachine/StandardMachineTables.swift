/// The ACPI tables of the standard machine on x86_64: a q35 with PCI Express, an ICH9's power management, and ISA devices behind
/// its LPC bridge.
///
/// A value describes the machine as it is at one time. Firmware may move PCI's configuration space and chooses the windows,
/// so that the tables are made anew when it asks for them.
package struct StandardMachineTables: Sendable, Equatable {
    package typealias SerialPort = SerialPortDescription
    package typealias EventDevice = EventDeviceDescription

    /// What the operating system may take over from firmware (PCI Firmware Specification 3.2, 4.5.1: the control field of `_OSC`).
    package struct NativeControl: OptionSet, Sendable {
        package let rawValue: UInt32

        package init(rawValue: UInt32) {
            self.rawValue = rawValue
        }

        package static let hotPlug = NativeControl(rawValue: 1 << 0)
        package static let powerManagementEvents = NativeControl(rawValue: 1 << 2)
        package static let advancedErrorReporting = NativeControl(rawValue: 1 << 3)
        package static let expressCapability = NativeControl(rawValue: 1 << 4)
    }

    /// The register block of power management (ICH9 data sheet, 13.8.3).
    package struct PowerManagement: Sendable, Equatable {
        /// In bytes; the base is a multiple of it.
        package static let size: UInt8 = 0x80

        static let controlOffset: UInt16 = 0x04
        static let timerOffset: UInt16 = 0x08

        /// Registers of general-purpose events: the first half is status, the second enables.
        package struct GeneralPurposeEvents: Sendable, Equatable {
            /// Where an ICH9 has them, and how many bytes.
            package static let ich9 = GeneralPurposeEvents(offset: 0x20, size: 16)

            /// Behind the base of the block.
            package var offset: UInt16

            /// In bytes, an even number.
            package var size: UInt8

            package init(offset: UInt16, size: UInt8) {
                self.offset = offset
                self.size = size
            }
        }

        package var base: UInt16

        /// The system control interrupt: level-triggered and active high.
        package var interrupt: UInt8

        /// nil if there are none.
        package var generalPurposeEvents: GeneralPurposeEvents?

        package init(base: UInt16 = 0x600, interrupt: UInt8 = 9, generalPurposeEvents: GeneralPurposeEvents? = nil) {
            self.base = base
            self.interrupt = interrupt
            self.generalPurposeEvents = generalPurposeEvents
        }
    }

    /// fw_cfg's ports.
    package struct FirmwareConfiguration: Sendable, Equatable {
        package var port: UInt16

        /// In bytes: selector, data and the DMA register.
        package var size: UInt8

        package init(port: UInt16 = 0x510, size: UInt8 = 12) {
            self.port = port
            self.size = size
        }
    }

    /// The CMOS clock.
    package struct Clock: Sendable, Equatable {
        package var port: UInt16

        /// The number of ports.
        package var size: UInt8

        /// The global system interrupt, edge-triggered and active high.
        package var interrupt: UInt32

        /// The index of the byte with the century, 0 if there is none.
        package var centuryIndex: UInt8

        package init(port: UInt16 = 0x70, size: UInt8 = 8, interrupt: UInt32 = 8, centuryIndex: UInt8 = 0x32) {
            self.port = port
            self.size = size
            self.interrupt = interrupt
            self.centuryIndex = centuryIndex
        }
    }

    /// The I/O APIC's pins of the interrupt links `GSI0`...`GSI3`: INTx of a device in slot s at pin p (A is 0) goes to
    /// the link (s + p) mod 4.
    package static let linkInterrupts: ClosedRange<UInt32> = 16...19

    /// The pins of the I/O APIC.
    package static let interruptCount: UInt32 = 24

    /// More windows than any firmware makes.
    package static let highestWindowCount = 64

    /// The sleep type of S5 in `_S5`, in PM1 control and in the sleep control register.
    package static let softOffSleepType: UInt8 = 5

    /// Where the tables go if there is no firmware. The RSDP is last, where the operating system's scan finds it
    /// (ACPI 6.5, 5.2.5.1).
    package static let tableBase: UInt64 = 0xD_0000
    package static let rsdpAddress: UInt64 = 0xE_FFC0

    /// One per processor, in the order of their numbers.
    package var apicIDs: [UInt32]
    package var localAPICAddress: UInt32 = 0xFEE0_0000
    package var ioAPICAddress: UInt32 = 0xFEC0_0000

    /// Beside the SCI's: ISA interrupts that are not edge-triggered, active high and at the pin of their number.
    package var interruptOverrides: [MADT.InterruptSourceOverride] = []

    /// PCI's configuration space in memory, nil while it is switched off.
    package var configurationSpace: MCFG.Window?

    /// The memory that PCI devices are placed in. What configuration space takes of it is left out by itself.
    package var windows: [PhysicalRange]
    package var nativeControl: NativeControl = [.hotPlug, .powerManagementEvents, .advancedErrorReporting, .expressCapability]

    package var powerManagement = PowerManagement()
    package var eventDevice: EventDevice
    package var serialPort: SerialPort?
    package var clock: Clock? = Clock()
    package var firmwareConfiguration: FirmwareConfiguration?
    package var sleepControlPort: UInt16 = 0xCE9
    package var sleepStatusPort: UInt16 = 0xCEA
    package var resetPort: UInt16 = 0xCF9
    package var resetValue: UInt8 = 0x0F

    /// See `FACS.encode`.
    package var hardwareSignature: UInt32 = 0

    /// Number n is proximity domain n; without nodes there is no SRAT.
    package var nodes: [NUMANode] = []

    /// Row n has the distances from node n; without rows there is no SLIT.
    package var distances: [[UInt8]] = []

    package init(
        apicIDs: [UInt32], configurationSpace: MCFG.Window?, windows: [PhysicalRange], eventDevice: EventDevice
    ) {
        self.apicIDs = apicIDs
        self.configurationSpace = configurationSpace
        self.windows = windows
        self.eventDevice = eventDevice
    }

    /// The tables in low memory for a machine that boots without firmware; the last is the RSDP.
    ///
    /// - Throws: `FirmwareTableError` if they do not fit between `tableBase` and `rsdpAddress`, or if the description is wrong:
    ///   windows, configuration space, NUMA nodes or interrupts that overlap or go beyond what can be addressed, or no
    ///   processor, processors with the same id, or none left for the I/O APIC.
    package func place() throws(FirmwareTableError) -> [PlacedBytes] {
        let (image, xsdt) = try image()
        let limit = Int(StandardMachineTables.rsdpAddress - StandardMachineTables.tableBase)
        guard image.bytes.count <= limit else {
            throw FirmwareTableError("the ACPI tables take \(image.bytes.count) bytes, more than their \(limit)")
        }
        return image.placed(at: StandardMachineTables.tableBase)
            + StandardMachineTables.pointerImage(to: xsdt)
            .placed(at: StandardMachineTables.rsdpAddress, pointingInto: StandardMachineTables.tableBase)
    }

    /// The tables as firmware gets them through fw_cfg.
    ///
    /// - Parameter size: of the file with the tables, in bytes. Without it, the size that the tables need and some space. When
    ///   they are made anew, the size of the first ones: firmware knows it already.
    /// - Returns: the files.
    /// - Throws: `FirmwareTableError` as `place` does, and if the tables do not fit into `size`.
    package func files(size: Int? = nil) throws(FirmwareTableError) -> ACPITableFiles {
        let (image, xsdt) = try image()
        return try ACPITableFiles(tables: image, pointer: StandardMachineTables.pointerImage(to: xsdt), size: size)
    }

    /// - Returns: the tables, and the offset of the XSDT.
    private func image() throws(FirmwareTableError) -> (ACPITableImage, xsdt: Int) {
        let ioAPICIdentifier = try check()
        var image = ACPITableImage()
        let facs = image.add(FACS.encode(hardwareSignature: hardwareSignature), alignment: FACS.alignment, checksums: [])
        let dsdt = image.add(DSDT.encode(try ASL.standardMachine(self)))
        var listed = [
            image.add(fadt(facs: facs, dsdt: dsdt), pointers: StandardMachineTables.pointersOfFADT),
            image.add(madt(ioAPICIdentifier: ioAPICIdentifier)),
        ]
        if let configurationSpace {
            listed.append(image.add(MCFG.encode(configurationSpace)))
        }
        if !nodes.isEmpty {
            listed.append(image.add(SRAT.encode(nodes, apicIDs: apicIDs)))
        }
        if !distances.isEmpty {
            listed.append(image.add(try SLIT.encode(distances)))
        }
        let pointers = listed.indices.map { ACPITableImage.Pointer(offset: ACPITable.headerSize + $0 * 8, width: 8) }
        let xsdt = image.add(XSDT.encode(listed.map { UInt64($0) }), pointers: pointers)
        return (image, xsdt)
    }

    static func pointerImage(to xsdt: Int) -> ACPITableImage {
        var image = ACPITableImage()
        _ = image.add(
            RSDP.encode(xsdt: UInt64(xsdt)),
            pointers: [.init(offset: RSDP.xsdtOffset, width: 8)],
            checksums: [
                .init(offset: RSDP.firstChecksumOffset, range: 0..<RSDP.firstPartSize),
                .init(offset: RSDP.checksumOffset, range: 0..<RSDP.size),
            ])
        return image
    }

    private static let pointersOfFADT: [ACPITableImage.Pointer] = [
        .init(offset: FADT.firmwareControlOffset, width: 4),
        .init(offset: FADT.dsdtOffset, width: 4),
        .init(offset: FADT.extendedFirmwareControlOffset, width: 8),
        .init(offset: FADT.extendedDSDTOffset, width: 8),
    ]

    private func fadt(facs: Int, dsdt: Int) -> [UInt8] {
        let events = powerManagement.base
        let control = events &+ PowerManagement.controlOffset
        let timer = events &+ PowerManagement.timerOffset
        var table = FADT()
        table.firmwareControl = UInt32(clamping: facs)
        table.dsdt = UInt32(clamping: dsdt)
        // No SMI command port: the machine is in ACPI mode from the start (4.8.2.5).
        table.sciInterrupt = UInt16(powerManagement.interrupt)
        table.pm1aEventBlock = UInt32(events)
        table.pm1EventLength = 4
        table.extendedPM1aEventBlock = GenericAddress(.systemIO, width: 32, accessWidth: 16, address: UInt64(events))
        table.pm1aControlBlock = UInt32(control)
        table.pm1ControlLength = 2
        table.extendedPM1aControlBlock = GenericAddress(.systemIO, width: 16, address: UInt64(control))
        table.pmTimerBlock = UInt32(timer)
        table.pmTimerLength = 4
        table.extendedPMTimerBlock = GenericAddress(.systemIO, width: 32, address: UInt64(timer))
        if let events = powerManagement.generalPurposeEvents {
            let port = powerManagement.base &+ events.offset
            table.gpe0Block = UInt32(port)
            table.gpe0BlockLength = events.size
            table.extendedGPE0Block = GenericAddress(
                .systemIO, width: UInt8(clamping: Int(events.size) * 8), accessWidth: 8, address: UInt64(port))
        }
        table.century = clock?.centuryIndex ?? 0
        // The keyboard controller's flag stays clear although the reset command works: a driver would wait for the rest.
        table.bootArchitecture = [.legacyDevices, .noVGA]
        if clock == nil { table.bootArchitecture.insert(.noCMOSClock) }
        table.flags = [
            .wbinvd, .c1OnAllProcessors, .powerButtonIsNotFixed, .sleepButtonIsNotFixed, .alarmIsNotFixed, .resetRegister,
        ]
        table.resetRegister = GenericAddress(.systemIO, width: 8, address: UInt64(resetPort))
        table.resetValue = resetValue
        table.sleepControlRegister = GenericAddress(.systemIO, width: 8, address: UInt64(sleepControlPort))
        table.sleepStatusRegister = GenericAddress(.systemIO, width: 8, address: UInt64(sleepStatusPort))
        table.hypervisorVendor = ACPITable.oemIdentifier
        return table.encode()
    }

    private func madt(ioAPICIdentifier: UInt8) -> [UInt8] {
        let sci = MADT.InterruptSourceOverride(
            source: powerManagement.interrupt, globalSystemInterrupt: UInt32(powerManagement.interrupt),
            isLevelTriggered: true)
        return MADT(
            apicIDs: apicIDs, localAPICAddress: localAPICAddress, ioAPICIdentifier: ioAPICIdentifier,
            ioAPICAddress: ioAPICAddress, overrides: interruptOverrides + [sci]
        ).encode()
    }
}
