import StratoMemory
import Testing

@testable import StratoBoot

/// An arm64 Image whose every field can be set.
struct ARM64ImageMaker {
    var textOffset: UInt64 = 0
    var imageSize: UInt64 = 0x20_0000
    var content = pattern(0x3000)

    var bytes: [UInt8] {
        var file = content
        file.put(textOffset, at: 8)
        file.put(imageSize, at: 16)
        file.put(UInt64(0b1010), at: 24)
        file.put(UInt32(0x644D_5241), at: 56)
        return file
    }
}

@Suite("arm64 Images")
struct ARM64ImageTests {
    @Test("Offset and size come from the header; a header without a size is an old kernel's, at the offset of its time")
    func header() throws {
        var maker = ARM64ImageMaker(textOffset: 0x1_0000)
        var image = try ARM64Image(parsing: maker.bytes)
        #expect(image.textOffset == 0x1_0000)
        #expect(image.imageSize == 0x20_0000)
        #expect(try image.memorySize(contentSize: 0x3000) == 0x20_0000)
        maker.imageSize = 0
        image = try ARM64Image(parsing: maker.bytes)
        #expect(image.textOffset == 0x8_0000)
        #expect(image.imageSize == nil)
        #expect(try image.memorySize(contentSize: 0x3000) == 0x100_3000)
        #expect(throws: KernelFormatError.self) { try image.memorySize(contentSize: .max) }
        #expect(throws: KernelFormatError.self) { try image.memorySize(contentSize: nil) }
    }

    @Test("A header that is cut short, and a file that is larger than its header says, are refused")
    func damage() throws {
        let bytes = ARM64ImageMaker().bytes
        for count in 0..<64 {
            #expect(throws: KernelFormatError.self) { try ARM64Image(parsing: Array(bytes[..<count])) }
        }
        let image = try ARM64Image(parsing: bytes)
        #expect(throws: KernelFormatError.self) { try image.memorySize(contentSize: 0x20_0001) }
    }

    @Test("An Image in a gzip file is recognised by what is in it; another file in one is not")
    func packed() throws {
        let bytes = ARM64ImageMaker().bytes
        let image = try KernelImage.inspect(try bootFile(storedGzip(bytes)))
        #expect(image == .gzipARM64Image(try ARM64Image(parsing: bytes)))
        for content in [pattern(0x1000), Array(bytes.prefix(59)), []] {
            let error = #expect(throws: BootError.self) { try KernelImage.inspect(try bootFile(storedGzip(content))) }
            #expect(error?.description.contains("unpack it with gunzip first") == true)
        }
    }
}
