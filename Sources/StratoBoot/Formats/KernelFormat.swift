internal import StratoHost

/// What a file is, told by its first bytes.
package enum KernelFormat: Sendable, Hashable, CaseIterable {
    case bzImage
    case elf
    case arm64Image
    case portableExecutable
    case gzip
    case xz
    case zstd
    case lz4
    case bzip2
    case lzma
    case lzo
    case uImage

    /// How much of a file must be seen.
    package static let headerSize = 0x1000

    /// The header of x86 kernels (Linux boot protocol, "The Real-Mode Kernel Header").
    private static let setupMagic = Array("HdrS".utf8)
    private static let setupMagicOffset = 0x202

    /// The header of arm64 kernels (Linux, Documentation/arch/arm64/booting.rst).
    private static let arm64Magic = Array("ARM\u{64}".utf8)
    private static let arm64MagicOffset = 56

    /// The first bytes of formats that a kernel is delivered in, but not started from.
    private static let wrappers: [(format: KernelFormat, magic: [UInt8])] = [
        (.gzip, [0x1F, 0x8B]),
        (.xz, [0xFD, 0x37, 0x7A, 0x58, 0x5A, 0x00]),
        (.zstd, [0x28, 0xB5, 0x2F, 0xFD]),
        (.lz4, [0x04, 0x22, 0x4D, 0x18]),
        (.lz4, [0x02, 0x21, 0x4C, 0x18]),
        (.bzip2, Array("BZh".utf8)),
        (.lzma, [0x5D, 0x00, 0x00]),
        (.lzo, [0x89, 0x4C, 0x5A, 0x4F]),
        (.uImage, [0x27, 0x05, 0x19, 0x56]),
    ]

    /// The format, or nil if none is recognised.
    ///
    /// bzImage and arm64 Image come before PE, as kernels with an EFI stub are PE files too.
    package static func recognise(_ header: [UInt8]) -> KernelFormat? {
        let fields = ByteFields(bytes: header)
        if fields.has(setupMagic, at: setupMagicOffset) { return .bzImage }
        if fields.has([0x7F, 0x45, 0x4C, 0x46], at: 0) { return .elf }
        if fields.has(arm64Magic, at: arm64MagicOffset) { return .arm64Image }
        if fields.has(Array("MZ".utf8), at: 0) { return .portableExecutable }
        return wrappers.first { fields.has($0.magic, at: 0) }?.format
    }

    /// What it is, with its article.
    package var name: String {
        switch self {
        case .bzImage: "a bzImage"
        case .elf: "an ELF file"
        case .arm64Image: "an arm64 Image"
        case .portableExecutable: "a PE (EFI) executable"
        case .gzip: "a gzip file"
        case .xz: "an xz file"
        case .zstd: "a zstd file"
        case .lz4: "an lz4 file"
        case .bzip2: "a bzip2 file"
        case .lzma: "an lzma file"
        case .lzo: "an lzop file"
        case .uImage: "a U-Boot uImage"
        }
    }

    /// What to do with a file of this format, where it is none that a machine starts.
    var advice: String {
        switch self {
        case .bzImage, .elf, .arm64Image: "use a kernel for this machine's processor"
        case .portableExecutable: "EFI programs need firmware; use a bzImage or an ELF vmlinux"
        case .gzip: "unpack it with gunzip first"
        case .xz, .lzma: "unpack it with unxz first"
        case .zstd: "unpack it with unzstd first"
        case .lz4: "unpack it with unlz4 first"
        case .bzip2: "unpack it with bunzip2 first"
        case .lzo: "unpack it with lzop -d first"
        case .uImage: "use the kernel that it was made from"
        }
    }
}
