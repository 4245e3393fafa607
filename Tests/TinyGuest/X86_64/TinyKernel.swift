#if arch(x86_64)
import Foundation

/// A kernel of one page: an interpreter in long mode that runs a `GuestProgram`, in a file that a machine starts as it does
/// Linux.
///
/// The interpreter maps the fourth gibibyte of addresses, where devices are, answers the interrupts of the 8259s, and
/// runs the table. Whatever else the guest's memory shall hold, rings for example, is part of the file.
struct TinyKernel {
    /// The files that a kernel comes in.
    enum Format: CaseIterable {
        case raw, elf, bzImage
    }

    /// Where the file's contents are in guest memory, whatever its format.
    static let base: UInt64 = 0x100_0000

    /// Places in the guest's memory, all in the loaded file but the last.
    static let directory = base + 0x2000
    static let interruptTable = base + 0x4000
    static let program = base + 0x6000
    static let data = base + 0x10_0000
    /// Behind the file, so that a reset of the machine leaves them as they are.
    static let results = base + 0x40_0000
    /// How many interrupts were taken, 64 bits.
    static let interruptCount = results - 8

    var program = GuestProgram()

    /// Contents of memory besides the program, from `data` on.
    var contents: [(address: UInt64, bytes: [UInt8])] = []

    /// What stands in a raw kernel to be taken for one.
    var banner = "Linux version 0.0.0-tiny"

    init(_ build: (inout GuestProgram) -> Void = { _ in }) {
        build(&program)
    }

    /// Makes the file.
    func write(to path: String, as format: Format = .raw) throws {
        try Data(bytes(as: format)).write(to: URL(fileURLWithPath: path))
    }

    func bytes(as format: Format) -> [UInt8] {
        switch format {
        case .raw: image()
        case .elf: TinyKernel.elf(image())
        case .bzImage: TinyKernel.bzImage(image())
        }
    }

    // MARK: Contents

    /// What is in memory from `base` on.
    private func image() -> [UInt8] {
        let code = TinyKernel.interpreter
        var image = code.assembled()
        func place(_ bytes: [UInt8], at address: UInt64) {
            let offset = Int(address - TinyKernel.base)
            if image.count < offset + bytes.count {
                image += [UInt8](repeating: 0, count: offset + bytes.count - image.count)
            }
            image.replaceSubrange(offset..<offset + bytes.count, with: bytes)
        }
        place(Array(banner.utf8), at: TinyKernel.base + 0x1000)
        // 2 MiB pages, present, writable and uncached (Intel SDM, volume 3A, table 4-18).
        place(
            (0..<512).flatMap { (UInt64(0xC000_0000) + $0 << 21 | 0b1001_0011).littleEndianBytes },
            at: TinyKernel.directory)
        let handler = TinyKernel.base + UInt64(code.offset(of: "interrupt"))
        place(
            (0..<16).flatMap { _ in TinyKernel.gate(to: handler) }, at: TinyKernel.interruptTable + 0x20 * 16)
        let table = program.steps.flatMap(\.bytes)
        precondition(TinyKernel.program + UInt64(table.count) <= TinyKernel.data, "the program is too long")
        place(table, at: TinyKernel.program)
        for (address, bytes) in contents {
            precondition(address >= TinyKernel.data && address + UInt64(bytes.count) <= TinyKernel.interruptCount)
            place(bytes, at: address)
        }
        return image
    }

    /// A 64-bit interrupt gate (Intel SDM, volume 3A, figure 6-8) for the code segment of the boot protocol.
    private static func gate(to address: UInt64) -> [UInt8] {
        let codeSelector: UInt16 = 0x10
        let presentInterruptGate: UInt16 = 0x8E00
        return UInt16(truncatingIfNeeded: address).littleEndianBytes + codeSelector.littleEndianBytes
            + presentInterruptGate.littleEndianBytes + UInt16(truncatingIfNeeded: address >> 16).littleEndianBytes
            + UInt32(truncatingIfNeeded: address >> 32).littleEndianBytes + UInt32(0).littleEndianBytes
    }

