/// A kernel image that was recognised and read as far as is needed to load it.
package enum KernelImage: Sendable, Equatable {
    case bzImage(BzImage)
    case elf(ELFKernel)
    case arm64Image(ARM64Image)

    /// An arm64 Image as distributions and the kernel's own `make Image.gz` pack it.
    case gzipARM64Image(ARM64Image)

    /// Machine code as it is in memory, without any header: what `objcopy -O binary vmlinux` makes.
    case raw(size: UInt64)

    /// What every Linux kernel has inside, and a file that is taken for a raw kernel must have.
    static let banner = Array("Linux version ".utf8)

    /// More than a raw kernel has by far: what is larger is not searched for the banner.
    static let rawSizeLimit: UInt64 = 256 << 20

    /// Finds out what a file is.
    ///
    /// - Throws: `BootError` naming what was recognised, for anything but a whole kernel.
    package static func inspect(_ file: BootFile) throws(BootError) -> KernelImage {
        let window = try FileWindow(file)
        let header = try window.bytes(at: 0, count: KernelFormat.headerSize)
        do {
            switch KernelFormat.recognise(header) {
            case .bzImage:
                return .bzImage(try BzImage(parsing: header, fileSize: file.size))
            case .elf:
                let read = { (offset: UInt64, count: Int) throws(BootError) in try window.bytes(at: offset, count: count) }
                return .elf(try ELFKernel(parsing: header, fileSize: file.size, read: read))
            case .arm64Image:
                return .arm64Image(try ARM64Image(parsing: header))
            case .gzip:
                guard let image = try packedARM64Image(window) else {
                    throw KernelFormatError(
                        "\(KernelFormat.gzip.name) is no kernel that can be started; \(KernelFormat.gzip.advice)")
                }
                return .gzipARM64Image(image)
            case let format?:
                throw KernelFormatError("\(format.name) is no kernel that can be started; \(format.advice)")
            case nil:
                guard file.size <= rawSizeLimit, try hasBanner(window) else {
                    throw KernelFormatError(
                        "not a kernel: neither a bzImage nor an ELF vmlinux, nor a raw image with a Linux version inside")
                }
                return .raw(size: file.size)
            }
        } catch let error as BootError {
            throw error
        } catch {
            throw file.error("\(error)")
        }
    }

    /// The header of the arm64 Image in a gzip file; nil if something else is in it, or cannot be unpacked.
    private static func packedARM64Image(_ window: FileWindow) throws(KernelFormatError) -> ARM64Image? {
        var reader = GzipReader(window)
        var header: [UInt8] = []
        let count = try? reader.unpack(limit: UInt64(ARM64Image.headerSize)) { bytes throws(BootError) in
            for index in bytes.indices { header.append(bytes[index]) }
        }
        guard count != nil, KernelFormat.recognise(header) == .arm64Image else { return nil }
        return try ARM64Image(parsing: header)
    }

    /// Looks for the banner, window by window; they overlap by one byte less than it has.
    private static func hasBanner(_ window: FileWindow) throws(BootError) -> Bool {
        let step = UInt64(FileWindow.size - (banner.count - 1))
        var offset: UInt64 = 0
        while offset < window.file.size {
            let bytes = try window.bytes(at: offset, count: FileWindow.size)
            if contains(banner, in: bytes.span) { return true }
            offset += step
        }
        return false
    }

    /// Horspool's search: looks at one byte in fourteen, as kernels have many megabytes before their banner.
    static func contains(_ needle: [UInt8], in bytes: Span<UInt8>) -> Bool {
        guard let last = needle.last, needle.count <= bytes.count else { return needle.isEmpty }
        var shifts = [Int](repeating: needle.count, count: 256)
        for (index, byte) in needle.dropLast().enumerated() {
            shifts[Int(byte)] = needle.count - 1 - index
        }
        var end = needle.count - 1
        while end < bytes.count {
            let byte = bytes[end]
            if byte == last {
                let start = end - (needle.count - 1)
                if needle.indices.allSatisfy({ bytes[start + $0] == needle[$0] }) { return true }
            }
            end += shifts[Int(byte)]
        }
        return false
    }
}
