/// The ACPI tables of the standard machine on aarch64, hardware-reduced, for firmware: what the device tree says, in ACPI's words.
package struct ARMMachineTables: Sendable, Equatable {
    /// Has a serial port, PCI and fw_cfg.
    package var machine: ARMMachineTree
    package var eventDevice: EventDeviceDescription

    /// - Parameters:
    ///   - machine: what there is.
    ///   - eventDevice: where events come from; its interrupt is a global system interrupt.
    package init(machine: ARMMachineTree, eventDevice: EventDeviceDescription) {
        self.machine = machine
        self.eventDevice = eventDevice
    }

    /// The global system interrupt of a shared interrupt.
    package static func globalInterrupt(ofShared number: UInt32) -> UInt32 { ARMMachineTree.globalInterrupt(ofShared: number) }

    /// The tables as files for firmware.
    ///
    /// - Throws: `FirmwareTableError` for ranges that overlap or go beyond what can be addressed.
    package func files() throws(FirmwareTableError) -> ACPITableFiles {
        var image = ACPITableImage()
        let dsdt = image.add(DSDT.encode(try ASL.armMachine(self)))
        var listed = [
            image.add(
                fadt(dsdt: dsdt),
                pointers: [
                    .init(offset: FADT.dsdtOffset, width: 4), .init(offset: FADT.extendedDSDTOffset, width: 8),
                ]),
            image.add(MADT.encode(machine)),
            image.add(gtdt()),
        ]
        if let pci = machine.pci {
            let buses = Int(clamping: pci.configurationSpace.size / MCFG.Window.bytesPerBus)
            listed.append(image.add(MCFG.encode(MCFG.Window(base: pci.configurationSpace.base, busCount: buses))))
            listed.append(image.add(ARMMachineTables.iort()))
        }
        if let serialPort = machine.serialPort {
            listed.append(image.add(spcr(serialPort)))
            listed.append(image.add(dbg2(serialPort)))
        }
        let pointers = listed.indices.map { ACPITableImage.Pointer(offset: ACPITable.headerSize + $0 * 8, width: 8) }
        let xsdt = image.add(XSDT.encode(listed.map { UInt64($0) }), pointers: pointers)
        return try ACPITableFiles(tables: image, pointer: StandardMachineTables.pointerImage(to: xsdt), size: nil)
    }

    private func fadt(dsdt: Int) -> [UInt8] {
        var table = FADT()
        table.dsdt = UInt32(clamping: dsdt)
        table.armBootArchitecture = [.psci, .usesHVC]
        table.flags = [.powerButtonIsNotFixed, .sleepButtonIsNotFixed, .alarmIsNotFixed, .headless, .hardwareReduced]
        table.hypervisorVendor = ACPITable.oemIdentifier
        return table.encode()
    }

    /// The generic timer description table (ACPI 6.3, 5.2.24).
    private func gtdt() -> [UInt8] {
        typealias Interrupt = ARMMachineTree.PrivateInterrupt
        let revision: UInt8 = 2
        let isAlwaysOn: UInt32 = 1 << 2
        let none = UInt64.max
        var body = TableBytes()
        body.append(none)  // No counter in memory.
        body.append(zeros: 4)
        for number in [Interrupt.secureTimer, Interrupt.timer, Interrupt.virtualTimer, Interrupt.hypervisorTimer] {
            body.append(ARMMachineTree.globalInterrupt(ofPrivate: number))
            body.append(isAlwaysOn)
        }
        body.append(none)
        body.append(zeros: 8)  // No timers of the platform.
        return ACPITable.encode(signature: "GTDT", revision: revision, body: body.bytes)
    }

    /// The I/O remapping table (Arm DEN0049): a function's requester id is its device id at the translation service.
    private static func iort() -> [UInt8] {
        let nodesOffset: UInt32 = 48
        let groupSize: UInt16 = 24
        let rootSize: UInt16 = 36
        let mappingSize: UInt16 = 20
        var body = TableBytes()
        body.append(UInt32(2))
        body.append(nodesOffset)
        body.append(zeros: 4)
        // The group of translation services: one.
        body.append(UInt8(0))
        body.append(groupSize)
        body.append(zeros: 5)
        body.append(UInt32(0))
        body.append(UInt32(0))
        body.append(UInt32(1))
        body.append(UInt32(0))
        // The root complex of segment 0.
        let isCoherent: UInt32 = 1
        let isSnooped: UInt8 = 0b11
        let addressBits: UInt8 = 64
        body.append(UInt8(2))
        body.append(rootSize + mappingSize)
        body.append(UInt8(1))
        body.append(UInt32(0))
        body.append(UInt32(1))
        body.append(UInt32(rootSize))
        body.append(isCoherent)
        body.append(zeros: 3)
        body.append(isSnooped)
        body.append(UInt32(0))
        body.append(UInt32(0))
        body.append(addressBits)
        body.append(zeros: 3)
        // All of its 65,536 ids, one to one.
        body.append(UInt32(0))
        body.append(UInt32(0xFFFF))
        body.append(UInt32(0))
        body.append(nodesOffset)
        body.append(zeros: 4)
        return ACPITable.encode(signature: "IORT", revision: 0, body: body.bytes)
    }

    private static let pl011: UInt8 = 3

    private func registers(of device: ARMMachineTree.Device) -> GenericAddress {
        GenericAddress(.systemMemory, width: 32, address: device.registers.base)
    }

    /// The serial port console redirection table, revision 2.
    private func spcr(_ device: ARMMachineTree.Device) -> [UInt8] {
        let revision: UInt8 = 2
        let isGIC: UInt8 = 1 << 3
        let baud115200: UInt8 = 7
        let oneStopBit: UInt8 = 1
        var body = TableBytes()
        body.append(ARMMachineTables.pl011)
        body.append(zeros: 3)
        registers(of: device).encode(to: &body)
        body.append(isGIC)
        body.append(UInt8(0))
        body.append(ARMMachineTree.globalInterrupt(ofShared: device.interrupt))
        body.append(baud115200)
        body.append(UInt8(0))
        body.append(oneStopBit)
        body.append(zeros: 3)
        body.append(UInt32.max)  // No PCI device.
        body.append(zeros: 12)
        return ACPITable.encode(signature: "SPCR", revision: revision, body: body.bytes)
    }

    /// The debug port table 2.
    private func dbg2(_ device: ARMMachineTree.Device) -> [UInt8] {
        let headerSize: UInt16 = 22
        let addressSize: UInt16 = 12
        let name = Array("\\_SB.COM0".utf8) + [0]
        let nameOffset = headerSize + addressSize + 4
        let serial: UInt16 = 0x8000
        var body = TableBytes()
        body.append(UInt32(ACPITable.headerSize + 8))
        body.append(UInt32(1))
        body.append(UInt8(0))
        body.append(nameOffset + UInt16(clamping: name.count))
        body.append(UInt8(1))
        body.append(UInt16(clamping: name.count))
        body.append(nameOffset)
        body.append(zeros: 4)  // No data of the maker's.
        body.append(serial)
        body.append(UInt16(ARMMachineTables.pl011))
        body.append(zeros: 2)
        body.append(headerSize)
        body.append(headerSize + addressSize)
        registers(of: device).encode(to: &body)
        body.append(UInt32(clamping: device.registers.size))
        body.append(name)
        return ACPITable.encode(signature: "DBG2", revision: 0, body: body.bytes)
    }
}

