#if arch(x86_64)

import StratoFirmwareTables
import StratoMemory
import Testing

@testable import StratoBoot

func microVMTables(processors: Int = 2) -> MicroVMTables {
    var tables = MicroVMTables(
        apicIDs: (0..<UInt32(processors)).map { $0 },
        eventDevice: MicroVMTables.EventDevice(base: 0xF000_0000, interrupt: 16), sleepControlPort: 0xCE9,
        sleepStatusPort: 0xCEA)
    tables.virtioDevices = [MicroVMTables.VirtioDevice(base: 0xF010_0000, size: 0x200, interrupt: 5)]
    return tables
}

@Suite("Linux boot on x86_64")
struct LinuxBootTests {
    private let commandLine = "console=ttyS0 root=/dev/vda"

    private func place(
        _ kernel: [UInt8], ramdisk: [UInt8]? = nil, commandLine: String? = nil, processors: Int = 2, hasACPI: Bool = true,
        in memory: GuestMemory, isMemoryFresh: Bool = true
    ) throws -> BootState {
        let apicIDs = (0..<UInt32(processors)).map { $0 }
        let boot = try LinuxBoot(
            microVM: try bootFile(kernel), ramdisk: try ramdisk.map { try bootFile($0, option: "-initrd") },
            commandLine: commandLine ?? self.commandLine, apicIDs: apicIDs,
            acpi: hasACPI ? microVMTables(processors: processors) : nil)
        return try boot.place(in: memory, isMemoryFresh: isMemoryFresh)
    }

    private func line(_ kernel: [UInt8], ramdisk: [UInt8]? = nil, commandLine: String? = nil, mebibytes: UInt64 = 128) throws
        -> String
    {
        let memory = try guestMemory(mebibytes: mebibytes)
        return message { _ = try place(kernel, ramdisk: ramdisk, commandLine: commandLine, in: memory) }
    }

    @Test("a bzImage starts in long mode, 512 bytes into its code, with the registers of StratoVirt's boot")
    func bzImageState() throws {
        let memory = try guestMemory(mebibytes: 128)
        let state = try place(BzImageMaker().bytes, in: memory)
        #expect(state.mode == .long64)
        #expect(state.rip == 0x100_0200)
        #expect(state.rsi == 0x7000)
        #expect(state.rsp == 0x8FF0)
        #expect(state.rbp == 0x8FF0)
        #expect(state.rflags == 2)
        #expect(state.cr0 == 0x8000_0011)
        #expect(state.cr3 == 0x9000)
        #expect(state.cr4 == 0x20)
        #expect(state.efer == 0x500)
        #expect(state.gdt == .init(base: 0x500, limit: 31))
        #expect(state.idt == .init(base: 0x520, limit: 7))
        #expect(state.code.selector == 0x10)
        #expect(state.code.isLong && !state.code.is32Bit && state.code.isPageGranular && state.code.isPresent)
        #expect(state.data.selector == 0x18)
        #expect(state.data.type == 3)
        #expect(state.task.type == 0xB && !state.task.isCodeOrData)
        #expect(try memory.read(0x800, at: GuestAddress(0x100_0000)) == BzImageMaker().code)
    }

