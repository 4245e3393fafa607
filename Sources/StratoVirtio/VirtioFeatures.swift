/// Feature bits: those of every device here (virtio 1.2, 6), a device's own where the device is.
@frozen @usableFromInline
package struct VirtioFeatures: OptionSet, Sendable, Hashable, CustomStringConvertible {
    @usableFromInline package let rawValue: UInt64

    @inlinable
    package init(rawValue: UInt64) {
        self.rawValue = rawValue
    }

    /// A single bit by its number in the specification, 0...63.
    @inlinable
    package init(bit: UInt64) {
        rawValue = 1 &<< bit
    }

    /// `VIRTIO_F_INDIRECT_DESC`: a descriptor can refer to a table of descriptors (2.7.5.3).
    package static let indirectDescriptors = VirtioFeatures(bit: 28)
    /// `VIRTIO_F_EVENT_IDX`: both sides name the index at which they want to be notified (2.7.7, 2.7.10).
    package static let eventIndex = VirtioFeatures(bit: 29)
    /// `VIRTIO_F_VERSION_1`: the driver is not a legacy one (6.1).
    package static let version1 = VirtioFeatures(bit: 32)

    @usableFromInline package var description: String { "0x" + String(rawValue, radix: 16) }
}