    /// Entered at its first byte by a raw or an ELF kernel's rules, and at 0x200 by a bzImage's.
    private static let interpreter: MachineCode = {
        var code = MachineCode()
        code.emit(0xE9, to: "start")  // jmp start
        code.pad(to: 0x200)
        code.label("start")
        code.emit(0xFA, 0xFC)  // cli; cld
        code.emit(0x48, 0x8D, 0x25, to: "stack")  // lea rsp, [rip + stack]
        // The fourth gibibyte gets its directory in the table of pointers that the boot protocol's page tables have.
        code.emit(0x0F, 0x20, 0xD8)  // mov rax, cr3
        code.emit(0x48, 0x8B, 0x00)  // mov rax, [rax]
        code.emit(0x48, 0x25, 0x00, 0xF0, 0xFF, 0xFF)  // and rax, -4096
        code.emit(0x48, 0x8D, 0x0D, to: "directory")  // lea rcx, [rip + directory]
        code.emit(0x48, 0x83, 0xC9, 0x03)  // or rcx, 3
        code.emit(0x48, 0x89, 0x48, 0x18)  // mov [rax + 3 * 8], rcx
        code.emit(0x0F, 0x20, 0xD8, 0x0F, 0x22, 0xD8)  // mov rax, cr3; mov cr3, rax
        code.emit(0x0F, 0x01, 0x1D, to: "interruptTableRegister")  // lidt [rip + …]
        code.emit(0x4C, 0x8D, 0x2D, to: "program")  // lea r13, [rip + program]
        code.emit(0x4D, 0x89, 0xEC)  // mov r12, r13

        code.label("next")
        code.emit(0x41, 0x8B, 0x04, 0x24)  // mov eax, [r12]: operation
        code.emit(0x41, 0x8B, 0x4C, 0x24, 0x04)  // mov ecx, [r12 + 4]: width
        code.emit(0x49, 0x8B, 0x7C, 0x24, 0x08)  // mov rdi, [r12 + 8]: address
        code.emit(0x49, 0x8B, 0x54, 0x24, 0x10)  // mov rdx, [r12 + 16]: value
        code.emit(0x4D, 0x8B, 0x44, 0x24, 0x18)  // mov r8, [r12 + 24]: extra
        code.emit(0x49, 0x83, 0xC4, 0x20)  // add r12, 32
        code.emit(0x48, 0x8D, 0x1D, to: "jumps")  // lea rbx, [rip + jumps]
        code.emit(0x48, 0x63, 0x04, 0x83)  // movsxd rax, dword [rbx + rax * 4]
        code.emit(0x48, 0x01, 0xD8, 0xFF, 0xE0)  // add rax, rbx; jmp rax
        code.label("jumps")
        for operation in GuestProgram.Operation.allCases {
            code.emitDistance(to: "\(operation)", from: "jumps")
        }
        appendOperations(to: &code)
        appendRoutines(to: &code)
        code.pad(to: Int(directory - base))
        code.label("directory")
        code.pad(to: Int(interruptTable - base))
        code.pad(to: Int(program - base))
        code.label("stack")
        code.label("program")
        return code
    }()

