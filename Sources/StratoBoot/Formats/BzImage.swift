internal import StratoHost

/// An x86 Linux kernel with a setup header (Linux, Documentation/arch/x86/boot.rst), as far as a 64-bit loader needs it.
package struct BzImage: Sendable, Equatable {
    /// Offsets of the header's fields in the file and in the zero page.
    package enum Field {
        package static let setupSectors = 0x1F1
        package static let systemSize = 0x1F4
        package static let bootFlag = 0x1FE
        package static let jumpDistance = 0x201
        package static let magic = 0x202
        package static let version = 0x206
        package static let typeOfLoader = 0x210
        package static let loadFlags = 0x211
        package static let code32Start = 0x214
        package static let ramdiskImage = 0x218
        package static let ramdiskSize = 0x21C
        package static let commandLinePointer = 0x228
        package static let ramdiskAddressMaximum = 0x22C
        package static let kernelAlignment = 0x230
        package static let isRelocatable = 0x234
        package static let extendedLoadFlags = 0x236
        package static let commandLineSize = 0x238
        package static let payloadOffset = 0x248
        package static let payloadLength = 0x24C
        package static let setupData = 0x250
        package static let preferredAddress = 0x258
        package static let initSize = 0x260

        /// Behind the last field that protocol 2.12 has.
        static let end = 0x268
    }

    static let bootFlag: UInt16 = 0xAA55
    static let sectorSize: UInt64 = 512

    /// What stands for a zero in `setup_sects`.
    static let defaultSetupSectors: UInt64 = 4

    /// The first protocol with `xloadflags`, which says whether there is a 64-bit entry.
    static let lowestProtocol: UInt16 = 0x020C

    /// `loadflags`: the kernel is loaded at 1 MiB or above.
    static let isLoadedHigh: UInt8 = 1 << 0

    /// `xloadflags`: there is a 64-bit entry.
    static let has64BitEntry: UInt16 = 1 << 0

    /// From the start of the protected-mode code, in bytes.
    static let entryOffset: UInt64 = 0x200

    /// The header's room in the zero page ends where `edd_mbr_sig_buffer` begins.
    static let headerLimit = 0x290

    /// The header as it is in the file, for the zero page: what is in [0x1F1, end of the header).
    package let header: [UInt8]

    /// Where in the file the protected-mode code begins, and how much there is of it, in bytes.
    package let codeOffset: UInt64
    package let codeSize: UInt64

    package let code32Start: UInt64

    /// The highest address that the initial RAM disk's last byte may have.
    package let ramdiskAddressMaximum: UInt64

    /// A power of two.
    package let kernelAlignment: UInt64
    package let isRelocatable: Bool

    /// Without the final zero, in bytes.
    package let commandLineSize: UInt64

    /// Where the kernel wants to be, 0 if it does not say.
    package let preferredAddress: UInt64

    /// What the kernel needs from the address on that it runs at, until it knows its memory; in bytes.
    package let initSize: UInt64

    /// Reads the header.
    ///
    /// - Parameters:
    ///   - header: the first bytes of the file, `KernelFormat.headerSize` of them unless the file is shorter.
    ///   - fileSize: in bytes.
    /// - Throws: `KernelFormatError` for what a 64-bit loader cannot start, and for a file that is not whole.
    init(parsing header: [UInt8], fileSize: UInt64) throws(KernelFormatError) {
        let fields = ByteFields(bytes: header)
        func field<T: FixedWidthInteger & UnsignedInteger>(_ type: T.Type, _ offset: Int) throws(KernelFormatError) -> T {
            guard let value = fields.load(type, at: offset) else {
                throw KernelFormatError("the bzImage is truncated in its header")
            }
            return value
        }
        let version = try field(UInt16.self, Field.version)
        guard version >= BzImage.lowestProtocol else {
            let text = "\(version >> 8).\(version & 0xFF < 10 ? "0" : "")\(version & 0xFF)"
            throw KernelFormatError("a bzImage of boot protocol \(text); 2.12 (Linux 3.8) or later is needed")
        }
        guard try field(UInt16.self, Field.bootFlag) == BzImage.bootFlag else {
            throw KernelFormatError("the bzImage is damaged: its boot flag is not 0xAA55")
        }
        guard try field(UInt16.self, Field.extendedLoadFlags) & BzImage.has64BitEntry != 0 else {
            throw KernelFormatError("a bzImage without a 64-bit entry; use a kernel that is built for x86_64")
        }
        guard try field(UInt8.self, Field.loadFlags) & BzImage.isLoadedHigh != 0 else {
            throw KernelFormatError("a zImage, to be loaded below 1 MiB; build a bzImage")
        }
        let end = Field.magic + Int(try field(UInt8.self, Field.jumpDistance))
        guard end >= Field.end, header.count >= min(end, BzImage.headerLimit) else {
            throw KernelFormatError("the bzImage is damaged: its header ends at \(end)")
        }
        self.header = Array(header[Field.setupSectors..<min(end, BzImage.headerLimit)])

        let sectors = UInt64(try field(UInt8.self, Field.setupSectors))
        let setupSize = ((sectors == 0 ? BzImage.defaultSetupSectors : sectors) + 1) * BzImage.sectorSize
        let systemSize = UInt64(try field(UInt32.self, Field.systemSize)) * 16
        guard setupSize < fileSize, systemSize <= fileSize - setupSize else {
            throw KernelFormatError("the bzImage is truncated: \(fileSize) of \(setupSize + systemSize) bytes are there")
        }
        // What follows the code, a signature for example, is not the kernel's.
        let codeSize = systemSize == 0 ? fileSize - setupSize : systemSize
        guard codeSize > BzImage.entryOffset else {
            throw KernelFormatError("the bzImage is damaged: its code has \(codeSize) bytes, too few for a 64-bit entry")
        }
        let payloadOffset = UInt64(try field(UInt32.self, Field.payloadOffset))
        let payloadLength = UInt64(try field(UInt32.self, Field.payloadLength))
        guard payloadOffset + payloadLength <= codeSize else {
            throw KernelFormatError("the bzImage is damaged: its payload reaches past its code")
        }
        codeOffset = setupSize
        self.codeSize = codeSize

        code32Start = UInt64(try field(UInt32.self, Field.code32Start))
        ramdiskAddressMaximum = UInt64(try field(UInt32.self, Field.ramdiskAddressMaximum))
        isRelocatable = try field(UInt8.self, Field.isRelocatable) != 0
        kernelAlignment = UInt64(try field(UInt32.self, Field.kernelAlignment))
        guard kernelAlignment.nonzeroBitCount == 1 else {
            throw KernelFormatError("the bzImage is damaged: its alignment of \(kernelAlignment) is no power of two")
        }
        commandLineSize = UInt64(try field(UInt32.self, Field.commandLineSize))
        preferredAddress = try field(UInt64.self, Field.preferredAddress)
        initSize = UInt64(try field(UInt32.self, Field.initSize))
    }
}
