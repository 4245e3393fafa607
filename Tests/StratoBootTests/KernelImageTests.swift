import Foundation
import StratoHost
import Testing

@testable import StratoBoot

/// The line that a user gets, empty if there is no error.
func message(_ body: () throws -> Void) -> String {
    do {
        try body()
        return ""
    } catch {
        return "\(error)"
    }
}

@Suite("Kernel formats")
struct KernelImageTests {
    @Test(
        "what is recognised but cannot be started is named, with what to do",
        arguments: [
            ([0x1F, 0x8B, 8], "a gzip file", "gunzip"),
            ([0xFD, 0x37, 0x7A, 0x58, 0x5A, 0x00], "an xz file", "unxz"),
            ([0x28, 0xB5, 0x2F, 0xFD], "a zstd file", "unzstd"),
            ([0x04, 0x22, 0x4D, 0x18], "an lz4 file", "unlz4"),
            ([0x02, 0x21, 0x4C, 0x18], "an lz4 file", "unlz4"),
            (Array("BZh9".utf8), "a bzip2 file", "bunzip2"),
            ([0x5D, 0x00, 0x00, 0x80], "an lzma file", "unxz"),
            ([0x89, 0x4C, 0x5A, 0x4F], "an lzop file", "lzop"),
            ([0x27, 0x05, 0x19, 0x56], "a U-Boot uImage", "made from"),
            (Array("MZ".utf8), "a PE (EFI) executable", "bzImage"),
        ] as [([UInt8], String, String)])
    func recognised(magic: [UInt8], name: String, advice: String) throws {
        // The banner shows that a format goes before the search for it.
        let file = try bootFile(magic + Array("Linux version 6.1".utf8) + pattern(600))
        let line = message { _ = try KernelImage.inspect(file) }
        #expect(line.hasPrefix("-kernel \(file.path): \(name)"))
        #expect(line.contains(advice))
        #expect(!line.contains("\n"))
    }

    @Test("an arm64 Image is one, also with an EFI stub, and is refused by an x86_64 machine")
    func arm64Image() throws {
        var image = pattern(0x1000)
        image.replaceSubrange(0..<2, with: Array("MZ".utf8))
        image.replaceSubrange(56..<60, with: [0x41, 0x52, 0x4D, 0x64])
        let file = try bootFile(image)
        #expect(try KernelImage.inspect(file) == .arm64Image(try ARM64Image(parsing: image)))
    }

    @Test("a bzImage with an EFI stub is a bzImage")
    func bzImage() throws {
        guard case .bzImage(let image) = try KernelImage.inspect(try bootFile(BzImageMaker().bytes)) else {
            Issue.record("not a bzImage")
            return
        }
        #expect(image.codeOffset == 2048)
        #expect(image.codeSize == 0x800)
        #expect(image.header.count == 0x26C - 0x1F1)
        #expect(image.preferredAddress == 0x100_0000)
        #expect(image.initSize == 0x100_0000)
        #expect(image.isRelocatable)
        #expect(image.commandLineSize == 2047)
    }

    @Test(
        "a raw image is one by its banner, wherever it is, also across the windows it is searched in",
        arguments: [0, 1, 0xFFF, 0xFFF2, 0xFFF3, 0xFFF8, 0xFFFF, 0x1_0000, 0x1_FFE0, 0x1_FFE6, 0x1_FFE9, 0x2_FFF2])
    func raw(offset: Int) throws {
        let file = try bootFile(rawImage(size: 0x3_0000, bannerAt: offset))
        #expect(try KernelImage.inspect(file) == .raw(size: 0x3_0000))
    }

    @Test("a file without the banner is no raw image, nor is one with a part of it or one that is far too large")
    func foreign() throws {
        let fragments = ["", "Linux versio", "Linux Version 6", "Linux\0version ", "LLinux versionLinux version"]
        for fragment in fragments {
            let file = try bootFile(Array(fragment.utf8) + [0] + pattern(0x2_0000))
            #expect(message { _ = try KernelImage.inspect(file) }.contains("not a kernel"), "\(fragment)")
        }
        let large = try sparseFile(KernelImage.rawSizeLimit + 1, option: "-kernel")
        #expect(message { _ = try KernelImage.inspect(large) }.contains("not a kernel"))
    }

