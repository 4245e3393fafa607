extension DeviceTree {
    /// 5.2: magic number, version, and the oldest version that its readers understand this one by.
    private static let magic: UInt32 = 0xD00D_FEED
    private static let version: UInt32 = 17
    private static let lastCompatibleVersion: UInt32 = 16
    private static let headerSize = 40

    /// What Linux's arm64 boot protocol allows for a tree.
    package static let largestSize = 2 << 20

    /// The tree as bytes, which belong at a multiple of 8.
    ///
    /// - Parameter limit: how large it may be, in bytes.
    /// - Returns: the blob.
    /// - Throws: `FirmwareTableError` for names that the specification does not allow or that are used twice in a node, for
    ///   phandles that are out of range, used twice or refer to no node, for text with a zero byte, for reservations that are
    ///   empty or go beyond the last address, and for a tree that is too deep or too large.
    package func encode(limit: Int = largestSize) throws(FirmwareTableError) -> [UInt8] {
        var writer = DeviceTreeWriter()
        try writer.write(root, path: "")
        writer.end()
        try writer.checkReferences()
        let reservationMap = try encodeReservations()
        let structureOffset = DeviceTree.headerSize + reservationMap.count
        let stringsOffset = structureOffset + writer.structure.count
        let size = stringsOffset + writer.strings.count
        guard size <= limit, let total = UInt32(exactly: size) else {
            throw FirmwareTableError("the device tree takes \(size) bytes, more than the \(limit) there are for it")
        }
        var header: [UInt8] = []
        for field in [
            DeviceTree.magic, total, UInt32(clamping: structureOffset), UInt32(clamping: stringsOffset),
            UInt32(DeviceTree.headerSize), DeviceTree.version, DeviceTree.lastCompatibleVersion, bootProcessor,
            UInt32(clamping: writer.strings.count), UInt32(clamping: writer.structure.count),
        ] {
            header.append(bigEndian: field)
        }
        return header + reservationMap + writer.structure + writer.strings
    }

    /// Pairs of address and size, and a pair of zeros (5.3.2).
    private func encodeReservations() throws(FirmwareTableError) -> [UInt8] {
        var map: [UInt8] = []
        for range in reservations {
            _ = try range.last(of: "the device tree's reservation")
            map.append(bigEndian: range.base)
            map.append(bigEndian: range.size)
        }
        map.append(bigEndian: UInt64(0))
        map.append(bigEndian: UInt64(0))
        return map
    }
}

extension [UInt8] {
    /// Adds an integer, its highest byte first.
    mutating func append<T: FixedWidthInteger & UnsignedInteger>(bigEndian value: T) {
        append(littleEndian: value.byteSwapped)
    }
}