    @Test("descriptor tables and page tables are these, quadword by quadword")
    func tables() throws {
        let memory = try guestMemory(mebibytes: 128)
        _ = try place(BzImageMaker().bytes, in: memory)
        let gdt = try memory.read(40, at: GuestAddress(0x500))
        #expect(
            (0..<5).map { gdt.little(UInt64.self, at: $0 * 8) } == [0, 0, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF, 0])
        let tables = try memory.read(0x3000, at: GuestAddress(0x9000))
        #expect(tables.little(UInt64.self, at: 0) == 0xA003)
        #expect(tables.little(UInt64.self, at: 0x1000) == 0xB003)
        #expect(tables[8..<0x1000].allSatisfy { $0 == 0 })
        #expect(tables[0x1008..<0x2000].allSatisfy { $0 == 0 })
        #expect((0..<512).allSatisfy { tables.little(UInt64.self, at: 0x2000 + $0 * 8) == UInt64($0) << 21 | 0x83 })
    }

    @Test("the zero page has the file's header, what the loader adds, and the memory map; the rest is zero")
    func zeroPage() throws {
        let memory = try guestMemory(mebibytes: 3072, above4GiB: 1024)
        var maker = BzImageMaker()
        maker.setupData = 0xDEAD_BEEF
        let ramdisk = pattern(10_000)
        _ = try place(maker.bytes, ramdisk: ramdisk, in: memory)
        let page = try memory.read(4096, at: GuestAddress(0x7000))
        var expected = [UInt8](repeating: 0, count: 4096)
        let file = maker.bytes
        expected.replaceSubrange(0x1F1..<0x26C, with: file[0x1F1..<0x26C])
        expected[0x210] = 0xFF
        expected.put(UInt32(0x100_0000), at: 0x214)
        expected.put(UInt32(0x7FFF_D000), at: 0x218)
        expected.put(UInt32(10_000), at: 0x21C)
        expected.put(UInt32(0x2_0000), at: 0x228)
        expected.put(UInt64(0), at: 0x250)
        expected.put(UInt64(0xE_0000), at: 0x70)
        expected[0x1E8] = 5
        let map: [(UInt64, UInt64, UInt32)] = [
            (0, 0x9_FC00, 1), (0x9_FC00, 0x400, 2), (0xD_0000, 0x3_0000, 2), (0x10_0000, 0xBFF0_0000, 1),
            (0x1_0000_0000, 0x4000_0000, 1),
        ]
        for (index, entry) in map.enumerated() {
            expected.put(entry.0, at: 0x2D0 + index * 20)
            expected.put(entry.1, at: 0x2D8 + index * 20)
            expected.put(entry.2, at: 0x2E0 + index * 20)
        }
        #expect(page == expected)
        #expect(try memory.read(ramdisk.count, at: GuestAddress(0x7FFF_D000)) == ramdisk)
        #expect(try memory.read(28, at: GuestAddress(0x2_0000)) == Array(commandLine.utf8) + [0])
    }

    @Test("a raw kernel is entered at 16 MiB with a header of the loader's own")
    func raw() throws {
        let memory = try guestMemory(mebibytes: 128)
        let image = rawImage(size: 0x2_0000, bannerAt: 0x1_0000)
        let state = try place(image, hasACPI: false, in: memory)
        #expect(state.mode == .long64)
        #expect(state.rip == 0x100_0000)
        #expect(try memory.read(image.count, at: GuestAddress(0x100_0000)) == image)
        let page = try memory.read(4096, at: GuestAddress(0x7000))
        #expect(page.little(UInt16.self, at: 0x1FE) == 0xAA55)
        #expect(Array(page[0x202..<0x206]) == Array("HdrS".utf8))
        #expect(page[0x210] == 0xFF)
        #expect(page.little(UInt64.self, at: 0x70) == 0)
        #expect(page.little(UInt32.self, at: 0x228) == 0x2_0000)
        // Without ACPI there is no RSDP for a scan to find either.
        #expect(try memory.read(8, at: GuestAddress(0xE_0000)) == [UInt8](repeating: 0, count: 8))
    }

    @Test("a raw kernel's RAM disk keeps away from the memory that its file does not tell of")
    func rawRamdisk() throws {
        let kernel = try bootFile(rawImage(size: 0x2_0000, bannerAt: 0))
        let room: UInt64 = (64 << 20) - (0x200_0000 + 0x2_0000)
        let memory = try guestMemory(mebibytes: 64)
        let fitting = LinuxBoot(kernel: kernel, ramdisk: try sparseFile(room, option: "-initrd"), commandLine: "")
        _ = try fitting.place(in: memory, isMemoryFresh: true)
        #expect(try memory.load(UInt32.self, at: GuestAddress(0x7218)) == 0x202_0000)
        let large = LinuxBoot(kernel: kernel, ramdisk: try sparseFile(room + 1, option: "-initrd"), commandLine: "")
        #expect(message { _ = try large.place(in: memory, isMemoryFresh: true) }.hasPrefix("-initrd "))
    }

    @Test("an ELF kernel without a PVH note starts at its 64-bit entry")
    func elf() throws {
        let memory = try guestMemory(mebibytes: 128)
        let maker = ELFMaker(entry: 0x100_0040)
        let state = try place(maker.bytes, in: memory)
        #expect(state.mode == .long64)
        #expect(state.rip == 0x100_0040)
        #expect(state.rsi == 0x7000)
        #expect(try memory.read(0x800, at: GuestAddress(0x100_0000)) == Array(maker.bytes[0x1000..<0x1800]))
        #expect(try memory.read(0x400, at: GuestAddress(0x100_2000)) == Array(maker.bytes[0x1800..<0x1C00]))
    }

    @Test("an ELF kernel with a PVH note starts there, in protected mode without paging, with a start info")
    func pvh() throws {
        let memory = try guestMemory(mebibytes: 128)
        let maker = ELFMaker(entry: 0xFFFF_FFFF_8100_0000, notes: ELFMaker.pvhNote(0x100_0100))
        let ramdisk = pattern(5000)
        let state = try place(maker.bytes, ramdisk: ramdisk, in: memory)
        #expect(state.mode == .protected32PVH)
        #expect(state.rip == 0x100_0100)
        #expect(state.rbx == 0x6000)
        #expect(state.cr0 == 0x11)
        #expect(state.cr3 == 0)
        #expect(state.cr4 == 0)
        #expect(state.efer == 0)
        #expect(state.rflags == 2)
        #expect(state.code.is32Bit && !state.code.isLong && state.code.limit == 0xFFFF_FFFF && state.code.base == 0)
        #expect(state.data.limit == 0xFFFF_FFFF && state.data.base == 0)
        #expect(state.task.limit == 0x67 && state.task.type == 0xB && state.task.base == 0)
        #expect(try memory.load(UInt64.self, at: GuestAddress(0x510)) == 0x00CF_9B00_0000_FFFF)

        let info = try memory.read(0x200, at: GuestAddress(0x6000))
        #expect(info.little(UInt32.self, at: 0) == 0x336E_C578)
        #expect(info.little(UInt32.self, at: 4) == 1)
        #expect(info.little(UInt32.self, at: 8) == 0)
        #expect(info.little(UInt32.self, at: 12) == 1)
        #expect(info.little(UInt64.self, at: 16) == 0x6038)
        #expect(info.little(UInt64.self, at: 24) == 0x2_0000)
        #expect(info.little(UInt64.self, at: 32) == 0xE_0000)
        #expect(info.little(UInt64.self, at: 40) == 0x6058)
        #expect(info.little(UInt32.self, at: 48) == 4)
        let address = info.little(UInt64.self, at: 56)
        #expect(info.little(UInt64.self, at: 64) == 5000)
        #expect(try memory.read(5000, at: GuestAddress(address)) == ramdisk)
        #expect(info.little(UInt64.self, at: 0x58 + 3 * 24) == 0x10_0000)
        #expect(info.little(UInt64.self, at: 0x60 + 3 * 24) == 127 << 20)
        #expect(info.little(UInt32.self, at: 0x68 + 3 * 24) == 1)
    }

    @Test("an entry that is not in loaded code is refused")
    func badEntries() throws {
        #expect(try line(ELFMaker(entry: 0xFFFF_FFFF_8100_0000).bytes).contains("entry 0xffffffff81000000 is not in"))
        #expect(try line(ELFMaker(entry: 0x100_0800).bytes).contains("is not in what it loads"))
        #expect(try line(ELFMaker(notes: ELFMaker.pvhNote(0x200_0000)).bytes).contains("PVH entry 0x2000000 is not in"))
    }

    @Test("a kernel that is not relocatable is loaded at code32_start, and has its memory at its preferred address")
    func notRelocatable() throws {
        var maker = BzImageMaker()
        maker.isRelocatable = 0
        let memory = try guestMemory(mebibytes: 128)
        let state = try place(maker.bytes, in: memory)
        #expect(state.rip == 0x10_0200)
        #expect(try memory.load(UInt32.self, at: GuestAddress(0x7214)) == 0x10_0000)
        #expect(try memory.read(0x800, at: GuestAddress(0x10_0000)) == maker.code)
        #expect(try line(maker.bytes, mebibytes: 31).contains("needs memory up to 32 MiB"))
    }

    @Test("a preferred address is aligned as the kernel asks; without one code32_start takes its place")
    func alignment() throws {
        var maker = BzImageMaker()
        maker.preferredAddress = 0x100_1000
        let memory = try guestMemory(mebibytes: 128)
        #expect(try place(maker.bytes, in: memory).rip == 0x120_0200)
        maker.preferredAddress = 0
        #expect(try place(maker.bytes, in: memory).rip == 0x20_0200)
    }

    @Test("a kernel that does not fit is refused with the memory that it needs; one that fits exactly is not")
    func fits() throws {
        #expect(try line(BzImageMaker().bytes, mebibytes: 32).isEmpty)
        #expect(
            try line(BzImageMaker().bytes, mebibytes: 31).contains("needs memory up to 32 MiB; give the guest more with -m"))
        var maker = BzImageMaker()
        maker.initSize = .max
        #expect(try line(maker.bytes).contains("first GiB"))
        maker.initSize = 0
        maker.preferredAddress = .max
        #expect(try line(maker.bytes).contains("damaged"))
        maker.preferredAddress = 0xFFFF_FFFF_0000_0000
        #expect(try line(maker.bytes).contains("damaged"))
        maker.preferredAddress = 0x8_0000
        maker.kernelAlignment = 0x1000
        #expect(try line(maker.bytes).contains("first MiB"))
        maker.preferredAddress = 0x100_0000
        maker.kernelAlignment = 0x8000_0000
        #expect(try line(maker.bytes).contains("first GiB"))
        maker.kernelAlignment = 0x20_0000
        maker.isRelocatable = 0
        maker.code32Start = 0xF_F000
        #expect(try line(maker.bytes).contains("first MiB"))
        maker.code32Start = .max
        #expect(try line(maker.bytes).contains("first GiB"))
        var elf = ELFMaker()
        elf.programs[1].memorySize = 0x4000_0000
        #expect(try line(elf.bytes).contains("first GiB"))
        elf.programs[1].memorySize = 0x2000_0000
        #expect(try line(elf.bytes).contains("-m"))
        elf = ELFMaker()
        elf.programs[0].physicalAddress = 0x9000
        elf.entry = 0x9000
        #expect(try line(elf.bytes).contains("first MiB"))
        #expect(try line(rawImage(size: 0x2_0000, bannerAt: 77), mebibytes: 32).contains("-m"))
    }

    @Test("an arm64 kernel is named as what it is")
    func arm64() throws {
        var image = pattern(0x1000)
        image.replaceSubrange(56..<60, with: [0x41, 0x52, 0x4D, 0x64])
        #expect(try line(image).contains("an arm64 Image cannot run on x86_64"))
    }

    @Test("a command line of exactly the kernel's limit is taken, one byte more is not, and a zero byte is not")
    func commandLines() throws {
        let memory = try guestMemory(mebibytes: 128)
        var maker = BzImageMaker()
        maker.commandLineSize = 100
        let longest = String(repeating: "x", count: 100)
        _ = try place(maker.bytes, commandLine: longest, in: memory)
        #expect(try memory.read(101, at: GuestAddress(0x2_0000)) == Array(longest.utf8) + [0])
        #expect(try line(maker.bytes, commandLine: longest + "x").hasPrefix("-append: the kernel command line has 101 bytes"))
        #expect(try line(maker.bytes, commandLine: "a\0b").hasPrefix("-append: "))
        // Characters are counted in bytes.
        #expect(try line(maker.bytes, commandLine: String(repeating: "ä", count: 51)).contains("102 bytes"))

        let standard = String(repeating: "y", count: 2047)
        maker.commandLineSize = 0
        for kernel in [maker.bytes, ELFMaker().bytes, rawImage(size: 0x1000, bannerAt: 0)] {
            #expect(try line(kernel, commandLine: standard).isEmpty)
            #expect(try line(kernel, commandLine: standard + "y").contains("at most 2047"))
        }

        maker.commandLineSize = .max
        let room = 0x9_FC00 - 0x2_0000 - 1
        #expect(try line(maker.bytes, commandLine: String(repeating: "z", count: room)).isEmpty)
        #expect(try line(maker.bytes, commandLine: String(repeating: "z", count: room + 1)).contains("at most \(room)"))
    }

    @Test("a RAM disk too large for the guest's memory is refused, however large")
    func largeRamdisk() throws {
        let memory = try guestMemory(mebibytes: 128)
        for size in [UInt64(96 << 20) + 1, 1 << 40] {
            let boot = LinuxBoot(
                kernel: try bootFile(BzImageMaker().bytes), ramdisk: try sparseFile(size, option: "-initrd"), commandLine: "")
            let line = message { _ = try boot.place(in: memory, isMemoryFresh: true) }
            #expect(line.hasPrefix("-initrd "))
            #expect(line.contains("\(size) bytes do not fit"))
        }
        let boot = LinuxBoot(
            kernel: try bootFile(BzImageMaker().bytes), ramdisk: try sparseFile(96 << 20, option: "-initrd"), commandLine: "")
        _ = try boot.place(in: memory, isMemoryFresh: true)
        #expect(try memory.load(UInt32.self, at: GuestAddress(0x7218)) == 0x200_0000)
    }

    @Test("a RAM disk stays below the kernel's limit for it, which can be lower than the end of memory")
    func ramdiskMaximum() throws {
        var maker = BzImageMaker()
        maker.ramdiskAddressMaximum = 0x37FF_FFFF
        let memory = try guestMemory(mebibytes: 2048)
        _ = try place(maker.bytes, ramdisk: pattern(0x1000), in: memory)
        #expect(try memory.load(UInt32.self, at: GuestAddress(0x7218)) == 0x37FF_F000)
        _ = try place(ELFMaker().bytes, ramdisk: pattern(0x1001), in: memory)
        #expect(try memory.load(UInt32.self, at: GuestAddress(0x7218)) == 0x37FF_E000)
    }

    @Test("MP table and ACPI are where a kernel's scans find them", arguments: [1, 8, 40, 41, 254])
    func scans(processors: Int) throws {
        let memory = try guestMemory(mebibytes: 128)
        _ = try place(BzImageMaker().bytes, processors: processors, in: memory)
        func scan(_ magic: String, _ ranges: [Range<UInt64>]) throws -> UInt64? {
            for range in ranges {
                for address in stride(from: range.lowerBound, to: range.upperBound, by: 16) {
                    if try memory.read(magic.utf8.count, at: GuestAddress(address)) == Array(magic.utf8) { return address }
                }
            }
            return nil
        }
        #expect(try scan("RSD PTR ", [0xE_0000..<0x10_0000]) == 0xE_0000)
        let segment = UInt64(try memory.load(UInt16.self, at: GuestAddress(0x40E))) << 4
        #expect(segment == 0x9_FC00)
        #expect(try memory.load(UInt16.self, at: GuestAddress(0x413)) == 639)
        #expect(
            try scan("_MP_", [segment..<(segment + 1024), 0xF_0000..<0x10_0000]) == (processors <= 40 ? 0x9_FC00 : 0xF_0000))
    }

    @Test("255 processors are refused with the option's name")
    func tooManyProcessors() throws {
        let kernel = try bootFile(BzImageMaker().bytes)
        let line = message {
            _ = try LinuxBoot(microVM: kernel, ramdisk: nil, commandLine: "", apicIDs: (0..<255).map { $0 }, acpi: nil)
        }
        #expect(line.hasPrefix("-smp: "))
    }

    @Test("after a guest has overwritten everything, a second placement makes memory as the first did")
    func reset() throws {
        let memory = try guestMemory(mebibytes: 64)
        for kernel in [BzImageMaker().bytes, ELFMaker().bytes, ELFMaker(notes: ELFMaker.pvhNote(0x100_0000)).bytes] {
            let ramdisk = pattern(9000)
            let boot = try LinuxBoot(
                microVM: try bootFile(kernel), ramdisk: try bootFile(ramdisk, option: "-initrd"), commandLine: commandLine,
                apicIDs: [0, 1], acpi: microVMTables())
            let first = try boot.place(in: memory, isMemoryFresh: false)
            let areas: [(UInt64, Int)] = [
                (0x500, 0x28), (first.mode == .long64 ? 0x7000 : 0x6000, first.mode == .long64 ? 0x1000 : 0xB8),
                (0x2_0000, commandLine.utf8.count + 1), (0x9_FC00, 0x400), (0xD_0000, 0x80), (0xE_0000, 36),
                (0x100_0000, 0x800), (0x3FF_D000, 9000),
            ]
            let before = try areas.map { try memory.read($0.1, at: GuestAddress($0.0)) }
            memory.buffer(at: GuestAddress(0), count: 64 << 20)?.fill(0xCC)
            let second = try boot.place(in: memory, isMemoryFresh: false)
            #expect(first == second)
            #expect(try areas.map { try memory.read($0.1, at: GuestAddress($0.0)) } == before)
            if kernel.starts(with: [0x7F]) {
                #expect(try memory.read(0x2C00, at: GuestAddress(0x100_2400)) == [UInt8](repeating: 0, count: 0x2C00))
            }
        }
    }

    @Test("a machine without memory at 0, or with next to none, gets an error")
    func strangeMemory() throws {
        let boot = LinuxBoot(kernel: try bootFile(BzImageMaker().bytes), commandLine: "")
        let small = try guestMemory(mebibytes: 1)
        #expect(message { _ = try boot.place(in: small, isMemoryFresh: true) }.hasPrefix("-m: "))
        let range = try #require(GuestRange(base: GuestAddress(1 << 30), size: 64 << 20))
        let high = try GuestMemory([range])
        #expect(message { _ = try boot.place(in: high, isMemoryFresh: true) }.hasPrefix("-m: "))
    }
}

#endif
