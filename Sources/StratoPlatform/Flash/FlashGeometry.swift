/// How the chips of a flash bank lie side by side, and what they erase at once.
package struct FlashGeometry: Sendable, Hashable {
    /// What one block erase erases in all chips together, in bytes; a power of two, at least `bankWidth`.
    package let sectorSize: UInt64

    /// Bytes of the bus that the bank is on: a power of two, at most 8.
    package let bankWidth: Int

    /// Bytes of that bus which each chip answers: a power of two, at most 2 and at most `bankWidth`.
    package let deviceWidth: Int

    /// Four chips of 8 bits below 4 GiB of a PC.
    package static let pc = FlashGeometry(sectorSize: 4 << 10, bankWidth: 4, deviceWidth: 1)

    /// Two chips of 16 bits on the ARM virt board.
    package static let virt = FlashGeometry(sectorSize: 256 << 10, bankWidth: 4, deviceWidth: 2)

    private init(sectorSize: UInt64, bankWidth: Int, deviceWidth: Int) {
        self.sectorSize = sectorSize
        self.bankWidth = bankWidth
        self.deviceWidth = deviceWidth
    }

    /// Chips in the bank.
    var chipCount: Int { bankWidth / deviceWidth }

    /// The sector that an offset lies in.
    func sectorStart(of offset: UInt64) -> UInt64 { offset & ~(sectorSize &- 1) }
}

/// What a flash bank is there for.
package enum FlashUnit: Int, Sendable, Hashable, CaseIterable {
    /// The firmware itself: unit 0.
    case code = 0
    /// The variables that the firmware keeps: unit 1.
    case variables = 1

    /// The largest bank, in bytes: what the ARM virt board has room for per unit.
    package static let maximumSize: UInt64 = 64 << 20

    /// A PC shows the last 128 KiB of its firmware below 1 MiB as well, where the first processor starts.
    package static let shadowSize: UInt64 = 128 << 10

    /// In bytes; what a slot of guest memory is made of.
    static let pageSize: UInt64 = 4 << 10

    /// Makes sure that a bank of this unit can be made of what is stored.
    ///
    /// - Throws: `FlashError` naming the file: sizes that are no multiple of a page or of a sector, too small or too large;
    ///   variables that can't be written.
    package func check(_ storage: any FlashStorage, geometry: FlashGeometry) throws(FlashError) {
        let name = storage.name
        let size = storage.size
        guard size > 0 else { throw FlashError("pflash unit \(rawValue): \(name) is empty") }
        guard size <= FlashUnit.maximumSize else {
            throw FlashError("pflash unit \(rawValue): \(name) has \(size) bytes; the limit is \(FlashUnit.maximumSize) (64 MiB)")
        }
        guard size % FlashUnit.pageSize == 0 else {
            throw FlashError(
                "pflash unit \(rawValue): \(name) has \(size) bytes, which is not a multiple of 4 KiB: it is no flash image, or cut short"
            )
        }
        guard size % geometry.sectorSize == 0 else {
            throw FlashError(
                "pflash unit \(rawValue): \(name) has \(size) bytes, which is not a multiple of this machine's flash sector "
                    + "(\(geometry.sectorSize >> 10) KiB): pad the image")
        }
        switch self {
        case .code:
            guard size > FlashUnit.shadowSize else {
                throw FlashError(
                    "pflash unit 0: \(name) has \(size) bytes; firmware is larger than 128 KiB. Is it the variables file? "
                        + "That one goes to unit=1")
            }
        case .variables:
            guard !storage.isReadOnly else {
                throw FlashError(
                    "pflash unit 1: \(name) is read-only, but the firmware has to write its variables there: "
                        + "leave readonly out and make the file writable, or leave unit 1 out")
            }
        }
    }
}
