/// A function of a standard machine's PCI buses as management clients see it.
package struct PCIFunctionInfo: Sendable, Equatable {
    /// A base address register.
    package struct Region: Sendable, Equatable {
        package var index: Int
        /// Ports otherwise.
        package var isMemory: Bool
        package var is64Bit: Bool
        package var isPrefetchable: Bool
        package var size: UInt64
        /// Nil while the guest does not use it.
        package var address: UInt64?

        package init(
            index: Int, isMemory: Bool, is64Bit: Bool, isPrefetchable: Bool, size: UInt64, address: UInt64?
        ) {
            self.index = index
            self.isMemory = isMemory
            self.is64Bit = is64Bit
            self.isPrefetchable = isPrefetchable
            self.size = size
            self.address = address
        }
    }

    /// What is behind a bridge, and what it forwards.
    package struct Bridge: Sendable, Equatable {
        package var secondaryBus: UInt8
        package var subordinateBus: UInt8
        /// Each nil while the window is closed.
        package var ports: ClosedRange<UInt64>?
        package var memory: ClosedRange<UInt64>?
        package var prefetchable: ClosedRange<UInt64>?
        package var functions: [PCIFunctionInfo]

        package init(
            secondaryBus: UInt8, subordinateBus: UInt8, ports: ClosedRange<UInt64>?, memory: ClosedRange<UInt64>?,
            prefetchable: ClosedRange<UInt64>?, functions: [PCIFunctionInfo]
        ) {
            self.secondaryBus = secondaryBus
            self.subordinateBus = subordinateBus
            self.ports = ports
            self.memory = memory
            self.prefetchable = prefetchable
            self.functions = functions
        }
    }

    /// The device's id; nil for the board's own.
    package var id: String?
    package var bus: UInt8
    package var device: UInt8
    package var function: UInt8
    package var vendorID: UInt16
    package var deviceID: UInt16
    package var subsystemVendorID: UInt16
    package var subsystemID: UInt16
    /// Class and subclass.
    package var classCode: UInt16
    /// 0 for none, 1...4 for A...D.
    package var interruptPin: UInt8
    /// What the guest has noted down.
    package var interruptLine: UInt8
    package var regions: [Region]
    package var bridge: Bridge?

    package init(
        id: String?, bus: UInt8, device: UInt8, function: UInt8, vendorID: UInt16, deviceID: UInt16,
        subsystemVendorID: UInt16, subsystemID: UInt16, classCode: UInt16, interruptPin: UInt8, interruptLine: UInt8,
        regions: [Region], bridge: Bridge? = nil
    ) {
        self.id = id
        self.bus = bus
        self.device = device
        self.function = function
        self.vendorID = vendorID
        self.deviceID = deviceID
        self.subsystemVendorID = subsystemVendorID
        self.subsystemID = subsystemID
        self.classCode = classCode
        self.interruptPin = interruptPin
        self.interruptLine = interruptLine
        self.regions = regions
        self.bridge = bridge
    }
}
