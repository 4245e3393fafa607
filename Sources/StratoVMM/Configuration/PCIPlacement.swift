internal import StratoMachine

/// Where a device of a standard machine is on its PCI buses.
public struct PCIPlacement: Sendable, Hashable {
    /// The bus that root ports, and devices without a bus of their own, are on.
    public static let rootBus = PCIDeviceDescription.rootBus

    /// Device numbers of a bus.
    public static let allowedDevices = 0...31

    /// Function numbers of a device.
    public static let allowedFunctions = 0...7

    /// `rootBus`, or the id of a root port, whose bus has one device, 0.
    public var bus: String

    /// 0...31; nil takes the first that is free. On the root bus 0 and 31 belong to the chip set.
    public var device: Int?

    /// 0...7; a device with functions beside 0 says so by `isMultifunction` on its function 0.
    public var function: Int

    /// This is function 0 of a device that has others.
    public var isMultifunction: Bool

    /// The first free place of a bus unless a device is given.
    public init(bus: String = PCIPlacement.rootBus, device: Int? = nil, function: Int = 0) {
        self.bus = bus
        self.device = device
        self.function = function
        isMultifunction = false
    }
}

/// A PCI Express root port: a slot of a standard machine, whose device can have a link of its own.
public struct PCIRootPortConfiguration: Sendable, Hashable {
    /// Numbers that ports can have.
    public static let allowedNumbers = 0...255

    /// Names the port and the bus behind it; unique among devices.
    public var id: String

    /// The port's number, 0...255, unique; nil takes the next that is free.
    public var number: Int?

    /// On the root bus.
    public var placement: PCIPlacement

    /// A port at the first free place of the root bus.
    public init(id: String) {
        self.id = id
        number = nil
        placement = PCIPlacement()
    }
}
