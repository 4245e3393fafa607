/// Kernels of a few hundred bytes, for seeds.
enum KernelSeed {
    /// A relocatable bzImage with a 64-bit entry (Linux, Documentation/arch/x86/boot.rst), to be loaded at 1 MiB.
    static func bzImage(version: UInt16 = 0x020F, isRelocatable: UInt8 = 1) -> [UInt8] {
        var file = [UInt8](repeating: 0, count: 1024 + 1024)
        file[0x1F1] = 1
        file.put(UInt32(1024 / 16), at: 0x1F4)
        file.put(UInt16(0xAA55), at: 0x1FE)
        file.put(UInt16(0x6AEB), at: 0x200)
        file.replaceSubrange(0x202..<0x206, with: Array("HdrS".utf8))
        file.put(version, at: 0x206)
        file[0x211] = 1
        file.put(UInt32(0x10_0000), at: 0x214)
        file.put(UInt32(0x7FFF_FFFF), at: 0x22C)
        file.put(UInt32(0x10_0000), at: 0x230)
        file[0x234] = isRelocatable
        file.put(UInt16(1), at: 0x236)
        file.put(UInt32(255), at: 0x238)
        file.put(UInt64(0x10_0000), at: 0x258)
        file.put(UInt32(0x1000), at: 0x260)
        return file
    }

    /// An ELF vmlinux (ELF-64 object file format, figures 2 and 6) of one loaded segment at 1 MiB, and a note.
    static func elf(note: [UInt8]?) -> [UInt8] {
        var file: [UInt8] = [0x7F, 0x45, 0x4C, 0x46, 2, 1, 1]
        file.put(UInt16(2), at: 16)
        file.put(UInt16(62), at: 18)
        file.put(UInt64(0x10_0000), at: 24)
        file.put(UInt64(64), at: 32)
        file.put(UInt16(56), at: 54)
        file.put(UInt16(note == nil ? 1 : 2), at: 56)
        func program(_ index: Int, type: UInt32, offset: UInt64, address: UInt64, fileSize: UInt64, memorySize: UInt64) {
            let base = 64 + index * 56
            file.put(type, at: base)
            file.put(offset, at: base + 8)
            file.put(address, at: base + 24)
            file.put(fileSize, at: base + 32)
            file.put(memorySize, at: base + 40)
            file.put(UInt64(4), at: base + 48)
        }
        program(0, type: 1, offset: 0x100, address: 0x10_0000, fileSize: 0x40, memorySize: 0x1000)
        if let note {
            program(1, type: 4, offset: 0x140, address: 0, fileSize: UInt64(note.count), memorySize: UInt64(note.count))
            file.put(UInt8(0), at: 0x13F)
            file += note
        }
        file.put(UInt8(0), at: 0x1FF)
        return file
    }

    /// XEN_ELFNOTE_PHYS32_ENTRY (Xen, public/elfnote.h).
    static let pvhNote: [UInt8] = little(4, 4) + little(8, 4) + little(18, 4) + Array("Xen\0".utf8) + little(0x10_0000, 8)

    /// An arm64 Image (Linux, Documentation/arch/arm64/booting.rst).
    static let arm64Image: [UInt8] = {
        var file = [UInt8](repeating: 0, count: 128)
        file.put(UInt64(0x8_0000), at: 8)
        file.put(UInt64(0x1_0000), at: 16)
        file.replaceSubrange(56..<60, with: Array("ARM\u{64}".utf8))
        return file
    }()

    /// Machine code with Linux's banner in it.
    static let raw: [UInt8] = [0xF4, 0xEB, 0xFD] + Array("Linux version 6.12".utf8)

    /// A gzip file (RFC 1952) with these bytes in one stored block; their CRC is not right.
    static func gzipStored(_ bytes: [UInt8]) -> [UInt8] {
        let count = UInt64(bytes.count)
        return [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3, 1] + little(count, 2) + little(~count, 2) + bytes + little(0, 4)
            + little(count, 4)
    }

    /// `printf 'aaaaaaaaaa' | gzip`: a block of fixed codes, with a copy.
    static let gzipFixed: [UInt8] = [
        0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3, 0x4B, 0x4C, 0x84, 0x01, 0x00, 0xF0, 0xCD, 0x11, 0x4C, 10, 0, 0, 0,
    ]

    /// A gzip file with a block of codes of its own: 180 random letters a to d.
    static let gzipDynamic: [UInt8] = [
        0x1F, 0x8B, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0x35, 0x8E, 0x81, 0x0D, 0x00, 0x31,
        0x08, 0x02, 0x67, 0x05, 0xDC, 0x7F, 0x86, 0x3F, 0xB4, 0x4F, 0x93, 0x46, 0x11, 0x50, 0xC5, 0x52,
        0x3C, 0x51, 0x64, 0x9E, 0x5C, 0x8C, 0x34, 0x54, 0x7C, 0xD0, 0xC0, 0x81, 0xAC, 0xB2, 0x35, 0x33,
        0x77, 0xEA, 0x94, 0x8F, 0x56, 0x35, 0x15, 0x85, 0x72, 0xCE, 0x30, 0x3E, 0x69, 0x53, 0x94, 0x2A,
        0x2F, 0xBE, 0x68, 0x90, 0x2F, 0x58, 0xFF, 0xC2, 0x60, 0x80, 0xEF, 0x66, 0xBF, 0x43, 0xB2, 0x91,
        0x3D, 0x85, 0x6D, 0x24, 0x67, 0x4D, 0xF4, 0x1F, 0x4E, 0x71, 0x58, 0xEF, 0xB4, 0x00, 0x00, 0x00,
    ]
}
