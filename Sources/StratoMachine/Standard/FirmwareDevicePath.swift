internal import StratoPCI

/// How firmware is told which devices to boot from: names in the form of IEEE 1275, one a line, in the file `bootorder`
/// (QEMU, docs/specs/fw_cfg.rst; the binding of PCI to IEEE 1275, 2.2.1).
enum FirmwareDevicePath {
    static let fileName = "bootorder"

    /// The disk of a virtio block device.
    ///
    /// - Parameter places: device and function of each bridge on the way, then of the device itself.
    static func virtioBlock(_ places: [(device: UInt8, function: UInt8)]) -> String {
        var path = "/pci@i0cf8"
        for (index, place) in places.enumerated() {
            let name = index == places.count - 1 ? "scsi" : "pci-bridge"
            path += "/\(name)@\(String(place.device, radix: 16))"
            if place.function != 0 { path += ",\(String(place.function, radix: 16))" }
        }
        return path + "/disk@0,0"
    }

    /// The file's bytes.
    static func file(_ paths: [String]) -> [UInt8] {
        Array(paths.joined(separator: "\n").utf8) + [0]
    }
}
