internal import StratoVMM

/// The disks.
enum BlockDevices {
    @Sendable
    static func queryBlock(_ arguments: JSONObject, _ machine: any MachineControl) -> JSONValue {
        let sizes = machine.blockDevices
        return .array(
            machine.configuration.storageDevices.map { device in
                let size = sizes.first { $0.id == device.id }?.virtualSize ?? 0
                return .object([
                    "device": .string(device.image.id),
                    "qdev": .string(device.id),
                    "locked": .bool(false),
                    "removable": .bool(false),
                    "type": .string("unknown"),
                    "inserted": .object(medium(device.image, size)),
                ])
            })
    }

    /// QEMU's `BlockDeviceInfo`. A limit of 0 is none.
    private static func medium(_ image: DiskImageConfiguration, _ size: UInt64) -> JSONObject {
        [
            "file": .string(image.path),
            "node-name": .string(image.id),
            "image": .object([
                "filename": .string(image.path),
                "format": .string(image.format.rawValue),
                "virtual-size": JSONValue(size),
            ]),
            "ro": .bool(image.isReadOnly),
            "drv": .string(image.format.rawValue),
            "backing_file_depth": .integer(0),
            "encrypted": .bool(false),
            "encryption_key_missing": .bool(false),
            "detect_zeroes": .string(image.zeroDetection.rawValue),
            "bps": .integer(0),
            "bps_rd": .integer(0),
            "bps_wr": .integer(0),
            "iops": JSONValue(image.requestsPerSecond ?? 0),
            "iops_rd": .integer(0),
            "iops_wr": .integer(0),
            "cache": .object([
                "writeback": .bool(true),
                "direct": .bool(image.isDirect),
                "no-flush": .bool(false),
            ]),
            "write_threshold": .integer(0),
        ]
    }
}
