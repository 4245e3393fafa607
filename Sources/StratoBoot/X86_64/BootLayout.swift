#if arch(x86_64)

/// Where the structures are that a kernel is started with, all in the first MiB; kernels and RAM disks go above.
enum BootLayout {
    static let gdt: UInt64 = 0x500
    static let idt: UInt64 = 0x520

    /// The BIOS data area's words for the segment of the EBDA and for the KiB of base memory.
    static let ebdaSegmentWord: UInt64 = 0x40E
    static let baseMemoryWord: UInt64 = 0x413

    /// `hvm_start_info`, its module and its memory map, for PVH.
    static let startInfo: UInt64 = 0x6000

    /// `boot_params`, for Linux's own protocol.
    static let zeroPage: UInt64 = 0x7000
    static let stackPointer: UInt64 = 0x8FF0
    static let pageMapLevel4: UInt64 = 0x9000
    static let pageDirectoryPointers: UInt64 = 0xA000
    static let pageDirectory: UInt64 = 0xB000
    static let pageSize = 4096

    static let commandLine: UInt64 = 0x2_0000

    /// The extended BIOS data area: the end of base memory, with the MP table.
    static let ebda: UInt64 = 0x9_FC00
    static let baseMemoryEnd: UInt64 = 0xA_0000

    /// ACPI tables, the BIOS area, and the ROMs that a PC would have between.
    static let firmwareArea: UInt64 = 0xD_0000
    static let extendedMemory: UInt64 = 0x10_0000

    /// What the page tables map: virtual addresses equal physical ones up to here.
    static let identityMapEnd: UInt64 = 0x4000_0000

    static let codeSelector: UInt16 = 0x10
    static let dataSelector: UInt16 = 0x18

    /// Null, null, 64-bit code, data: the selectors that Linux calls __BOOT_CS and __BOOT_DS.
    static let gdtEntries: [UInt64] = [0, 0, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF]

    /// For PVH the code segment is a 32-bit one.
    static let gdtEntriesPVH: [UInt64] = [0, 0, 0x00CF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF]

    static let gdtRegister = BootState.DescriptorTable(base: gdt, limit: 31)
    static let idtRegister = BootState.DescriptorTable(base: idt, limit: 7)

    /// Where a raw kernel is loaded and entered: CONFIG_PHYSICAL_START of the kernels that are made for it.
    static let rawKernel: UInt64 = 0x100_0000

    /// Left free behind a raw kernel, whose file does not tell how much zeroed memory it needs there.
    static let rawKernelTail: UInt64 = 0x100_0000

    /// Where initial RAM disks end for a kernel that does not say (Linux boot protocol, `initrd_addr_max`).
    static let defaultRamdiskAddressMaximum: UInt64 = 0x37FF_FFFF

    /// The longest command line for a kernel that does not say: COMMAND_LINE_SIZE of x86, without the final zero.
    static let defaultCommandLineSize: UInt64 = 2047

    /// What lies between the command line and the EBDA, without the final zero.
    static let commandLineRoom: UInt64 = ebda - commandLine - 1
}

#endif
