import Foundation
import StratoMemory
import Testing

@testable import StratoBoot

/// Writes bits as DEFLATE has them, lowest first.
private struct BitWriter {
    private(set) var bytes: [UInt8] = []
    private var count = 0

    mutating func put(_ value: Int, _ width: Int) {
        for bit in 0..<width {
            if count % 8 == 0 { bytes.append(0) }
            if value >> bit & 1 != 0 { bytes[bytes.count - 1] |= 1 << UInt8(count % 8) }
            count += 1
        }
    }
}

/// The header of a gzip file without a name.
private let header: [UInt8] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3]

private func trailer(_ content: [UInt8]) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 8)
    bytes.put(CRC32.update(0, content.span), at: 0)
    bytes.put(UInt32(truncatingIfNeeded: content.count), at: 4)
    return bytes
}

/// A gzip file whose content is not compressed.
func storedGzip(_ content: [UInt8]) -> [UInt8] {
    var file = header
    var rest = content[...]
    repeat {
        let piece = rest.prefix(0xFFFF)
        rest = rest.dropFirst(piece.count)
        var head = [UInt8](repeating: 0, count: 5)
        head[0] = rest.isEmpty ? 1 : 0
        head.put(UInt16(piece.count), at: 1)
        head.put(~UInt16(piece.count), at: 3)
        file += head + piece
    } while !rest.isEmpty
    return file + trailer(content)
}

/// What gzip itself makes of bytes.
///
/// - Parameter level: 1...9; the fast ones and the others write different kinds of blocks.
func gzipped(_ content: [UInt8], level: Int) throws -> [UInt8] {
    let path = temporaryPath()
    try Data(content).write(to: URL(fileURLWithPath: path))
    defer { try? FileManager.default.removeItem(atPath: path) }
    let output = path + ".out"
    try Data().write(to: URL(fileURLWithPath: output))
    defer { try? FileManager.default.removeItem(atPath: output) }
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/gzip")
    process.arguments = ["-\(level)", "-c", path]
    process.standardOutput = try FileHandle(forWritingTo: URL(fileURLWithPath: output))
    try process.run()
    process.waitUntilExit()
    return Array(try Data(contentsOf: URL(fileURLWithPath: output)))
}

private func unpack(_ file: [UInt8], limit: UInt64? = nil) throws -> [UInt8] {
    var result: [UInt8] = []
    var reader = GzipReader(try FileWindow(try bootFile(file)))
    let count = try reader.unpack(limit: limit) { piece throws(BootError) in
        for index in piece.indices { result.append(piece[index]) }
    }
    #expect(count == UInt64(result.count))
    return result
}

@Suite("gzip files")
struct GzipReaderTests {
    private static let hasGzip = FileManager.default.isExecutableFile(atPath: "/bin/gzip")

