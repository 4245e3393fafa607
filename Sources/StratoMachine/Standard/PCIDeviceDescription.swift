package import StratoVirtio

/// A device of the standard machine, and its place on a PCI bus.
package struct PCIDeviceDescription: Sendable {
    /// What is at that place.
    package enum Contents: Sendable {
        case virtio(any VirtioDevice)
        /// A port with a bus behind it that has the device's id, for one device at its place 0.
        case rootPort(port: UInt8)
    }

    /// The bus below the host bridge.
    package static let rootBus = "pcie.0"

    package var id: String
    package var contents: Contents
    /// `rootBus`, or a root port's id.
    package var bus: String
    /// 0...31; nil takes the first that is free.
    package var device: UInt8?
    /// 0...7.
    package var function: UInt8
    /// Function 0 says that the device has others.
    package var isMultifunction: Bool
    /// The firmware's order of trying, nil for a device that is not in it.
    package var bootIndex: Int?

    package init(id: String, contents: Contents) {
        self.id = id
        self.contents = contents
        bus = PCIDeviceDescription.rootBus
        function = 0
        isMultifunction = false
    }
}
