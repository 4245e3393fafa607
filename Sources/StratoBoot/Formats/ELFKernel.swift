internal import StratoHost

/// A kernel in an ELF file for x86_64: what is loaded where, and how it is entered.
package struct ELFKernel: Sendable, Equatable {
    /// A piece of the file and its place in guest physical memory.
    package struct Segment: Sendable, Equatable {
        package let fileOffset: UInt64

        /// In bytes, at most `memorySize`; the rest is zeros.
        package let fileSize: UInt64

        package let address: UInt64

        /// In bytes, at least 1; `address + memorySize` does not overflow.
        package let memorySize: UInt64

        package var end: UInt64 { address &+ memorySize }
    }

    /// ELF-64 object file format, figures 2 to 8; Xen's public/elfnote.h.
    private enum Constant {
        static let class64: UInt8 = 2
        static let littleEndian: UInt8 = 1
        static let currentVersion: UInt8 = 1
        static let executable: UInt16 = 2
        static let machineX86: UInt16 = 62
        static let programHeaderSize = 56
        static let loadable: UInt32 = 1
        static let note: UInt32 = 4
        static let noteHeaderSize = 12
        static let noteOwner: [UInt8] = Array("Xen\0".utf8)

        /// XEN_ELFNOTE_PHYS32_ENTRY.
        static let physical32Entry: UInt32 = 18
    }

    /// More program headers than a kernel has by far; a limit on what a forged file makes us do.
    static let programHeaderLimit = 64

    /// Ascending by address, apart from each other, at least one.
    package let segments: [Segment]

    /// `e_entry`.
    package let entry: UInt64

    /// The physical address of the 32-bit entry that the PVH note names, nil without such a note.
    package let pvhEntry: UInt64?

    /// Reads the headers and the notes.
    ///
    /// - Parameters:
    ///   - header: the first bytes of the file.
    ///   - fileSize: in bytes.
    ///   - read: gives up to 64 KiB of the file from an offset on, less at its end.
    /// - Throws: `KernelFormatError` for what is not a whole x86_64 kernel; or the error of `read`.
    init(
        parsing header: [UInt8], fileSize: UInt64, read: (_ offset: UInt64, _ count: Int) throws(BootError) -> [UInt8]
    ) throws {
        let fields = ByteFields(bytes: header)
        func field<T: FixedWidthInteger & UnsignedInteger>(_ type: T.Type, _ offset: Int) throws(KernelFormatError) -> T {
            guard let value = fields.load(type, at: offset) else {
                throw KernelFormatError("the ELF file is truncated in its header")
            }
            return value
        }
        guard try field(UInt8.self, 4) == Constant.class64 else {
            throw KernelFormatError("a 32-bit ELF file; use a kernel that is built for x86_64")
        }
        guard try field(UInt8.self, 5) == Constant.littleEndian, try field(UInt8.self, 6) == Constant.currentVersion else {
            throw KernelFormatError("an ELF file of another byte order or version; use a kernel that is built for x86_64")
        }
        let machine = try field(UInt16.self, 18)
        guard machine == Constant.machineX86 else {
            throw KernelFormatError("an ELF file for machine \(machine); use a kernel that is built for x86_64")
        }
        guard try field(UInt16.self, 16) == Constant.executable else {
            throw KernelFormatError("an ELF file that is not a kernel: an object, a library or a relocatable program")
        }
        entry = try field(UInt64.self, 24)
        let tableOffset = try field(UInt64.self, 32)
        let entrySize = Int(try field(UInt16.self, 54))
        let count = Int(try field(UInt16.self, 56))
        guard entrySize == Constant.programHeaderSize, (1...ELFKernel.programHeaderLimit).contains(count) else {
            throw KernelFormatError("the ELF file has \(count) program headers of \(entrySize) bytes, which no kernel has")
        }
        let tableSize = count * entrySize
        let table = try read(tableOffset, tableSize)
        guard table.count == tableSize else {
            throw KernelFormatError("the ELF file is truncated in its program headers")
        }
        var segments: [Segment] = []
        var pvhEntry: UInt64?
        for index in 0..<count {
            let program = ProgramHeader(ByteFields(bytes: table), at: index * entrySize)
            switch program.type {
            case Constant.loadable:
                if let segment = try ELFKernel.segment(program, fileSize: fileSize) { segments.append(segment) }
            case Constant.note where pvhEntry == nil:
                pvhEntry = try ELFKernel.pvhEntry(program, read: read)
            default:
                break
            }
        }
        segments.sort { $0.address < $1.address }
        guard !segments.isEmpty else {
            throw KernelFormatError("the ELF file has nothing to load")
        }
        for (segment, next) in zip(segments, segments.dropFirst()) where segment.end > next.address {
            throw KernelFormatError("the ELF file is damaged: what it loads at \(hexadecimal(next.address)) overlaps")
        }
        self.segments = segments
        self.pvhEntry = pvhEntry
    }

    private struct ProgramHeader {
        let type: UInt32
        let offset: UInt64
        let physicalAddress: UInt64
        let fileSize: UInt64
        let memorySize: UInt64
        let alignment: UInt64

        /// The table was read whole, so that no field is missing.
        init(_ table: ByteFields, at base: Int) {
            type = table.load(UInt32.self, at: base) ?? 0
            offset = table.load(UInt64.self, at: base + 8) ?? 0
            physicalAddress = table.load(UInt64.self, at: base + 24) ?? 0
            fileSize = table.load(UInt64.self, at: base + 32) ?? 0
            memorySize = table.load(UInt64.self, at: base + 40) ?? 0
            alignment = table.load(UInt64.self, at: base + 48) ?? 0
        }
    }

    private static func segment(_ program: ProgramHeader, fileSize: UInt64) throws(KernelFormatError) -> Segment? {
        guard program.memorySize > 0 else { return nil }
        guard program.fileSize <= program.memorySize else {
            throw KernelFormatError("the ELF file is damaged: a segment is larger in the file than in memory")
        }
        guard program.offset <= fileSize, program.fileSize <= fileSize - program.offset else {
            throw KernelFormatError("the ELF file is truncated: a segment reaches past its end")
        }
        guard !program.physicalAddress.addingReportingOverflow(program.memorySize).overflow else {
            throw KernelFormatError("the ELF file is damaged: a segment reaches past the end of memory")
        }
        return Segment(
            fileOffset: program.offset, fileSize: program.fileSize, address: program.physicalAddress,
            memorySize: program.memorySize)
    }

    /// Looks for the PVH note in a segment of notes.
    private static func pvhEntry(
        _ program: ProgramHeader, read: (_ offset: UInt64, _ count: Int) throws(BootError) -> [UInt8]
    ) throws -> UInt64? {
        guard program.fileSize <= UInt64(FileWindow.size) else {
            throw KernelFormatError("the ELF file has \(program.fileSize) bytes of notes, which no kernel has")
        }
        let bytes = try read(program.offset, Int(program.fileSize))
        guard bytes.count == Int(program.fileSize) else {
            throw KernelFormatError("the ELF file is truncated in its notes")
        }
        let notes = ByteFields(bytes: bytes)
        let alignment = program.alignment == 8 ? 8 : 4
        var offset = 0
        while let nameSize = notes.load(UInt32.self, at: offset),
            let descriptionSize = notes.load(UInt32.self, at: offset + 4),
            let type = notes.load(UInt32.self, at: offset + 8)
        {
            // Sums of an offset within 64 KiB and of 32-bit sizes stay far below the width of Int.
            let name = offset + Constant.noteHeaderSize
            let description = aligned(name + Int(nameSize), alignment)
            let end = description + Int(descriptionSize)
            guard end <= bytes.count else {
                throw KernelFormatError("the ELF file is damaged: a note reaches past its segment")
            }
            if type == Constant.physical32Entry, nameSize == 4, notes.has(Constant.noteOwner, at: name) {
                switch descriptionSize {
                case 4: return notes.load(UInt32.self, at: description).map { UInt64($0) }
                case 8: return notes.load(UInt64.self, at: description)
                default: throw KernelFormatError("the ELF file is damaged: its PVH note has \(descriptionSize) bytes")
                }
            }
            offset = aligned(end, alignment)
        }
        return nil
    }

    private static func aligned(_ value: Int, _ alignment: Int) -> Int {
        (value + alignment - 1) / alignment * alignment
    }

    /// Whether an address lies in what is loaded from the file, not in the zeros behind.
    package func hasCode(at address: UInt64) -> Bool {
        segments.contains { $0.address <= address && address - $0.address < $0.fileSize }
    }
}

/// An address as errors write it.
func hexadecimal(_ value: UInt64) -> String {
    "0x" + String(value, radix: 16)
}
