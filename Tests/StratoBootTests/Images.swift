import Foundation
import StratoBoot
import StratoMemory

/// A path that is not in use, in memory where the host has such a place: thousands of files are made.
func temporaryPath() -> String {
    let memory = "/dev/shm"
    let directory =
        FileManager.default.isWritableFile(atPath: memory) ? memory : FileManager.default.temporaryDirectory.path
    return directory + "/stratovirt-boot-\(UUID().uuidString)"
}

/// A file of the given content, open; it has no name any more when this returns.
func bootFile(_ content: [UInt8], option: String = "-kernel") throws -> BootFile {
    let path = temporaryPath()
    try Data(content).write(to: URL(fileURLWithPath: path))
    defer { try? FileManager.default.removeItem(atPath: path) }
    return try BootFile(option: option, opening: path)
}

/// A file that has no content but a size.
func sparseFile(_ size: UInt64, option: String) throws -> BootFile {
    let path = temporaryPath()
    try Data().write(to: URL(fileURLWithPath: path))
    defer { try? FileManager.default.removeItem(atPath: path) }
    let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
    try handle.truncate(atOffset: size)
    try handle.close()
    return try BootFile(option: option, opening: path)
}

func guestMemory(mebibytes: UInt64, above4GiB: UInt64 = 0) throws -> GuestMemory {
    var ranges = [GuestRange(base: GuestAddress(0), size: mebibytes << 20)]
    if above4GiB > 0 { ranges.append(GuestRange(base: GuestAddress(1 << 32), size: above4GiB << 20)) }
    return try GuestMemory(ranges.compactMap { $0 })
}

extension [UInt8] {
    mutating func put<T: FixedWidthInteger>(_ value: T, at offset: Int) {
        for index in 0..<(T.bitWidth / 8) {
            self[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * T(index)))
        }
    }

    func little<T: FixedWidthInteger>(_ type: T.Type, at offset: Int) -> T {
        (0..<(T.bitWidth / 8)).reversed().reduce(0) { $0 << 8 | T(truncatingIfNeeded: self[offset + $1]) }
    }
}

/// Bytes that are all different from their neighbours, so that a shift shows.
func pattern(_ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 8) }
}

/// A bzImage whose every field can be set.
struct BzImageMaker {
    var setupSectors: UInt8 = 3
    var code = pattern(0x800)
    var systemSize: UInt32?
    var bootFlag: UInt16 = 0xAA55
    var jumpDistance: UInt8 = 0x6A
    var version: UInt16 = 0x020F
    var loadFlags: UInt8 = 1
    var code32Start: UInt32 = 0x10_0000
    var ramdiskAddressMaximum: UInt32 = 0x7FFF_FFFF
    var kernelAlignment: UInt32 = 0x20_0000
    var isRelocatable: UInt8 = 1
    var extendedLoadFlags: UInt16 = 0x23
    var commandLineSize: UInt32 = 2047
    var payloadOffset: UInt32 = 0x210
    var payloadLength: UInt32 = 0x5F0
    var setupData: UInt64 = 0
    var preferredAddress: UInt64 = 0x100_0000
    var initSize: UInt32 = 0x100_0000
    var trailer: [UInt8] = []

    var setupSize: Int { (setupSectors == 0 ? 5 : Int(setupSectors) + 1) * 512 }

    var bytes: [UInt8] {
        var file = [UInt8](repeating: 0, count: setupSize)
        file.put(UInt16(0x5A4D), at: 0)  // As with an EFI stub.
        file[0x1F1] = setupSectors
        file.put(systemSize ?? UInt32(code.count / 16), at: 0x1F4)
        file.put(bootFlag, at: 0x1FE)
        file[0x200] = 0xEB
        file[0x201] = jumpDistance
        file.replaceSubrange(0x202..<0x206, with: Array("HdrS".utf8))
        file.put(version, at: 0x206)
        file[0x211] = loadFlags
        file.put(code32Start, at: 0x214)
        file.put(ramdiskAddressMaximum, at: 0x22C)
        file.put(kernelAlignment, at: 0x230)
        file[0x234] = isRelocatable
        file.put(extendedLoadFlags, at: 0x236)
        file.put(commandLineSize, at: 0x238)
        file.put(payloadOffset, at: 0x248)
        file.put(payloadLength, at: 0x24C)
        file.put(setupData, at: 0x250)
        file.put(preferredAddress, at: 0x258)
        file.put(initSize, at: 0x260)
        return file + code + trailer
    }
}