    @Test("the search finds exactly what is there")
    func search() {
        let text = Array("aabaaabaaaabLinux Linux version".utf8)
        func isFound(_ needle: [UInt8]) -> Bool { KernelImage.contains(needle, in: text.span) }
        for start in text.indices {
            for end in (start + 1)...text.count {
                #expect(isFound(Array(text[start..<end])))
            }
        }
        #expect(!isFound(Array("aaaaa".utf8)))
        #expect(!isFound(text + [0]))
    }

    @Test("an empty file, a missing one, a directory, a pipe: each gets a line that names option and path")
    func notFiles() throws {
        #expect(message { _ = try bootFile([]) }.contains("the file is empty"))
        let missing = message { _ = try BootFile(option: "-initrd", opening: "/nonexistent/x") }
        #expect(missing == "-initrd /nonexistent/x: No such file or directory")
        let directory = message { _ = try KernelImage.inspect(try BootFile(option: "-kernel", opening: "/tmp")) }
        #expect(directory.hasPrefix("-kernel /tmp: "))
        let pipe = Pipe()
        let line = message {
            let descriptor = OwnedDescriptor(owning: dup(pipe.fileHandleForReading.fileDescriptor))
            _ = try BootFile(option: "-kernel", path: "pipe", descriptor: descriptor)
        }
        #expect(line == "-kernel pipe: not a regular file")
    }
}

@Suite("bzImage")
struct BzImageTests {
    private func line(_ change: (inout BzImageMaker) -> Void) throws -> String {
        var maker = BzImageMaker()
        change(&maker)
        let file = try bootFile(maker.bytes)
        return message { _ = try KernelImage.inspect(file) }
    }

    @Test("what a 64-bit loader cannot start gets an error that says why")
    func refused() throws {
        #expect(try line { $0.version = 0x020B }.contains("protocol 2.11; 2.12"))
        #expect(try line { $0.version = 0x0200 }.contains("protocol 2.00"))
        #expect(try line { $0.version = 0 }.contains("protocol 0.00"))
        #expect(try line { $0.extendedLoadFlags = 0 }.contains("without a 64-bit entry"))
        #expect(try line { $0.loadFlags = 0 }.contains("zImage"))
        #expect(try line { $0.bootFlag = 0 }.contains("boot flag"))
        #expect(try line { $0.jumpDistance = 0x65 }.contains("header ends"))
        #expect(try line { $0.kernelAlignment = 0 }.contains("power of two"))
        #expect(try line { $0.kernelAlignment = 0x30_0000 }.contains("power of two"))
        #expect(try line { $0.payloadOffset = 0x211 }.contains("payload"))
        #expect(try line { $0.payloadLength = .max }.contains("payload"))
        #expect(try line { $0.payloadOffset = .max }.contains("payload"))
        #expect(try line { $0.systemSize = 0x81 }.contains("truncated: 4096 of 4112"))
        #expect(try line { $0.systemSize = .max }.contains("truncated"))
        #expect(try line { $0.systemSize = 0x20 }.contains("too few"))
        #expect(try line { _ in }.isEmpty)
    }

    @Test("zero setup sectors stand for four, and those beyond the file are an error")
    func setupSectors() throws {
        var maker = BzImageMaker()
        maker.setupSectors = 0
        guard case .bzImage(let image) = try KernelImage.inspect(try bootFile(maker.bytes)) else {
            Issue.record("not a bzImage")
            return
        }
        #expect(image.codeOffset == 5 * 512)
        var bytes = BzImageMaker().bytes
        bytes[0x1F1] = 7
        #expect(message { _ = try KernelImage.inspect(try bootFile(bytes)) }.contains("truncated"))
        bytes[0x1F1] = 255
        #expect(message { _ = try KernelImage.inspect(try bootFile(bytes)) }.contains("truncated"))
    }

    @Test("a size of zero stands for all of the file; what follows the size, such as a signature, is not code")
    func systemSize() throws {
        var maker = BzImageMaker()
        maker.trailer = [UInt8](repeating: 0xEE, count: 100)
        guard case .bzImage(let signed) = try KernelImage.inspect(try bootFile(maker.bytes)) else { return }
        #expect(signed.codeSize == 0x800)
        maker.systemSize = 0
        guard case .bzImage(let unsized) = try KernelImage.inspect(try bootFile(maker.bytes)) else { return }
        #expect(unsized.codeSize == 0x800 + 100)
    }

