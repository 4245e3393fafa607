internal import StratoVMM

/// The PCI buses.
enum PCIDevices {
    /// Names of base classes and subclasses (PCI Code and ID Assignment 1.11), as QEMU writes them.
    private static let classNames: [UInt16: String] = [
        0x0100: "SCSI controller", 0x0200: "Ethernet controller", 0x0600: "Host bridge", 0x0601: "ISA bridge",
        0x0604: "PCI bridge", 0x0780: "Communication controller", 0x00FF: "Unclassified device",
    ]

    @Sendable
    static func queryPCI(_ arguments: JSONObject, _ machine: any MachineControl) -> JSONValue {
        let functions = machine.pciFunctions
        guard !functions.isEmpty else { return .array([]) }
        return .array([
            .object(["bus": .integer(0), "devices": .array(functions.map { .object(function($0)) })])
        ])
    }

    /// QEMU's `PciDeviceInfo`.
    private static func function(_ function: PCIFunctionInfo) -> JSONObject {
        var description = JSONObject()
        description["bus"] = JSONValue(function.bus)
        description["slot"] = JSONValue(function.device)
        description["function"] = JSONValue(function.function)
        var kind: JSONObject = ["class": JSONValue(function.classCode)]
        if let name = classNames[function.classCode] { kind["desc"] = .string(name) }
        description["class_info"] = .object(kind)
        description["id"] = .object([
            "device": JSONValue(function.deviceID), "vendor": JSONValue(function.vendorID),
            "subsystem-vendor": JSONValue(function.subsystemVendorID), "subsystem": JSONValue(function.subsystemID),
        ])
        if function.interruptPin != 0 { description["irq"] = JSONValue(function.interruptLine) }
        description["irq_pin"] = JSONValue(function.interruptPin)
        description["qdev_id"] = .string(function.id ?? "")
        description["regions"] = .array(function.regions.map { .object(region($0)) })
        if let bridge = function.bridge { description["pci_bridge"] = .object(self.bridge(bridge, of: function)) }
        return description
    }

    /// What the guest has not placed reads as the address of all ones, as in QEMU.
    private static func region(_ region: PCIFunctionInfo.Region) -> JSONObject {
        var description: JSONObject = [
            "bar": JSONValue(region.index),
            "type": .string(region.isMemory ? "memory" : "io"),
            "address": region.address.map { JSONValue($0) } ?? .integer(-1),
            "size": JSONValue(region.size),
        ]
        if region.isMemory {
            description["prefetch"] = .bool(region.isPrefetchable)
            description["mem_type_64"] = .bool(region.is64Bit)
        }
        return description
    }

    private static func bridge(_ bridge: PCIFunctionInfo.Bridge, of function: PCIFunctionInfo) -> JSONObject {
        func window(_ range: ClosedRange<UInt64>?) -> JSONValue {
            // A window that is closed ends below its base.
            .object(["base": JSONValue(range?.lowerBound ?? 1), "limit": JSONValue(range?.upperBound ?? 0)])
        }
        return [
            "bus": .object([
                "number": JSONValue(function.bus), "secondary": JSONValue(bridge.secondaryBus),
                "subordinate": JSONValue(bridge.subordinateBus), "io_range": window(bridge.ports),
                "memory_range": window(bridge.memory), "prefetchable_range": window(bridge.prefetchable),
            ]),
            "devices": .array(bridge.functions.map { .object(self.function($0)) }),
        ]
    }
}
