/// Where PCI Express's configuration space is in memory (PCI Firmware Specification 3.2, 4.1.2).
package enum MCFG {
    /// The enhanced configuration access mechanism of segment 0, from bus 0 on.
    package struct Window: Sendable, Equatable {
        /// Per bus: 32 devices of 8 functions with 4 KiB each.
        package static let bytesPerBus: UInt64 = 1 << 20

        /// A multiple of `bytesPerBus`.
        package var base: UInt64

        /// 1...256.
        package var busCount: Int

        package init(base: UInt64, busCount: Int = 256) {
            self.base = base
            self.busCount = busCount
        }

        /// Its last bus.
        var lastBus: UInt8 { UInt8(clamping: max(1, busCount) - 1) }

        /// The addresses that it takes.
        ///
        /// - Throws: `FirmwareTableError` if it is not aligned, has no bus or more than 256, or goes beyond the last address.
        package func range() throws(FirmwareTableError) -> PhysicalRange {
            guard (1...256).contains(busCount) else {
                throw FirmwareTableError("PCI configuration space has 1 to 256 buses, not \(busCount)")
            }
            guard base % Window.bytesPerBus == 0 else {
                throw FirmwareTableError("PCI configuration space at \(hexadecimal(base)) is not at a multiple of 1 MiB")
            }
            let range = PhysicalRange(base: base, size: UInt64(busCount) * Window.bytesPerBus)
            _ = try range.last(of: "PCI configuration space")
            return range
        }
    }

    private static let revision: UInt8 = 1

    package static func encode(_ window: Window) -> [UInt8] {
        var body = TableBytes()
        body.append(zeros: 8)
        body.append(window.base)
        body.append(UInt16(0))  // The segment.
        body.append(UInt8(0))
        body.append(window.lastBus)
        body.append(zeros: 4)
        return ACPITable.encode(signature: "MCFG", revision: revision, body: body.bytes)
    }
}