/// An ELF kernel whose every field can be set.
struct ELFMaker {
    struct Program {
        var type: UInt32 = 1
        var offset: UInt64
        var physicalAddress: UInt64
        var fileSize: UInt64
        var memorySize: UInt64
        var alignment: UInt64 = 0x1000
    }

    var elfClass: UInt8 = 2
    var byteOrder: UInt8 = 1
    var type: UInt16 = 2
    var machine: UInt16 = 62
    var entry: UInt64 = 0x100_0000
    var tableOffset: UInt64 = 64
    var entrySize: UInt16 = 56
    var programCount: UInt16?
    var programs = [
        Program(offset: 0x1000, physicalAddress: 0x100_0000, fileSize: 0x800, memorySize: 0x800),
        Program(offset: 0x1800, physicalAddress: 0x100_2000, fileSize: 0x400, memorySize: 0x3000),
    ]

    /// The content of a note segment at 0x800, nil for none.
    var notes: [UInt8]?
    var size = 0x1C00

    static func note(owner: [UInt8] = Array("Xen\0".utf8), type: UInt32 = 18, description: [UInt8]) -> [UInt8] {
        var note = [UInt8](repeating: 0, count: 12)
        note.put(UInt32(owner.count), at: 0)
        note.put(UInt32(description.count), at: 4)
        note.put(type, at: 8)
        note += owner + [UInt8](repeating: 0, count: (4 - owner.count % 4) % 4)
        return note + description + [UInt8](repeating: 0, count: (4 - description.count % 4) % 4)
    }

    static func pvhNote(_ entry: UInt64) -> [UInt8] {
        var description = [UInt8](repeating: 0, count: 8)
        description.put(entry, at: 0)
        return note(description: description)
    }

    var bytes: [UInt8] {
        var file = pattern(size)
        var programs = programs
        if let notes {
            programs.append(
                Program(
                    type: 4, offset: 0x800, physicalAddress: 0, fileSize: UInt64(notes.count), memorySize: UInt64(notes.count),
                    alignment: 4))
            file.replaceSubrange(0x800..<(0x800 + notes.count), with: notes)
        }
        file.replaceSubrange(0..<64, with: [UInt8](repeating: 0, count: 64))
        file.replaceSubrange(0..<8, with: [0x7F, 0x45, 0x4C, 0x46, elfClass, byteOrder, 1, 0])
        file.put(type, at: 16)
        file.put(machine, at: 18)
        file.put(UInt32(1), at: 20)
        file.put(entry, at: 24)
        file.put(tableOffset, at: 32)
        file.put(UInt16(64), at: 52)
        file.put(entrySize, at: 54)
        file.put(programCount ?? UInt16(programs.count), at: 56)
        for (index, program) in programs.enumerated() {
            let base = 64 + index * 56
            file.put(program.type, at: base)
            file.put(UInt32(7), at: base + 4)
            file.put(program.offset, at: base + 8)
            file.put(program.physicalAddress | 0xFFFF_FFFF_8000_0000, at: base + 16)
            file.put(program.physicalAddress, at: base + 24)
            file.put(program.fileSize, at: base + 32)
            file.put(program.memorySize, at: base + 40)
            file.put(program.alignment, at: base + 48)
        }
        return file
    }
}

/// A raw kernel: machine code with the banner somewhere inside.
func rawImage(size: Int, bannerAt offset: Int) -> [UInt8] {
    var bytes = pattern(size)
    bytes.replaceSubrange(offset..<(offset + 14), with: Array("Linux version ".utf8))
    return bytes
}

/// SplitMix64: the same numbers in every run.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
        return value ^ value >> 31
    }
}
