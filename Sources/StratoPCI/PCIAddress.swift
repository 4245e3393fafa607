/// Where a function is on its bus segment (PCI Local Bus 3.0, 3.2.2.3.2).
package struct PCIAddress: Sendable, Hashable, Comparable, CustomStringConvertible {
    package let bus: UInt8
    /// 0...31.
    package let device: UInt8
    /// 0...7.
    package let function: UInt8

    /// Nil for a device above 31 or a function above 7.
    package init?(bus: UInt8 = 0, device: UInt8, function: UInt8 = 0) {
        guard device < 32, function < 8 else { return nil }
        self.bus = bus
        self.device = device
        self.function = function
    }

    /// Bus, device and function in 16 bits, as a requester id has them.
    package var requesterID: UInt16 { UInt16(bus) << 8 | UInt16(device) << 3 | UInt16(function) }

    package static func < (left: PCIAddress, right: PCIAddress) -> Bool { left.requesterID < right.requesterID }

    package var description: String {
        func hex(_ value: UInt8) -> String { (value < 16 ? "0" : "") + String(value, radix: 16) }
        return "\(hex(bus)):\(hex(device)).\(function)"
    }
}
