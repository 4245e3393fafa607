internal import StratoHost

/// What of a kernel image UEFI firmware is handed.
package enum FirmwareKernelImage {
    /// How much of a file is a bzImage's real-mode part; firmware is given that apart from the rest. 0 for a file without one.
    ///
    /// - Throws: `BootError` naming what was recognised, for a file that firmware cannot start.
    package static func setupSize(of file: BootFile) throws(BootError) -> UInt64 {
        let header = try FileWindow(file).bytes(at: 0, count: KernelFormat.headerSize)
        do {
            let format = KernelFormat.recognise(header)
            switch format {
            case .bzImage:
                return try BzImage(parsing: header, fileSize: file.size).codeOffset
            case .portableExecutable:
                return 0
            case .arm64Image where firmwareStartsARM64Images && ByteFields(bytes: header).has(Array("MZ".utf8), at: 0):
                return 0
            case .elf:
                throw KernelFormatError(
                    "UEFI firmware starts a bzImage or an EFI executable, not an ELF file; leave pflash out, or use the bzImage")
            case let format?:
                throw KernelFormatError("\(format.name) is no kernel that firmware can start; \(format.advice)")
            case nil:
                throw KernelFormatError("not a kernel that UEFI firmware can start: neither a bzImage nor an EFI executable")
            }
        } catch let error as BootError {
            throw error
        } catch {
            throw file.error("\(error)")
        }
    }
}