    private static func appendOperations(to code: inout MachineCode) {
        code.label("halt")
        code.emit(0xFA, 0xF4)  // cli; hlt
        code.emit(0xE9, to: "halt")  // jmp halt

        code.label("write")
        code.emit(0xE8, to: "store")  // call store
        code.emit(0xE9, to: "next")  // jmp next

        code.label("read")
        code.emit(0xE8, to: "load")
        code.emit(0x48, 0x89, 0x02)  // mov [rdx], rax
        code.emit(0xE9, to: "next")

        code.label("portWrite")
        code.emit(0x89, 0xD0, 0x89, 0xFA)  // mov eax, edx; mov edx, edi
        code.emit(0x83, 0xF9, 0x02)  // cmp ecx, 2
        code.emit(0x0F, 0x84, to: "portWrite16")  // je portWrite16
        code.emit(0x0F, 0x87, to: "portWrite32")  // ja portWrite32
        code.emit(0xEE)  // out dx, al
        code.emit(0xE9, to: "next")
        code.label("portWrite16")
        code.emit(0x66, 0xEF)  // out dx, ax
        code.emit(0xE9, to: "next")
        code.label("portWrite32")
        code.emit(0xEF)  // out dx, eax
        code.emit(0xE9, to: "next")

        code.label("portRead")
        code.emit(0x48, 0x89, 0xD3, 0x89, 0xFA, 0x31, 0xC0)  // mov rbx, rdx; mov edx, edi; xor eax, eax
        code.emit(0x83, 0xF9, 0x02)  // cmp ecx, 2
        code.emit(0x0F, 0x84, to: "portRead16")  // je portRead16
        code.emit(0x0F, 0x87, to: "portRead32")  // ja portRead32
        code.emit(0xEC)  // in al, dx
        code.emit(0xE9, to: "portReadEnd")
        code.label("portRead16")
        code.emit(0x66, 0xED)  // in ax, dx
        code.emit(0xE9, to: "portReadEnd")
        code.label("portRead32")
        code.emit(0xED)  // in eax, dx
        code.label("portReadEnd")
        code.emit(0x48, 0x89, 0x03)  // mov [rbx], rax
        code.emit(0xE9, to: "next")

        code.label("wait")
        code.emit(0xE8, to: "matches")  // call matches
        code.emit(0x0F, 0x84, to: "next")  // je next
        code.emit(0xF3, 0x90)  // pause
        code.emit(0xE9, to: "wait")

        // An interrupt between the read and the halt is not lost: `sti` lets it in only after the next instruction.
        code.label("waitHalted")
        code.emit(0xFA)  // cli
        code.emit(0xE8, to: "matches")
        code.emit(0x0F, 0x84, to: "next")
        code.emit(0xFB, 0xF4)  // sti; hlt
        code.emit(0xE9, to: "waitHalted")

        code.label("sweepRead")
        code.emit(0x4D, 0x85, 0xC0)  // test r8, r8
        code.emit(0x0F, 0x84, to: "next")  // je next
        code.emit(0xE8, to: "load")
        code.emit(0x48, 0xFF, 0xC7, 0x49, 0xFF, 0xC8)  // inc rdi; dec r8
        code.emit(0xE9, to: "sweepRead")

        code.label("sweepWrite")
        code.emit(0x4D, 0x85, 0xC0)
        code.emit(0x0F, 0x84, to: "next")
        code.emit(0xE8, to: "store")
        code.emit(0x48, 0xFF, 0xC7, 0x49, 0xFF, 0xC8)
        code.emit(0xE9, to: "sweepWrite")

        code.label("copy")
        code.emit(0x48, 0x89, 0xD6, 0x4C, 0x89, 0xC1)  // mov rsi, rdx; mov rcx, r8
        code.emit(0xF3, 0x48, 0xA5)  // rep movsq
        code.emit(0xE9, to: "next")

        code.label("countDown")
        code.emit(0x48, 0xFF, 0x0F)  // dec qword [rdi]
        code.emit(0x0F, 0x84, to: "next")
        code.label("jump")
        code.emit(0x48, 0xC1, 0xE2, 0x05)  // shl rdx, 5
        code.emit(0x4D, 0x8D, 0x64, 0x15, 0x00)  // lea r12, [r13 + rdx]
        code.emit(0xE9, to: "next")

        code.label("add")
        code.emit(0x83, 0xF9, 0x02)  // cmp ecx, 2
        code.emit(0x0F, 0x84, to: "add16")
        code.emit(0x48, 0x01, 0x17)  // add [rdi], rdx
        code.emit(0xE9, to: "next")
        code.label("add16")
        code.emit(0x66, 0x01, 0x17)  // add [rdi], dx
        code.emit(0xE9, to: "next")

        code.label("waitEqual")
        code.emit(0x66, 0x8B, 0x07, 0x66, 0x3B, 0x02)  // mov ax, [rdi]; cmp ax, [rdx]
        code.emit(0x0F, 0x84, to: "next")
        code.emit(0xF3, 0x90)  // pause
        code.emit(0xE9, to: "waitEqual")

        code.label("waitPortHalted")
        code.emit(0x48, 0x89, 0xD3, 0x89, 0xFA)  // mov rbx, rdx; mov edx, edi
        code.label("waitPortAgain")
        code.emit(0xFA, 0x31, 0xC0, 0xEC)  // cli; xor eax, eax; in al, dx
        code.emit(0x4C, 0x21, 0xC0, 0x48, 0x39, 0xD8)  // and rax, r8; cmp rax, rbx
        code.emit(0x0F, 0x84, to: "next")
        code.emit(0xFB, 0xF4)  // sti; hlt
        code.emit(0xE9, to: "waitPortAgain")

        code.label("execute")
        code.emit(0xFF, 0xE7)  // jmp rdi
    }

