extension ASL {
    /// The host bridge's configuration ports (PCI Local Bus Specification 3.0, 3.2.2.3.2).
    private static let configurationPorts: ClosedRange<UInt16> = 0xCF8...0xCFF

    static func standardMachine(_ machine: StandardMachineTables) throws(FirmwareTableError) -> [UInt8] {
        let windows = try machine.memoryWindows()
        let configurationSpace = try machine.configurationSpace?.range()
        return encode {
            Scope("\\_SB") {
                hostBridge(machine, windows: windows)
                for number in 0..<StandardMachineTables.linkInterrupts.count {
                    interruptLink(number)
                }
                motherboardResources(machine, configurationSpace: configurationSpace)
                powerButton
                eventDevice(machine.eventDevice)
                if let device = machine.firmwareConfiguration {
                    firmwareConfiguration(device)
                }
            }
            Name("\\_S5", .package([.integer(StandardMachineTables.softOffSleepType), 0, 0, 0]))
        }
    }

    private static func hostBridge(_ machine: StandardMachineTables, windows: [PhysicalRange]) -> Device {
        Device("PCI0") {
            Name("_HID", .eisaID("PNP0A08"))
            Name("_CID", .eisaID("PNP0A03"))
            Name("_SEG", 0)
            Name("_BBN", 0)
            Name("_UID", 0)
            if !machine.nodes.isEmpty {
                // All devices are as near to the memory of node 0.
                Name("_PXM", 0)
            }
            Name("_CRS", bridgeResources(machine, windows: windows))
            Name("_PRT", routingTable)
            operatingSystemCapabilities(machine.nativeControl)
            lowPinCountBridge(machine)
        }
    }

    private static func bridgeResources(_ machine: StandardMachineTables, windows: [PhysicalRange]) -> Value {
        .resourceTemplate {
            WordBusNumber(0...(machine.configurationSpace?.lastBus ?? .max))
            IO(base: configurationPorts.lowerBound, length: UInt8(configurationPorts.count))
            WordIO(0...(ASL.configurationPorts.lowerBound - 1))
            WordIO((configurationPorts.upperBound + 1)...UInt16.max)
            for window in windows {
                memoryWindow(window)
            }
        }
    }

    /// The shortest descriptor that can say it. The range was checked: it is not empty and has an end.
    static func memoryWindow(_ range: PhysicalRange) -> any AMLTerm {
        let last = range.base &+ (range.size &- 1)
        if let first = UInt32(exactly: range.base), let last = UInt32(exactly: last) {
            return DWordMemory(first...last)
        }
        return QWordMemory(.producer, range.base...last)
    }

    /// For each slot and pin of bus 0 its link (6.2.13). Bridges swizzle the pins of what is behind them by themselves.
    private static var routingTable: Value {
        let slots: UInt64 = 32
        let pins: UInt64 = 4
        let allFunctions: UInt64 = 0xFFFF
        return .package(
            (0..<slots).flatMap { slot in
                (0..<pins).map { pin in
                    let link = (slot + pin) % UInt64(StandardMachineTables.linkInterrupts.count)
                    return .package([.integer(slot << 16 | allFunctions), .integer(pin), .name("GSI\(link)"), 0])
                }
            })
    }

