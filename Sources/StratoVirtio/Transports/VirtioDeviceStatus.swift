/// Bits of the device status (virtio 1.2, 2.1).
package struct VirtioDeviceStatus: OptionSet, Sendable, Hashable {
    package let rawValue: UInt32

    package init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    package static let acknowledge = VirtioDeviceStatus(rawValue: 1)
    package static let driver = VirtioDeviceStatus(rawValue: 2)
    package static let driverOK = VirtioDeviceStatus(rawValue: 4)
    package static let featuresOK = VirtioDeviceStatus(rawValue: 8)
    package static let deviceNeedsReset = VirtioDeviceStatus(rawValue: 64)
    package static let failed = VirtioDeviceStatus(rawValue: 128)
}
