#if arch(arm64)

import StratoFirmwareTables
import StratoMemory
import Testing

@testable import StratoBoot

private let base: UInt64 = 0x4000_0000

private func ram(mebibytes: UInt64) throws -> GuestMemory {
    try GuestMemory([GuestRange(base: GuestAddress(base), size: mebibytes << 20)].compactMap { $0 })
}

private func machineTree(_ memory: GuestMemory, commandLine: String) -> ARMMachineTree {
    var tree = ARMMachineTree(
        processors: [ARMMachineTree.Processor(affinity: 0, position: ARMMachineTree.Position(socket: 0))],
        memory: memory.ranges.map { PhysicalRange(base: $0.base.value, size: $0.size) },
        interruptController: ARMMachineTree.InterruptController(
            distributor: PhysicalRange(base: 0x800_0000, size: 0x1_0000),
            redistributors: [PhysicalRange(base: 0x80A_0000, size: 0x2_0000)],
            translationService: PhysicalRange(base: 0x808_0000, size: 0x2_0000)))
    tree.commandLine = commandLine
    return tree
}

@Suite("Linux boot on aarch64")
struct LinuxBootARM64Tests {
    private func place(
        _ kernel: [UInt8], ramdisk: [UInt8]? = nil, commandLine: String = "console=ttyAMA0", in memory: GuestMemory,
        seed: [UInt8] = [1, 2, 3]
    ) throws -> BootState {
        let boot = LinuxBoot(
            kernel: try bootFile(kernel), ramdisk: try ramdisk.map { try bootFile($0, option: "-initrd") },
            tree: machineTree(memory, commandLine: commandLine), seed: { seed })
        return try boot.place(in: memory)
    }

    /// The tree that was placed: header checked, as bytes.
    private func placedTree(_ memory: GuestMemory) throws -> [UInt8] {
        let header = try memory.read(8, at: GuestAddress(base))
        #expect(Array(header.prefix(4)) == [0xD0, 0x0D, 0xFE, 0xED])
        let size = header[4...].reduce(0) { $0 << 8 | Int($1) }
        return try memory.read(size, at: GuestAddress(base))
    }

    @Test("A kernel goes 2 MiB above the start of RAM and its offset, and is entered there with the tree's address")
    func placement() throws {
        let memory = try ram(mebibytes: 64)
        let maker = ARM64ImageMaker(textOffset: 0x8_0000)
        let state = try place(maker.bytes, in: memory)
        #expect(state == BootState(programCounter: base + 0x28_0000, deviceTree: base))
        #expect(try memory.read(maker.bytes.count, at: GuestAddress(base + 0x28_0000)) == maker.bytes)
        let tree = try placedTree(memory)
        #expect(String(decoding: tree, as: UTF8.self).contains("console=ttyAMA0"))
    }

    @Test("A packed kernel is unpacked to where it would have been loaded")
    func packed() throws {
        let memory = try ram(mebibytes: 64)
        let maker = ARM64ImageMaker(content: pattern(0x3_4567))
        let state = try place(storedGzip(maker.bytes), in: memory)
        #expect(state.programCounter == base + 0x20_0000)
        #expect(try memory.read(maker.bytes.count, at: GuestAddress(base + 0x20_0000)) == maker.bytes)
    }

    @Test("A packed kernel that is larger than its header says, or damaged, is refused, and writes nothing beyond its place")
    func packedDamage() throws {
        let memory = try ram(mebibytes: 64)
        let maker = ARM64ImageMaker(imageSize: 0x1_0000, content: pattern(0x3_0000))
        #expect(throws: BootError.self) { try place(storedGzip(maker.bytes), in: memory) }
        #expect(try memory.read(16, at: GuestAddress(base + 0x21_0000)) == [UInt8](repeating: 0, count: 16))
        var file = storedGzip(ARM64ImageMaker().bytes)
        file[file.count - 1] ^= 1
        let error = #expect(throws: BootError.self) { try place(file, in: memory) }
        #expect(error?.description.hasSuffix("the gzip file is damaged") == true)
    }

    @Test("The RAM disk goes as high as it can, to a page, and the tree says where")
    func ramdisk() throws {
        let memory = try ram(mebibytes: 64)
        let ramdisk = pattern(0x5001)
        _ = try place(ARM64ImageMaker().bytes, ramdisk: ramdisk, in: memory)
        let address = base + (64 << 20) - 0x6000
        #expect(try memory.read(ramdisk.count, at: GuestAddress(address)) == ramdisk)
        let tree = try placedTree(memory)
        var start: [UInt8] = []
        for shift in stride(from: 56, through: 0, by: -8) { start.append(UInt8(truncatingIfNeeded: address >> UInt64(shift))) }
        let isTold = KernelImage.contains(start, in: tree.span)
        #expect(isTold)
    }

    @Test("What does not fit is refused with what it needs; what fits exactly is not")
    func limits() throws {
        let exact = try ram(mebibytes: 4)
        _ = try place(ARM64ImageMaker(imageSize: 0x20_0000).bytes, in: exact)
        let error = #expect(throws: BootError.self) { try place(ARM64ImageMaker(imageSize: 0x20_0001).bytes, in: exact) }
        #expect(error?.description.hasSuffix("the kernel needs 5 MiB of memory; give the guest more with -m") == true)
        for offset in [UInt64.max, .max - base, 1 << 63] {
            #expect(throws: BootError.self) { try place(ARM64ImageMaker(textOffset: offset).bytes, in: exact) }
        }
        let tooLarge = #expect(throws: BootError.self) {
            try place(ARM64ImageMaker().bytes, ramdisk: pattern(0x1000), in: exact)
        }
        #expect(tooLarge?.description.contains("-initrd") == true)
        #expect(throws: BootError.self) { try place(ARM64ImageMaker().bytes, in: try ram(mebibytes: 2)) }
    }

    @Test("Kernels of other machines, ELF files and raw images are named as what they are")
    func foreignKernels() throws {
        let memory = try ram(mebibytes: 64)
        let error = #expect(throws: BootError.self) { try place(BzImageMaker().bytes, in: memory) }
        #expect(error?.description.contains("a bzImage cannot run on aarch64") == true)
        let raw = #expect(throws: BootError.self) {
            try place(pattern(0x1000) + Array("Linux version 6.1".utf8), in: memory)
        }
        #expect(raw?.description.contains("not an arm64 Image") == true)
    }

    @Test("A command line of 2047 bytes is taken, one byte more and a zero byte are not")
    func commandLine() throws {
        let memory = try ram(mebibytes: 64)
        let kernel = ARM64ImageMaker().bytes
        _ = try place(kernel, commandLine: String(repeating: "x", count: 2047), in: memory)
        #expect(throws: BootError.self) { try place(kernel, commandLine: String(repeating: "x", count: 2048), in: memory) }
        #expect(throws: BootError.self) { try place(kernel, commandLine: "a\0b", in: memory) }
    }

    @Test("Every start has a seed of its own")
    func seeds() throws {
        let memory = try ram(mebibytes: 64)
        let kernel = ARM64ImageMaker().bytes
        _ = try place(kernel, in: memory, seed: [0xAA, 0xBB, 0xCC, 0xDD])
        let first = try placedTree(memory)
        _ = try place(kernel, in: memory, seed: [0x11, 0x22, 0x33, 0x44])
        let second = try placedTree(memory)
        let hasSeed = [first, second].map { tree in KernelImage.contains([0xAA, 0xBB, 0xCC, 0xDD], in: tree.span) }
        #expect(hasSeed == [true, false])
    }
}

#endif