    /// `_OSC` of a host bridge (ACPI 6.5, 6.2.11; PCI Firmware Specification 3.2, 4.5.1): of what the operating system asks for,
    /// it gets what `control` has.
    static func operatingSystemCapabilities(_ control: StandardMachineTables.NativeControl) -> Method {
        let hostBridgeInterface = "33DB4D5B-1FF7-401C-9657-7441C03DD766"
        let revision: UInt64 = 1
        let unknownInterface: UInt64 = 1 << 2
        let unknownRevision: UInt64 = 1 << 3
        let wasMasked: UInt64 = 1 << 4
        return Method("_OSC", 4, isSerialized: true) {
            CreateDWordField(.argument(3), 0, "CDW1")
            If(.equal(.argument(0), .uuid(hostBridgeInterface))) {
                CreateDWordField(.argument(3), 8, "CDW3")
                If(.notEqual(.argument(1), .integer(revision))) {
                    Or(.name("CDW1"), .integer(unknownRevision), .name("CDW1"))
                }
                And(.name("CDW3"), .integer(control.rawValue), .local(0))
                If(.notEqual(.local(0), .name("CDW3"))) {
                    Or(.name("CDW1"), .integer(wasMasked), .name("CDW1"))
                    Store(.local(0), .name("CDW3"))
                }
            }
            Else {
                Or(.name("CDW1"), .integer(unknownInterface), .name("CDW1"))
            }
            Return(.argument(3))
        }
    }

    /// Function 0 of device 31, and the ISA devices behind it.
    private static func lowPinCountBridge(_ machine: StandardMachineTables) -> Device {
        let address: UInt64 = 31 << 16
        return Device("ISA") {
            Name("_ADR", .integer(address))
            if let port = machine.serialPort {
                serialPort(port)
            }
            if let device = machine.clock {
                clock(device)
            }
        }
    }

    private static func clock(_ device: StandardMachineTables.Clock) -> Device {
        Device("RTC") {
            Name("_HID", .eisaID("PNP0B00"))
            Name(
                "_CRS",
                .resourceTemplate {
                    IO(base: device.port, length: device.size)
                    Interrupt(.edge, .activeHigh, .exclusive, device.interrupt)
                })
        }
    }

    /// A link whose interrupt is what it is: there is nothing to choose, and nothing to switch off.
    private static func interruptLink(_ number: Int) -> Device {
        let interrupt = StandardMachineTables.linkInterrupts.lowerBound + UInt32(truncatingIfNeeded: number)
        let resources = Value.resourceTemplate {
            Interrupt(.level, .activeHigh, .shared, interrupt)
        }
        return Device("GSI\(number)") {
            Name("_HID", .eisaID("PNP0C0F"))
            Name("_UID", .integer(UInt64(number)))
            Name("_PRS", resources)
            Name("_CRS", resources)
            Method("_SRS", 1) {}
        }
    }

    /// Keeps the operating system from placing devices where the board has registers. PCI's configuration space is used only if
    /// it is named here (PCI Firmware Specification 3.2, 4.1.2).
    private static func motherboardResources(
        _ machine: StandardMachineTables, configurationSpace: PhysicalRange?
    ) -> Device {
        Device("MBRD") {
            Name("_HID", .eisaID("PNP0C02"))
            Name("_UID", 0)
            Name(
                "_CRS",
                .resourceTemplate {
                    IO(base: machine.powerManagement.base, length: StandardMachineTables.PowerManagement.size)
                    IO(base: machine.sleepControlPort, length: 1)
                    if machine.sleepStatusPort != machine.sleepControlPort {
                        IO(base: machine.sleepStatusPort, length: 1)
                    }
                    Memory32Fixed(base: machine.eventDevice.base, length: EventDeviceDescription.registerSize)
                    if let configurationSpace {
                        reservation(configurationSpace)
                    }
                })
        }
    }

    static func reservation(_ range: PhysicalRange) -> any AMLTerm {
        let last = range.base &+ (range.size &- 1)
        if let base = UInt32(exactly: range.base), UInt32(exactly: last) != nil {
            return Memory32Fixed(base: base, length: UInt32(clamping: range.size))
        }
        return QWordMemory(.consumer, range.base...last)
    }

    private static func firmwareConfiguration(_ device: StandardMachineTables.FirmwareConfiguration) -> Device {
        let isThereButNotShown: UInt64 = 0x0B
        return Device("FWCF") {
            Name("_HID", "QEMU0002")
            Name("_STA", .integer(isThereButNotShown))
            Name(
                "_CRS",
                .resourceTemplate {
                    IO(base: device.port, length: device.size)
                })
        }
    }
}
