#if arch(x86_64)

internal import StratoFirmwareTables

/// `struct boot_params` (Linux, Documentation/arch/x86/zero-page.rst).
struct ZeroPage {
    private enum Field {
        static let rsdpAddress = 0x070
        static let memoryMapCount = 0x1E8
        static let memoryMap = 0x2D0
    }

    /// E820_MAX_ENTRIES_ZEROPAGE.
    static let memoryMapLimit = 128
    private static let memoryMapEntrySize = 20

    /// `type_of_loader` of a loader without a number of its own.
    private static let undefinedLoader: UInt8 = 0xFF

    private(set) var bytes = [UInt8](repeating: 0, count: BootLayout.pageSize)

    /// With the header of a bzImage; for a kernel without one, with what such a header would say of it.
    init(header: [UInt8]?) {
        if let header {
            for (index, byte) in header.enumerated() where BzImage.Field.setupSectors + index < bytes.count {
                bytes[BzImage.Field.setupSectors + index] = byte
            }
            // A list of the loader's: what the file has there means nothing.
            put(UInt64(0), at: BzImage.Field.setupData)
        } else {
            put(BzImage.bootFlag, at: BzImage.Field.bootFlag)
            for (index, byte) in Array("HdrS".utf8).enumerated() { bytes[BzImage.Field.magic + index] = byte }
            put(BzImage.lowestProtocol, at: BzImage.Field.version)
            put(BzImage.isLoadedHigh, at: BzImage.Field.loadFlags)
            put(UInt32(truncatingIfNeeded: BootLayout.rawKernel), at: BzImage.Field.kernelAlignment)
            put(UInt32(truncatingIfNeeded: BootLayout.defaultRamdiskAddressMaximum), at: BzImage.Field.ramdiskAddressMaximum)
            put(UInt32(truncatingIfNeeded: BootLayout.defaultCommandLineSize), at: BzImage.Field.commandLineSize)
        }
        put(ZeroPage.undefinedLoader, at: BzImage.Field.typeOfLoader)
    }

    /// Where the kernel's 32-bit code is.
    mutating func setCode32Start(_ address: UInt32) {
        put(address, at: BzImage.Field.code32Start)
    }

    mutating func setCommandLine(at address: UInt32) {
        put(address, at: BzImage.Field.commandLinePointer)
    }

    mutating func setRamdisk(at address: UInt32, size: UInt32) {
        put(address, at: BzImage.Field.ramdiskImage)
        put(size, at: BzImage.Field.ramdiskSize)
    }

    mutating func setRSDP(at address: UInt64) {
        put(address, at: Field.rsdpAddress)
    }

    /// At most `memoryMapLimit` entries.
    mutating func setMemoryMap(_ entries: [MemoryMap.Entry]) {
        let entries = entries.prefix(ZeroPage.memoryMapLimit)
        put(UInt8(truncatingIfNeeded: entries.count), at: Field.memoryMapCount)
        for (index, entry) in entries.enumerated() {
            let offset = Field.memoryMap + index * ZeroPage.memoryMapEntrySize
            put(entry.base, at: offset)
            put(entry.size, at: offset + 8)
            put(entry.kind.rawValue, at: offset + 16)
        }
    }

    private mutating func put<T: FixedWidthInteger & UnsignedInteger>(_ value: T, at offset: Int) {
        var field = TableBytes()
        field.append(value)
        bytes.replaceSubrange(offset..<(offset + field.count), with: field.bytes)
    }
}

#endif