extension ASL {
    fileprivate static func armMachine(_ tables: ARMMachineTables) throws(FirmwareTableError) -> [UInt8] {
        let machine = tables.machine
        for range in machine.pci?.windows ?? [] { _ = try range.last(of: "PCI's window") }
        return encode {
            Scope("\\_SB") {
                for number in machine.processors.indices {
                    processor(number)
                }
                if let port = machine.serialPort {
                    primeCell("COM0", "ARMH0011", port)
                }
                if let range = machine.firmwareConfiguration {
                    firmwareConfiguration(in: range)
                }
                if let pci = machine.pci {
                    hostBridge(pci)
                    configurationSpace(pci)
                }
                powerButton
                eventDevice(tables.eventDevice)
            }
        }
    }

    private static func processor(_ number: Int) -> Device {
        let digits = String(number, radix: 16, uppercase: true)
        return Device("C" + String(repeating: "0", count: max(0, 3 - digits.utf8.count)) + digits) {
            Name("_HID", "ACPI0007")
            Name("_UID", .integer(UInt64(number)))
        }
    }

    private static func primeCell(_ name: String, _ identifier: String, _ device: ARMMachineTree.Device) -> Device {
        Device(name) {
            Name("_HID", .string(identifier))
            Name("_UID", 0)
            Name(
                "_CRS",
                .resourceTemplate {
                    Memory32Fixed(base: UInt32(clamping: device.registers.base), length: UInt32(clamping: device.registers.size))
                    Interrupt(
                        .level, .activeHigh, .exclusive, ARMMachineTree.globalInterrupt(ofShared: device.interrupt))
                })
        }
    }

    private static func firmwareConfiguration(in range: PhysicalRange) -> Device {
        let isThereButNotShown: UInt64 = 0x0B
        return Device("FWCF") {
            Name("_HID", "QEMU0002")
            Name("_STA", .integer(isThereButNotShown))
            Name("_CCA", 1)
            Name(
                "_CRS",
                .resourceTemplate {
                    Memory32Fixed(base: UInt32(clamping: range.base), length: UInt32(clamping: range.size))
                })
        }
    }

    private static func hostBridge(_ host: ARMMachineTree.PCIHost) -> Device {
        Device("PCI0") {
            Name("_HID", .eisaID("PNP0A08"))
            Name("_CID", .eisaID("PNP0A03"))
            Name("_SEG", 0)
            Name("_BBN", 0)
            Name("_UID", 0)
            Name("_CCA", 1)
            Name(
                "_CRS",
                .resourceTemplate {
                    WordBusNumber(0...host.lastBus)
                    DWordIO(0...(UInt32(clamping: max(1, host.ports.size)) - 1), inMemoryAt: UInt32(clamping: host.ports.base))
                    for window in host.windows {
                        memoryWindow(window)
                    }
                })
            Name("_PRT", routingTable(host))
            operatingSystemCapabilities([.hotPlug, .powerManagementEvents, .advancedErrorReporting, .expressCapability])
        }
    }

    /// For each slot and pin of bus 0 its global system interrupt (6.2.13).
    private static func routingTable(_ host: ARMMachineTree.PCIHost) -> Value {
        let allFunctions: UInt64 = 0xFFFF
        let first = UInt64(ARMMachineTree.globalInterrupt(ofShared: host.firstInterrupt))
        return .package(
            (0..<UInt64(32)).flatMap { slot in
                (0..<UInt64(4)).map { pin in
                    .package([.integer(slot << 16 | allFunctions), .integer(pin), 0, .integer(first + (slot + pin) % 4)])
                }
            })
    }

    /// Configuration space is used only if it is named (PCI Firmware Specification 3.2, 4.1.2).
    private static func configurationSpace(_ host: ARMMachineTree.PCIHost) -> Device {
        Device("RES0") {
            Name("_HID", .eisaID("PNP0C02"))
            Name("_UID", 0)
            Name("_CRS", .resourceTemplate { reservation(host.configurationSpace) })
        }
    }
}
