import Foundation
import Glibc
import Testing

/// The executables that `make build` makes, where this run has them.
enum BuiltExecutable {
    /// The stripped executable, nil where none was named.
    static let stripped: String? = {
        guard let path = ProcessInfo.processInfo.environment["STRATOVIRT_BINARY"], !path.isEmpty else { return nil }
        return FileManager.default.isExecutableFile(atPath: path) ? path : nil
    }()

    /// The same with its symbols, nil where it was not built.
    static let unstripped: String? = {
        guard let stripped else { return nil }
        let path = URL(filePath: stripped).deletingLastPathComponent().appending(path: "release/stratovirt")
            .path(percentEncoded: false)
        return FileManager.default.isReadableFile(atPath: path) ? path : nil
    }()

    static let missing: Comment = "STRATOVIRT_BINARY names no executable: run by `make test`"

    /// The root of the source tree.
    static let sourceRoot = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()
}

/// What stands in the tables of an ELF file (gABI, chapters 4 and 5), of 64 bits and little-endian.
struct ELFTables {
    struct Segment {
        let type: UInt32
        let flags: UInt32
        let offset: UInt64
        let fileSize: UInt64
    }

    private struct Section {
        let type: UInt32
        let link: UInt32
        let offset: UInt64
        let size: UInt64
    }

    enum FileType {
        static let sharedObject: UInt16 = 3
    }

    enum SegmentType {
        static let load: UInt32 = 1
        static let dynamic: UInt32 = 2
        static let interpreter: UInt32 = 3
        static let stack: UInt32 = 0x6474_E551
        static let readOnlyAfterRelocation: UInt32 = 0x6474_E552
    }

    enum SegmentFlag {
        static let executable: UInt32 = 1
        static let writable: UInt32 = 2
    }

    enum DynamicTag {
        static let needed: UInt64 = 1
        static let flags1: UInt64 = 0x6FFF_FFFB
        /// Of `flags1`.
        static let positionIndependentExecutable: UInt64 = 0x0800_0000
    }

    private static let symbolTable: UInt32 = 2
    private static let symbolSize: UInt64 = 24

    let bytes: [UInt8]
    let type: UInt16
    let segments: [Segment]
    private let sections: [Section]

    init(path: String) throws {
        let bytes = [UInt8](try Data(contentsOf: URL(filePath: path), options: .mappedIfSafe))
        try #require(bytes.starts(with: [0x7F, 0x45, 0x4C, 0x46, 2, 1]), "\(path) is no ELF file of 64 bits")
        self.bytes = bytes
        type = try Self.integer(bytes, 16)
        segments = try Self.entries(bytes, table: 32, size: 54, count: 56).map { base in
            Segment(
                type: try Self.integer(bytes, base), flags: try Self.integer(bytes, base + 4),
                offset: try Self.integer(bytes, base + 8), fileSize: try Self.integer(bytes, base + 32))
        }
        sections = try Self.entries(bytes, table: 40, size: 58, count: 60).map { base in
            Section(
                type: try Self.integer(bytes, base + 4), link: try Self.integer(bytes, base + 40),
                offset: try Self.integer(bytes, base + 24), size: try Self.integer(bytes, base + 32))
        }
    }

    /// The offsets of a table's entries; the arguments say where the header holds its place, entry size and count.
    private static func entries(_ bytes: [UInt8], table: UInt64, size: UInt64, count: UInt64) throws -> [UInt64] {
        let base: UInt64 = try integer(bytes, table)
        let stride: UInt16 = try integer(bytes, size)
        let entries: UInt16 = try integer(bytes, count)
        return (0..<UInt64(entries)).map { base + $0 * UInt64(stride) }
    }

    private static func integer<T: FixedWidthInteger>(_ bytes: [UInt8], _ offset: UInt64) throws -> T {
        let start = try #require(Int(exactly: offset))
        let size = T.bitWidth / 8
        try #require(start <= bytes.count - size, "the file ends early")
        return bytes[start..<(start + size)].reversed().reduce(0) { $0 << 8 | T($1) }
    }

    /// What the dynamic section says: tags and values.
    func dynamicEntries() throws -> [(tag: UInt64, value: UInt64)] {
        let segment = try #require(segments.first { $0.type == SegmentType.dynamic })
        return try stride(from: segment.offset, to: segment.offset + segment.fileSize, by: 16).map { offset in
            (try Self.integer(bytes, offset), try Self.integer(bytes, offset + 8))
        }
    }

    /// The names in the symbol table; none in a stripped file.
    func symbolNames() throws -> [Substring] {
        guard let table = sections.first(where: { $0.type == Self.symbolTable }) else { return [] }
        try #require(Int(table.link) < sections.count)
        let strings = sections[Int(table.link)]
        return try stride(from: table.offset, to: table.offset + table.size, by: Int(Self.symbolSize)).map { offset in
            let name: UInt32 = try Self.integer(bytes, offset)
            let start = try #require(Int(exactly: strings.offset + UInt64(name)))
            try #require(start < bytes.count)
            return Substring(decoding: bytes[start...].prefix { $0 != 0 }, as: UTF8.self)
        }
    }

    /// Whether the text stands somewhere in the file as a whole C string, as the name of a linked Swift module does.
    func holdsString(_ text: String) -> Bool {
        Data(bytes).range(of: Data([0] + Array(text.utf8) + [0])) != nil
    }
}