    /// Text with repetitions near and far, and noise that cannot be compressed.
    private static func content(_ size: Int) -> [UInt8] {
        var random = SeededGenerator(seed: 7)
        var bytes: [UInt8] = []
        while bytes.count < size {
            switch Int.random(in: 0..<4, using: &random) {
            case 0: bytes += (0..<Int.random(in: 1...300, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
            case 1:
                bytes += [UInt8](
                    repeating: UInt8.random(in: 0...3, using: &random), count: Int.random(in: 1...2000, using: &random))
            case 2: bytes += Array("the quick brown fox ".utf8)
            default:
                guard bytes.count > 10 else { continue }
                let distance = Int.random(in: 1...min(bytes.count, 0x8000), using: &random)
                let start = bytes.count - distance
                bytes += bytes[start..<min(bytes.count, start + Int.random(in: 1...300, using: &random))]
            }
        }
        return Array(bytes.prefix(size))
    }

    @Test(
        "What gzip packed comes out as it was, whatever the level and the size",
        .enabled(if: hasGzip, "there is no gzip"), arguments: [1, 9], [0, 1, 64, 0x7FFF, 0x8000, 0x8001, 200_000])
    func roundTrip(_ level: Int, _ size: Int) throws {
        let content = Self.content(size)
        #expect(try unpack(try gzipped(content, level: level)) == content)
    }

    @Test("Stored blocks, also empty ones, come out as they are; what follows the file is left alone")
    func stored() throws {
        let content = Self.content(200_000)
        #expect(try unpack(storedGzip(content) + [1, 2, 3]) == content)
        #expect(try unpack(storedGzip([])) == [])
    }

    @Test("A block of fixed codes, with a copy that overlaps itself")
    func fixedCodes() throws {
        var bits = BitWriter()
        bits.put(1, 1)
        bits.put(1, 2)
        // 'a' is 0x30 + 0x61, its highest bit first; length 10 is symbol 264, the code 8; distance 1 is the code 0.
        for bit in (0..<8).reversed() { bits.put((0x30 + 0x61) >> bit & 1, 1) }
        for bit in (0..<7).reversed() { bits.put(8 >> bit & 1, 1) }
        bits.put(0, 5)
        bits.put(0, 7)
        let content = [UInt8](repeating: UInt8(ascii: "a"), count: 11)
        #expect(try unpack(header + bits.bytes + trailer(content)) == content)
    }

    @Test("Name, comment, extra field and header check are passed over")
    func optionalHeader() throws {
        let content = Array("content".utf8)
        let body = Array(storedGzip(content).dropFirst(10))
        var flagged = header
        flagged[3] = 0x1E
        let extra: [UInt8] = [3, 0, 9, 9, 9] + Array("name\0".utf8) + Array("a comment\0".utf8) + [0xAB, 0xCD]
        #expect(try unpack(flagged + extra + body) == content)
        flagged[3] = 0x20
        #expect(throws: BootError.self) { try unpack(flagged + body) }
        flagged[3] = 0
        flagged[2] = 7
        #expect(throws: BootError.self) { try unpack(flagged + body) }
    }

    @Test("Of a limited piece no more is unpacked: damage behind it does not count")
    func limit() throws {
        let content = Self.content(100_000)
        let file = storedGzip(content)
        #expect(try unpack(Array(file.prefix(90_000)), limit: 64) == Array(content.prefix(64)))
        #expect(try unpack(Array(file.prefix(90_000)), limit: 40_000) == Array(content.prefix(40_000)))
    }

    @Test("A wrong sum, a wrong size and every cut are told, in one line that names the file")
    func damage() throws {
        let content = Self.content(600)
        let file = Self.hasGzip ? try gzipped(content, level: 6) : storedGzip(content)
        for count in 1..<file.count {
            #expect(throws: BootError.self) { try unpack(Array(file[..<count])) }
        }
        for position in (file.count - 8)..<file.count {
            var damaged = file
            damaged[position] ^= 1
            let error = #expect(throws: BootError.self) { try unpack(damaged) }
            #expect(error?.description.hasSuffix(": the gzip file is damaged") == true)
        }
    }

    @Test("Codes that are none: too many of a length, unused bits, a distance before the start, symbols that do not exist")
    func impossibleCodes() throws {
        // Block type 3.
        #expect(throws: BootError.self) { try unpack(header + [0x07, 0, 0, 0, 0, 0, 0, 0, 0]) }
        // Stored, with lengths that contradict each other.
        #expect(throws: BootError.self) { try unpack(header + [1, 5, 0, 5, 0, 1, 2, 3, 4, 5] + [UInt8](repeating: 0, count: 8)) }
        // Fixed codes: a copy before anything was there; literal symbol 286; distance symbol 30.
        for (symbol, width, distance) in [(1, 7, 0), (0b1100_0110, 8, 0), (1, 7, 30)] {
            var bits = BitWriter()
            bits.put(1, 1)
            bits.put(1, 2)
            for bit in (0..<width).reversed() { bits.put(symbol >> bit & 1, 1) }
            for bit in (0..<5).reversed() { bits.put(distance >> bit & 1, 1) }
            bits.put(0, 64)
            #expect(throws: BootError.self) { try unpack(header + bits.bytes) }
        }
        // Code length codes that are all of one bit, and none at all.
        for length in [1, 0] {
            var bits = BitWriter()
            bits.put(1, 1)
            bits.put(2, 2)
            bits.put(0, 5)
            bits.put(0, 5)
            bits.put(15, 4)
            for _ in 0..<19 { bits.put(length, 3) }
            bits.put(0, 64)
            #expect(throws: BootError.self) { try unpack(header + bits.bytes) }
        }
    }

    @Test("Changed files are unpacked or refused, and never fail otherwise", .enabled(if: hasGzip, "there is no gzip"))
    func changedFiles() throws {
        var random = SeededGenerator(seed: 3)
        let content = Self.content(5000)
        let file = try gzipped(content, level: 9)
        for _ in 0..<500 {
            var changed = file
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                changed[Int.random(in: changed.indices, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            if let result = try? unpack(changed) { #expect(result == content) }
        }
    }
}
