internal import StratoMemory

@testable internal import StratoBoot

extension FuzzTarget {
    /// A kernel file of any format, or none: what is told of it lies inside of the file.
    static let kernelImage = FuzzTarget("kernel-image", maximumLength: 8192, seeds: kernelSeeds) { input in
        let bytes = input.rest()
        _ = KernelFormat.recognise(bytes)?.advice
        let content = try FuzzFile(bytes)
        let file = try BootFile(option: "-kernel", opening: content.path)
        if let setupSize = try? FirmwareKernelImage.setupSize(of: file) {
            expect(setupSize < file.size, "the real-mode part is smaller than the file")
        }
        switch try KernelImage.inspect(file) {
        case .bzImage(let image):
            expect(image.codeOffset <= file.size && image.codeSize <= file.size - image.codeOffset, "code is in the file")
            expect(image.kernelAlignment.nonzeroBitCount == 1, "an alignment is a power of two")
        case .elf(let kernel):
            var end: UInt64 = 0
            for segment in kernel.segments {
                expect(segment.fileOffset <= file.size, "a segment begins in the file")
                expect(segment.fileSize <= file.size - segment.fileOffset, "a segment ends in the file")
                expect(segment.fileSize <= segment.memorySize, "a segment is as large in memory as in the file")
                expect(segment.address >= end && segment.end > segment.address, "segments ascend and do not meet")
                end = segment.end
            }
        case .arm64Image(let image), .gzipARM64Image(let image):
            expect((try? image.memorySize(contentSize: file.size)) != 0, "a kernel needs memory")
        case .raw(let size):
            expect(size == file.size, "a raw kernel is the whole file")
        }
    }

    @Sendable static func kernelSeeds() -> [(name: String, bytes: [UInt8])] {
        [
            ("bzimage", KernelSeed.bzImage()), ("bzimage-old", KernelSeed.bzImage(version: 0x0203)),
            ("bzimage-fixed", KernelSeed.bzImage(isRelocatable: 0)), ("elf", KernelSeed.elf(note: nil)),
            ("elf-pvh", KernelSeed.elf(note: KernelSeed.pvhNote)), ("arm64", KernelSeed.arm64Image),
            ("arm64-gzip", KernelSeed.gzipStored(KernelSeed.arm64Image)), ("raw", KernelSeed.raw),
            ("pe", Array("MZ".utf8)), ("gzip", KernelSeed.gzipFixed), ("xz", [0xFD, 0x37, 0x7A, 0x58, 0x5A, 0, 0, 4]),
            ("zstd", [0x28, 0xB5, 0x2F, 0xFD, 4]), ("lz4", [0x02, 0x21, 0x4C, 0x18]), ("bzip2", Array("BZh9".utf8)),
            ("lzma", [0x5D, 0, 0, 0x80]), ("lzop", [0x89, 0x4C, 0x5A, 0x4F]), ("uimage", [0x27, 0x05, 0x19, 0x56]),
        ]
    }

    /// A gzip file: however it is damaged, no more comes out than was asked for, and it ends.
    static let gzip = FuzzTarget("gzip", seeds: gzipSeeds) { input in
        let content = try FuzzFile(input.rest())
        let file = try BootFile(option: "-kernel", opening: content.path)
        let limit: UInt64 = 256 << 10
        var reader = GzipReader(try FileWindow(file))
        var total: UInt64 = 0
        let count = try reader.unpack(limit: limit) { bytes throws(BootError) in
            expect(bytes.count <= 32 << 10, "a piece is no larger than the window")
            total += UInt64(bytes.count)
        }
        expect(count == total && count <= limit, "what came out is counted, and within the limit")
    }

    @Sendable private static func gzipSeeds() -> [(name: String, bytes: [UInt8])] {
        [
            ("stored", KernelSeed.gzipStored(Array("hello".utf8))), ("fixed", KernelSeed.gzipFixed),
            ("dynamic", KernelSeed.gzipDynamic),
            (
                "header-fields",
                [0x1F, 0x8B, 8, 0x1E, 0, 0, 0, 0, 0, 3, 2, 0, 1, 2] + Array("name\0comment\0".utf8) + [0, 0]
                    + KernelSeed.gzipFixed.dropFirst(10)
            ),
        ]
    }
}
