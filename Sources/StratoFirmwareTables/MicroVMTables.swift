/// The ACPI tables of a microVM on x86_64: hardware-reduced, with devices on MMIO and no PCI.
package struct MicroVMTables: Sendable, Equatable {
    /// A virtio-mmio register block.
    package struct VirtioDevice: Sendable, Equatable {
        package var base: UInt32

        /// In bytes.
        package var size: UInt32

        /// The global system interrupt, edge-triggered and active high.
        package var interrupt: UInt32

        package init(base: UInt32, size: UInt32, interrupt: UInt32) {
            self.base = base
            self.size = size
            self.interrupt = interrupt
        }
    }

    package typealias SerialPort = SerialPortDescription
    package typealias EventDevice = EventDeviceDescription

    /// The sleep type of S5 in `_S5` and in the sleep control register.
    package static let softOffSleepType: UInt8 = 5

    /// Where the tables go; the operating system's scan for the RSDP begins behind them (ACPI 6.5, 5.2.5.1).
    package static let tableBase: UInt64 = 0xD_0000
    package static let rsdpAddress: UInt64 = 0xE_0000

    /// One per processor, in the order of their numbers.
    package var apicIDs: [UInt32]
    package var localAPICAddress: UInt32 = 0xFEE0_0000
    package var ioAPICAddress: UInt32 = 0xFEC0_0000

    /// In the order of their numbers.
    package var virtioDevices: [VirtioDevice] = []
    package var serialPort: SerialPort?
    package var eventDevice: EventDevice
    package var sleepControlPort: UInt16
    package var sleepStatusPort: UInt16
    package var resetPort: UInt16
    package var resetValue: UInt8

    package init(
        apicIDs: [UInt32], eventDevice: EventDevice, sleepControlPort: UInt16, sleepStatusPort: UInt16,
        resetPort: UInt16 = 0x64, resetValue: UInt8 = 0xFE
    ) {
        self.apicIDs = apicIDs
        self.eventDevice = eventDevice
        self.sleepControlPort = sleepControlPort
        self.sleepStatusPort = sleepStatusPort
        self.resetPort = resetPort
        self.resetValue = resetValue
    }

    /// All tables with their addresses; the last is the RSDP.
    ///
    /// - Throws: `FirmwareTableError` if they do not fit between `tableBase` and `rsdpAddress`, if the I/O APIC finds no id
    ///   beside the processors', or for more virtio devices than can be named.
    package func place() throws(FirmwareTableError) -> [PlacedBytes] {
        guard virtioDevices.count <= 0x100 else {
            throw FirmwareTableError("\(virtioDevices.count) virtio devices are more than the 256 that ACPI can name")
        }
        guard let ioAPICIdentifier = InterruptControllerIdentifier.free(beside: apicIDs) else {
            throw FirmwareTableError("\(apicIDs.count) processors leave no APIC id for the I/O APIC")
        }
        var placed: [PlacedBytes] = []
        var next = MicroVMTables.tableBase
        func put(_ bytes: [UInt8]) -> UInt64 {
            let table = PlacedBytes(address: next, bytes: bytes)
            placed.append(table)
            next = (table.end + 15) & ~15
            return table.address
        }
        let dsdtAddress = put(dsdt())
        let fadtAddress = put(fadt(dsdt: UInt32(truncatingIfNeeded: dsdtAddress)))
        let madt = MADT(
            apicIDs: apicIDs, localAPICAddress: localAPICAddress, ioAPICIdentifier: ioAPICIdentifier,
            ioAPICAddress: ioAPICAddress)
        let madtAddress = put(madt.encode())
        let xsdtAddress = put(XSDT.encode([fadtAddress, madtAddress]))
        guard next <= MicroVMTables.rsdpAddress else {
            throw FirmwareTableError("the ACPI tables take \(next - MicroVMTables.tableBase) bytes, more than their 64 KiB")
        }
        placed.append(PlacedBytes(address: MicroVMTables.rsdpAddress, bytes: RSDP.encode(xsdt: xsdtAddress)))
        return placed
    }

    private func fadt(dsdt: UInt32) -> [UInt8] {
        var table = FADT()
        table.dsdt = dsdt
        // The keyboard controller's flag stays clear although the reset command works: a driver would wait for the rest.
        table.bootArchitecture = [.noVGA, .noASPM, .noCMOSClock]
        table.flags = [
            .wbinvd, .c1OnAllProcessors, .powerButtonIsNotFixed, .sleepButtonIsNotFixed, .resetRegister, .headless,
            .hardwareReduced,
        ]
        table.resetRegister = GenericAddress(.systemIO, width: 8, address: UInt64(resetPort))
        table.resetValue = resetValue
        table.sleepControlRegister = GenericAddress(.systemIO, width: 8, address: UInt64(sleepControlPort))
        table.sleepStatusRegister = GenericAddress(.systemIO, width: 8, address: UInt64(sleepStatusPort))
        table.hypervisorVendor = ACPITable.oemIdentifier
        return table.encode()
    }

    private func dsdt() -> [UInt8] {
        DSDT.encode(ASL.microVM(self))
    }
}

extension ASL {
    fileprivate static func microVM(_ machine: MicroVMTables) -> [UInt8] {
        encode {
            Scope("\\_SB") {
                powerButton
                eventDevice(machine.eventDevice)
                if let port = machine.serialPort {
                    serialPort(port)
                }
                for (number, device) in machine.virtioDevices.enumerated() {
                    virtioDevice(device, number: number)
                }
            }
            Name("\\_S5", .package([.integer(MicroVMTables.softOffSleepType), 0, 0, 0]))
        }
    }

    /// `LNRO0005` is the id that Linux's virtio_mmio driver is bound by.
    private static func virtioDevice(_ device: MicroVMTables.VirtioDevice, number: Int) -> Device {
        let digits = String(number, radix: 16, uppercase: true)
        return Device("VR" + (digits.utf8.count < 2 ? "0" : "") + digits) {
            Name("_HID", "LNRO0005")
            Name("_UID", .integer(UInt64(number)))
            // Virtio's rings and buffers are ordinary, coherent memory.
            Name("_CCA", 1)
            Name(
                "_CRS",
                .resourceTemplate {
                    Memory32Fixed(base: device.base, length: device.size)
                    Interrupt(.edge, .activeHigh, .exclusive, device.interrupt)
                })
        }
    }
}
