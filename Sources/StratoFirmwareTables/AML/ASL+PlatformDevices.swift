extension ASL {
    static var powerButton: Device {
        Device("PWRB") {
            Name("_HID", .eisaID("PNP0C0C"))
            Name("_UID", 0)
        }
    }

    /// Reading the register clears it, so that `_EVT` reads it once and looks at each bit of what it got.
    static func eventDevice(_ device: EventDeviceDescription) -> Device {
        let wasPressed: UInt64 = 0x80
        return Device("GED") {
            Name("_HID", "ACPI0013")
            Name("_UID", 0)
            Name(
                "_CRS",
                .resourceTemplate {
                    Interrupt(.edge, .activeHigh, .exclusive, device.interrupt)
                })
            OperationRegion(
                "EREG", .systemMemory, offset: UInt64(device.base), length: UInt64(EventDeviceDescription.registerSize))
            Field("EREG", .doubleWord, .writeAsZeros, [.named("ESEL", bits: 32)])
            Method("_EVT", 1, isSerialized: true) {
                Store(.name("ESEL"), .local(0))
                If(.and(.local(0), .integer(EventDeviceDescription.powerButtonBit))) {
                    Notify(.name("PWRB"), .integer(wasPressed))
                }
            }
        }
    }

    static func serialPort(_ device: SerialPortDescription) -> Device {
        Device("COM1") {
            Name("_HID", .eisaID("PNP0501"))
            Name("_UID", 0)
            Name(
                "_CRS",
                .resourceTemplate {
                    IO(base: device.port, length: 8)
                    Interrupt(.edge, .activeHigh, .exclusive, device.interrupt)
                })
        }
    }
}