    @Test("a header longer than its room in the zero page is cut there")
    func longHeader() throws {
        var maker = BzImageMaker()
        maker.jumpDistance = 0xFF
        guard case .bzImage(let image) = try KernelImage.inspect(try bootFile(maker.bytes)) else { return }
        #expect(image.header.count == 0x290 - 0x1F1)
    }

    @Test("a file that ends at any byte before its end is refused")
    func truncated() throws {
        let bytes = BzImageMaker().bytes
        for size in 1..<bytes.count {
            let header = Array(bytes[..<size].prefix(KernelFormat.headerSize))
            #expect(throws: KernelFormatError.self, "\(size)") { try BzImage(parsing: header, fileSize: UInt64(size)) }
        }
        for size in [1, 0x1F1, 0x205, 0x206, 0x267, 0x268, 0x400, 0x800, bytes.count - 1] {
            #expect(throws: BootError.self, "\(size)") { try KernelImage.inspect(try bootFile(Array(bytes[..<size]))) }
        }
    }
}

@Suite("ELF kernels")
struct ELFKernelTests {
    private func kernel(_ change: (inout ELFMaker) -> Void = { _ in }) throws -> ELFKernel {
        var maker = ELFMaker()
        change(&maker)
        guard case .elf(let kernel) = try KernelImage.inspect(try bootFile(maker.bytes)) else {
            return try #require(nil, "not an ELF kernel")
        }
        return kernel
    }

    private func line(_ change: (inout ELFMaker) -> Void) -> String { message { _ = try kernel(change) } }

    @Test("segments come ascending, empty ones and other kinds are left out")
    func segments() throws {
        let kernel = try kernel {
            $0.programs.append(.init(offset: 0, physicalAddress: 0, fileSize: 0, memorySize: 0))
            $0.programs.append(.init(type: 7, offset: 0, physicalAddress: 0, fileSize: 5, memorySize: 5))
            $0.programs.reverse()
        }
        #expect(kernel.segments.map(\.address) == [0x100_0000, 0x100_2000])
        #expect(kernel.segments.map(\.fileSize) == [0x800, 0x400])
        #expect(kernel.segments.map(\.memorySize) == [0x800, 0x3000])
        #expect(kernel.entry == 0x100_0000)
        #expect(kernel.pvhEntry == nil)
        #expect(kernel.hasCode(at: 0x100_07FF))
        #expect(!kernel.hasCode(at: 0x100_0800))
        #expect(!kernel.hasCode(at: 0xFF_FFFF))
    }

    @Test("foreign, damaged and truncated files get an error that says so")
    func refused() {
        #expect(line { $0.elfClass = 1 }.contains("32-bit"))
        #expect(line { $0.byteOrder = 2 }.contains("byte order"))
        #expect(line { $0.machine = 183 }.contains("machine 183"))
        #expect(line { $0.type = 3 }.contains("not a kernel"))
        #expect(line { $0.entrySize = 32 }.contains("program headers"))
        #expect(line { $0.programCount = 0 }.contains("program headers"))
        #expect(line { $0.programCount = 65 }.contains("program headers"))
        #expect(line { $0.programCount = 0xFFFF }.contains("program headers"))
        #expect(line { $0.tableOffset = .max }.contains("truncated"))
        #expect(line { $0.tableOffset = 0x1BFF }.contains("truncated"))
        #expect(line { $0.programs[0].fileSize = 0x801 }.contains("larger in the file"))
        #expect(line { $0.programs[1].offset = 0x1801 }.contains("truncated"))
        #expect(line { $0.programs[1].offset = .max }.contains("truncated"))
        #expect(line { $0.programs[1].memorySize = .max }.contains("past the end of memory"))
        #expect(line { $0.programs[1].physicalAddress = .max - 5 }.contains("past the end of memory"))
        #expect(line { $0.programs[1].physicalAddress = 0x100_07FF }.contains("overlaps"))
        #expect(line { $0.programs[1].physicalAddress = 0x100_0000 }.contains("overlaps"))
        let dynamic = ELFMaker.Program(type: 2, offset: 0, physicalAddress: 0, fileSize: 1, memorySize: 1)
        #expect(line { $0.programs = [dynamic] }.contains("nothing to load"))
    }

