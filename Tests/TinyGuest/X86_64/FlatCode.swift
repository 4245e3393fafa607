#if arch(x86_64)
/// What a guest of a few instructions starts with in 32-bit protected mode, without paging: every address is a physical one.
enum FlatCode {
    /// Places in the guest's memory.
    static let descriptorTable: UInt64 = 0x500
    static let interruptTable: UInt64 = 0x800
    static let code: UInt64 = 0x2000
    static let stack: UInt64 = 0x8000

    /// Selectors and descriptors (Intel SDM, volume 3A, 3.4.5): null, code and data, both of 4 GiB.
    static let codeSelector: UInt16 = 0x08
    static let dataSelector: UInt16 = 0x10
    static let descriptors: [UInt64] = [0, 0x00CF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF]

    /// A 32-bit interrupt gate (figure 6-2) to a place below 64 KiB.
    static func gate(to address: UInt16) -> [UInt8] {
        address.littleEndianBytes + codeSelector.littleEndianBytes + UInt16(0x8E00).littleEndianBytes + [0, 0]
    }
}
#endif