    private static func appendRoutines(to code: inout MachineCode) {
        // rax = ecx bytes at [rdi]
        code.label("load")
        code.emit(0x83, 0xF9, 0x02)  // cmp ecx, 2
        code.emit(0x0F, 0x82, to: "load8")  // jb load8
        code.emit(0x0F, 0x84, to: "load16")  // je load16
        code.emit(0x83, 0xF9, 0x04)  // cmp ecx, 4
        code.emit(0x0F, 0x84, to: "load32")  // je load32
        code.emit(0x48, 0x8B, 0x07, 0xC3)  // mov rax, [rdi]; ret
        code.label("load8")
        code.emit(0x0F, 0xB6, 0x07, 0xC3)  // movzx eax, byte [rdi]; ret
        code.label("load16")
        code.emit(0x0F, 0xB7, 0x07, 0xC3)  // movzx eax, word [rdi]; ret
        code.label("load32")
        code.emit(0x8B, 0x07, 0xC3)  // mov eax, [rdi]; ret

        // ecx bytes at [rdi] = rdx
        code.label("store")
        code.emit(0x83, 0xF9, 0x02)
        code.emit(0x0F, 0x82, to: "store8")
        code.emit(0x0F, 0x84, to: "store16")
        code.emit(0x83, 0xF9, 0x04)
        code.emit(0x0F, 0x84, to: "store32")
        code.emit(0x48, 0x89, 0x17, 0xC3)  // mov [rdi], rdx; ret
        code.label("store8")
        code.emit(0x88, 0x17, 0xC3)  // mov [rdi], dl; ret
        code.label("store16")
        code.emit(0x66, 0x89, 0x17, 0xC3)  // mov [rdi], dx; ret
        code.label("store32")
        code.emit(0x89, 0x17, 0xC3)  // mov [rdi], edx; ret

        // Whether the bits of r8 at [rdi] are those of rdx, in the zero flag.
        code.label("matches")
        code.emit(0xE8, to: "load")
        code.emit(0x4C, 0x21, 0xC0, 0x48, 0x39, 0xD0, 0xC3)  // and rax, r8; cmp rax, rdx; ret

        code.label("interrupt")
        code.emit(0x50)  // push rax
        code.emit(0x48, 0xB8)  // mov rax, interruptCount
        for byte in interruptCount.littleEndianBytes { code.emit(byte) }
        code.emit(0x48, 0xFF, 0x00)  // inc qword [rax]
        code.emit(0xB0, 0x20, 0xE6, 0xA0, 0xE6, 0x20)  // mov al, 0x20; out 0xA0, al; out 0x20, al
        code.emit(0x58, 0x48, 0xCF)  // pop rax; iretq

        code.label("interruptTableRegister")
        for byte in UInt16(256 * 16 - 1).littleEndianBytes + interruptTable.littleEndianBytes { code.emit(byte) }
    }

    // MARK: Files

    /// An ELF-64 executable with one segment (ELF-64 object file format, figures 2 to 6).
    private static func elf(_ image: [UInt8]) -> [UInt8] {
        let headerSize = 64
        let fileOffset: UInt64 = 0x1000
        var file: [UInt8] = [0x7F, 0x45, 0x4C, 0x46, 2, 1, 1] + [UInt8](repeating: 0, count: 9)
        file += UInt16(2).littleEndianBytes + UInt16(62).littleEndianBytes + UInt32(1).littleEndianBytes
        file += base.littleEndianBytes + UInt64(headerSize).littleEndianBytes + UInt64(0).littleEndianBytes
        file += UInt32(0).littleEndianBytes + UInt16(headerSize).littleEndianBytes
        file += UInt16(56).littleEndianBytes + UInt16(1).littleEndianBytes + [UInt8](repeating: 0, count: 6)
        // PT_LOAD, readable, writable and executable.
        file += UInt32(1).littleEndianBytes + UInt32(7).littleEndianBytes + fileOffset.littleEndianBytes
        file += base.littleEndianBytes + base.littleEndianBytes
        file += UInt64(image.count).littleEndianBytes + UInt64(image.count).littleEndianBytes
        file += UInt64(0x1000).littleEndianBytes
        file += [UInt8](repeating: 0, count: Int(fileOffset) - file.count)
        return file + image
    }

    /// A bzImage with a setup header of protocol 2.15 (Linux, Documentation/arch/x86/boot.rst).
    private static func bzImage(_ image: [UInt8]) -> [UInt8] {
        let sectors = 4
        var file = [UInt8](repeating: 0, count: (sectors + 1) * 512)
        func put(_ bytes: [UInt8], at offset: Int) { file.replaceSubrange(offset..<offset + bytes.count, with: bytes) }
        let code = image + [UInt8](repeating: 0, count: (16 - image.count % 16) % 16)
        put([UInt8(sectors)], at: 0x1F1)
        put(UInt32(code.count / 16).littleEndianBytes, at: 0x1F4)
        put([0x55, 0xAA], at: 0x1FE)
        // A short jump over the header, whose distance tells where it ends.
        put([0xEB, 0x6A], at: 0x200)
        put(Array("HdrS".utf8), at: 0x202)
        put(UInt16(0x020F).littleEndianBytes, at: 0x206)
        put([0x01], at: 0x211)
        put(UInt32(0x10_0000).littleEndianBytes, at: 0x214)
        put(UInt32(0x7FFF_FFFF).littleEndianBytes, at: 0x22C)
        put(UInt32(0x20_0000).littleEndianBytes, at: 0x230)
        put([1], at: 0x234)
        put(UInt16(0b1).littleEndianBytes, at: 0x236)
        put(UInt32(2047).littleEndianBytes, at: 0x238)
        put(base.littleEndianBytes, at: 0x258)
        put(UInt32(code.count).littleEndianBytes, at: 0x260)
        return file + code
    }
}
#endif
