internal import StratoHost

/// The header of an arm64 Linux kernel (Linux, Documentation/arch/arm64/booting.rst, "Call the kernel image").
package struct ARM64Image: Sendable, Equatable {
    /// Offsets in the file, and behind the last field.
    private enum Field {
        static let textOffset = 8
        static let imageSize = 16
        static let end = 64
    }

    static let headerSize = Field.end

    /// Kernels before 3.17 have no size in their header, and the only offset there was then.
    private static let oldTextOffset: UInt64 = 0x8_0000

    /// What is kept free behind a kernel that does not tell how much memory it needs there.
    private static let oldTail: UInt64 = 0x100_0000

    /// From an address that is a multiple of 2 MiB, in bytes.
    package let textOffset: UInt64

    /// What the kernel needs from its first byte on, in bytes, zeroed memory included; nil for one that does not tell.
    package let imageSize: UInt64?

    /// Reads a header.
    ///
    /// - Parameter header: the first bytes of the image, unpacked.
    /// - Throws: `KernelFormatError` for a header that is cut short.
    init(parsing header: [UInt8]) throws(KernelFormatError) {
        let fields = ByteFields(bytes: header)
        guard header.count >= Field.end,
            let textOffset = fields.load(UInt64.self, at: Field.textOffset),
            let imageSize = fields.load(UInt64.self, at: Field.imageSize)
        else { throw KernelFormatError("the arm64 Image is cut short") }
        self.textOffset = imageSize == 0 ? ARM64Image.oldTextOffset : textOffset
        self.imageSize = imageSize == 0 ? nil : imageSize
    }

    /// How much memory to keep for the kernel from its first byte on.
    ///
    /// - Parameter contentSize: what there is to load, in bytes; nil if that is not known yet.
    /// - Throws: `KernelFormatError` for a file that is larger than the header says.
    func memorySize(contentSize: UInt64?) throws(KernelFormatError) -> UInt64 {
        guard let imageSize else {
            guard let contentSize else {
                throw KernelFormatError("the compressed arm64 Image does not tell its size; unpack it with gunzip first")
            }
            let (sum, overflow) = contentSize.addingReportingOverflow(ARM64Image.oldTail)
            guard !overflow else { throw KernelFormatError("the arm64 Image is too large") }
            return sum
        }
        guard let contentSize, contentSize > imageSize else { return imageSize }
        throw KernelFormatError(
            "the arm64 Image is damaged: it has \(contentSize) bytes, but its header says that it needs \(imageSize)")
    }
}