    @Test("the PVH note is found behind others, with an entry of 4 or 8 bytes; others' notes of its number are not it")
    func notes() throws {
        let others =
            ELFMaker.note(owner: Array("GNU\0".utf8), type: 18, description: pattern(20))
            + ELFMaker.note(owner: Array("Linux\0".utf8), type: 257, description: [1])
            + ELFMaker.note(type: 6, description: Array("linux\0".utf8))
        #expect(try kernel { $0.notes = others }.pvhEntry == nil)
        #expect(try kernel { $0.notes = others + ELFMaker.pvhNote(0x100_0010) }.pvhEntry == 0x100_0010)
        let short = ELFMaker.note(description: [0x20, 0, 0, 1])
        #expect(try kernel { $0.notes = short }.pvhEntry == 0x100_0020)
    }

    @Test("notes with wrong sizes are refused or end the search")
    func hostileNotes() throws {
        var note = ELFMaker.pvhNote(0x100_0000)
        note.put(UInt32.max, at: 0)
        #expect(line { $0.notes = note }.contains("a note reaches past"))
        note = ELFMaker.pvhNote(0x100_0000)
        note.put(UInt32.max, at: 4)
        #expect(line { $0.notes = note }.contains("a note reaches past"))
        #expect(line { $0.notes = ELFMaker.note(description: [1, 2]) }.contains("PVH note has 2 bytes"))
        #expect(try kernel { $0.notes = Array(ELFMaker.pvhNote(5).prefix(11)) }.pvhEntry == nil)
        let huge = ELFMaker.Program(type: 4, offset: 0, physicalAddress: 0, fileSize: 0x1_0001, memorySize: 1)
        #expect(line { $0.programs.append(huge) }.contains("bytes of notes"))
        let outside = ELFMaker.Program(type: 4, offset: .max, physicalAddress: 0, fileSize: 16, memorySize: 1)
        #expect(line { $0.programs.append(outside) }.contains("truncated in its notes"))
    }

    @Test("a file that ends at any byte before its last segment's end is refused")
    func truncated() throws {
        let bytes = ELFMaker(notes: ELFMaker.pvhNote(0x100_0000)).bytes
        for size in 1..<bytes.count {
            let header = Array(bytes[..<size].prefix(KernelFormat.headerSize))
            let read = { (offset: UInt64, count: Int) throws(BootError) in
                offset < UInt64(size) ? Array(bytes[Int(offset)..<size].prefix(count)) : []
            }
            #expect(throws: KernelFormatError.self, "\(size)") {
                try ELFKernel(parsing: header, fileSize: UInt64(size), read: read)
            }
        }
        for size in [1, 3, 4, 63, 64, 0xE7, 0xE8, 0x800, 0x817, bytes.count - 1] {
            #expect(throws: BootError.self, "\(size)") { try KernelImage.inspect(try bootFile(Array(bytes[..<size]))) }
        }
    }
}

@Suite("RAM disk placement")
struct RamdiskPlacementTests {
    private let kernel: Range<UInt64> = 0x100_0000..<0x200_0000

    @Test(
        "the highest page below the ceiling",
        arguments: [(1, 0x7FF_F000), (4096, 0x7FF_F000), (4097, 0x7FF_E000)] as [(UInt64, UInt64)])
    func highest(size: UInt64, expected: UInt64) {
        #expect(RamdiskPlacement.address(size: size, floor: 0x10_0000, ceiling: 0x800_0000, kernel: kernel) == expected)
    }

    @Test("a ceiling that is no page boundary is kept below")
    func ceiling() {
        #expect(RamdiskPlacement.address(size: 0x1000, floor: 0x10_0000, ceiling: 0x37FF_FFFF, kernel: kernel) == 0x37FF_E000)
    }

    @Test("up to the kernel's end above it, else below it, else nowhere")
    func around() {
        func place(_ size: UInt64) -> UInt64? {
            RamdiskPlacement.address(size: size, floor: 0x10_0000, ceiling: 0x280_0000, kernel: kernel)
        }
        #expect(place(0x80_0000) == 0x200_0000)
        #expect(place(0x80_0001) == 0x7F_F000)
        #expect(place(0xF0_0000) == 0x10_0000)
        #expect(place(0xF0_0001) == nil)
        #expect(place(.max) == nil)
    }
}
