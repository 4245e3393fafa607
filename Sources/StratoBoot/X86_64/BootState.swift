#if arch(x86_64)

/// The registers that the boot processor starts with, independent of how a hypervisor spells them.
///
/// What is not named here has its value after reset. The other processors wait for INIT and SIPI.
package struct BootState: Sendable, Equatable {
    /// A segment register, or the task register (Intel SDM, volume 3A, 3.4.5).
    package struct Segment: Sendable, Equatable {
        package var base: UInt64 = 0

        /// In bytes, with the granularity already applied.
        package var limit: UInt32 = 0xFFFF_FFFF
        package var selector: UInt16

        /// The four bits of the type field.
        package var type: UInt8

        /// Code or data; false for a system segment.
        package var isCodeOrData = true
        package var privilege: UInt8 = 0
        package var isPresent = true

        /// The L bit: 64-bit code.
        package var isLong = false

        /// The D or B bit: 32-bit operands.
        package var is32Bit = true

        /// The G bit: the limit is counted in pages.
        package var isPageGranular = true

        package init(selector: UInt16, type: UInt8) {
            self.selector = selector
            self.type = type
        }
    }

    /// GDTR or IDTR.
    package struct DescriptorTable: Sendable, Equatable {
        package var base: UInt64
        package var limit: UInt16

        package init(base: UInt64, limit: UInt16) {
            self.base = base
            self.limit = limit
        }
    }

    /// Which contract the kernel is entered by.
    package enum EntryMode: Sendable, Equatable {
        /// Linux's 64-bit boot protocol: long mode, identity-mapped, RSI points to the zero page.
        case long64

        /// PVH: protected mode without paging, EBX points to `hvm_start_info`.
        case protected32PVH
    }

    package var mode: EntryMode
    package var rip: UInt64
    package var rsp: UInt64
    package var rbp: UInt64
    package var rsi: UInt64
    package var rbx: UInt64
    package var rflags: UInt64
    package var code: Segment

    /// DS, ES, FS, GS and SS.
    package var data: Segment
    package var task: Segment
    package var gdt: DescriptorTable
    package var idt: DescriptorTable
    package var cr0: UInt64
    package var cr3: UInt64
    package var cr4: UInt64
    package var efer: UInt64
}

extension BootState {
    /// Intel SDM, volume 3A, 2.5 and 2.2.1.
    enum ControlBit {
        static let cr0ProtectionEnable: UInt64 = 1 << 0
        static let cr0ExtensionType: UInt64 = 1 << 4
        static let cr0Paging: UInt64 = 1 << 31
        static let cr4PhysicalAddressExtension: UInt64 = 1 << 5
        static let eferLongModeEnable: UInt64 = 1 << 8
        static let eferLongModeActive: UInt64 = 1 << 10

        /// The one bit of RFLAGS that always reads as set.
        static let rflagsReserved: UInt64 = 1 << 1
    }

    /// Intel SDM, volume 3A, tables 3-1 and 3-2; the accessed bit is set, as processors demand on entry.
    enum SegmentType {
        static let codeReadable: UInt8 = 0xB
        static let dataWritable: UInt8 = 0x3
        static let taskBusy: UInt8 = 0xB
    }

    /// Linux's 64-bit boot protocol (Documentation/arch/x86/boot.rst, "64-bit Boot Protocol").
    static func long64(entry: UInt64) -> BootState {
        var code = Segment(selector: BootLayout.codeSelector, type: SegmentType.codeReadable)
        code.isLong = true
        code.is32Bit = false
        return BootState(
            mode: .long64, rip: entry, rsp: BootLayout.stackPointer, rbp: BootLayout.stackPointer, rsi: BootLayout.zeroPage,
            rbx: 0, rflags: ControlBit.rflagsReserved, code: code, data: flatData, task: taskSegment(limit: 0xFFFF),
            gdt: BootLayout.gdtRegister, idt: BootLayout.idtRegister,
            cr0: ControlBit.cr0ProtectionEnable | ControlBit.cr0ExtensionType | ControlBit.cr0Paging,
            cr3: BootLayout.pageMapLevel4, cr4: ControlBit.cr4PhysicalAddressExtension,
            efer: ControlBit.eferLongModeEnable | ControlBit.eferLongModeActive)
    }

    /// Xen's x86/HVM direct boot ABI (docs/misc/pvh.pandoc, "Booting"), which is silent about the stack and the tables.
    static func protected32PVH(entry: UInt64) -> BootState {
        let code = Segment(selector: BootLayout.codeSelector, type: SegmentType.codeReadable)
        return BootState(
            mode: .protected32PVH, rip: entry, rsp: BootLayout.stackPointer, rbp: BootLayout.stackPointer, rsi: 0,
            rbx: BootLayout.startInfo, rflags: ControlBit.rflagsReserved, code: code, data: flatData,
            task: taskSegment(limit: 0x67), gdt: BootLayout.gdtRegister, idt: BootLayout.idtRegister,
            cr0: ControlBit.cr0ProtectionEnable | ControlBit.cr0ExtensionType, cr3: 0, cr4: 0, efer: 0)
    }

    private static var flatData: Segment {
        Segment(selector: BootLayout.dataSelector, type: SegmentType.dataWritable)
    }

    private static func taskSegment(limit: UInt32) -> Segment {
        var segment = Segment(selector: 0, type: SegmentType.taskBusy)
        segment.limit = limit
        segment.isCodeOrData = false
        segment.is32Bit = false
        segment.isPageGranular = false
        return segment
    }
}

#endif
