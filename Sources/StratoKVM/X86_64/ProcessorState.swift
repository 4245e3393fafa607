#if arch(x86_64)
internal import CStratoLinux
internal import Glibc
internal import StratoHost

/// A segment register's visible and hidden parts (Intel SDM, volume 3A, 3.4.3).
package struct SegmentState: Sendable, Equatable {
    package var selector: UInt16
    package var base: UInt64
    package var limit: UInt32
    /// Bits 8...15 and 20...23 of a descriptor's upper half, as in its bits 40...47 and 52...55: type 0...3, S 4, DPL 5...6,
    /// P 7, AVL 12, L 13, D/B 14, G 15.
    package var attributes: UInt16

    package init(selector: UInt16, base: UInt64, limit: UInt32, attributes: UInt16) {
        self.selector = selector
        self.base = base
        self.limit = limit
        self.attributes = attributes
    }

    var kvm: kvm_segment {
        var segment = kvm_segment()
        segment.selector = selector
        segment.base = base
        segment.limit = limit
        segment.type = UInt8(attributes & 0xF)
        segment.s = UInt8(attributes >> 4 & 1)
        segment.dpl = UInt8(attributes >> 5 & 3)
        segment.present = UInt8(attributes >> 7 & 1)
        segment.avl = UInt8(attributes >> 12 & 1)
        segment.l = UInt8(attributes >> 13 & 1)
        segment.db = UInt8(attributes >> 14 & 1)
        segment.g = UInt8(attributes >> 15 & 1)
        return segment
    }
}

/// A descriptor table register.
package struct DescriptorTableState: Sendable, Equatable {
    package var base: UInt64
    package var limit: UInt16

    package init(base: UInt64, limit: UInt16) {
        self.base = base
        self.limit = limit
    }
}

/// What a virtual CPU starts with. Registers that are not here are zero, or as the processor's reset leaves them.
package struct ProcessorStart: Sendable, Equatable {
    package var rip: UInt64
    package var rsp: UInt64
    package var rbp: UInt64
    package var rsi: UInt64
    package var rbx: UInt64
    package var code: SegmentState
    package var data: SegmentState
    package var task: SegmentState?
    package var gdt: DescriptorTableState
    package var idt: DescriptorTableState
    package var cr0: UInt64
    package var cr3: UInt64
    package var cr4: UInt64
    package var efer: UInt64

    package init(
        rip: UInt64, rsp: UInt64 = 0, rbp: UInt64 = 0, rsi: UInt64 = 0, rbx: UInt64 = 0, code: SegmentState,
        data: SegmentState, task: SegmentState? = nil, gdt: DescriptorTableState, idt: DescriptorTableState, cr0: UInt64,
        cr3: UInt64, cr4: UInt64, efer: UInt64
    ) {
        self.rip = rip
        self.rsp = rsp
        self.rbp = rbp
        self.rsi = rsi
        self.rbx = rbx
        self.code = code
        self.data = data
        self.task = task
        self.gdt = gdt
        self.idt = idt
        self.cr0 = cr0
        self.cr3 = cr3
        self.cr4 = cr4
        self.efer = efer
    }

    /// The state after power-on in which a test's code of a few bytes runs: real mode, flat from `base`.
    package static func realMode(base: UInt64) -> ProcessorStart {
        let code = SegmentState(
            selector: UInt16(truncatingIfNeeded: base >> 4), base: base, limit: 0xFFFF, attributes: 0x9B)
        let data = SegmentState(selector: 0, base: 0, limit: 0xFFFF, attributes: 0x93)
        let table = DescriptorTableState(base: 0, limit: 0xFFFF)
        return ProcessorStart(
            rip: 0, code: code, data: data, gdt: table, idt: table, cr0: 0x6000_0010, cr3: 0, cr4: 0, efer: 0)
    }
}

/// Numbers of model-specific registers (Intel SDM, volume 4).
private enum ModelSpecificRegister {
    static let timeStampCounter: UInt32 = 0x10
    static let sysenterCS: UInt32 = 0x174
    static let sysenterESP: UInt32 = 0x175
    static let sysenterEIP: UInt32 = 0x176
    static let miscEnable: UInt32 = 0x1A0
    static let mtrrDefaultType: UInt32 = 0x2FF
    static let star: UInt32 = 0xC000_0081
    static let lstar: UInt32 = 0xC000_0082
    static let cstar: UInt32 = 0xC000_0083
    static let syscallMask: UInt32 = 0xC000_0084
    static let kernelGSBase: UInt32 = 0xC000_0102

    /// MTRRs on, and write-back memory where none says otherwise (SDM, volume 3A, 12.11.2.1).
    static let mtrrEnabledWriteBack: UInt64 = 1 << 11 | 6

    /// Fast string operations are on (SDM, volume 4, table 2-2).
    static let miscEnableFastStrings: UInt64 = 1
}

/// Registers of the local APIC and their values (Intel SDM, volume 3A, 11.5.1).
private enum LocalAPIC {
    static let lint0: UInt32 = 0x350
    static let lint1: UInt32 = 0x360
    static let deliveryModeMask: UInt32 = 0x700
    static let maskBit: UInt32 = 0x10000
    static let deliverNMI: UInt32 = 0x400
    static let deliverExternalInterrupt: UInt32 = 0x700
}

extension KVMProcessor {
    /// Sets what the guest's `CPUID` answers.
    ///
    /// - Throws: `KVMError`.
    package func setIdentification(_ entries: [ProcessorIdentification.Entry]) throws(KVMError) {
        let list = entries.map(\.kvm)
        try kvm("set the CPUID of virtual CPU \(index)") { () throws(LinuxError) in
            // SAFETY: the shim copies `count` entries out of the array.
            let result = unsafe list.withUnsafeBufferPointer { buffer -> Int32 in
                guard let base = buffer.baseAddress else { return 0 }
                return unsafe csl_kvm_set_cpuid(number, base, UInt32(buffer.count))
            }
            try LinuxError.check(result, "KVM_SET_CPUID2")
        }
    }

    /// Sets every register that a boot protocol has a say in.
    ///
    /// - Throws: `KVMError`.
    package func setStart(_ start: ProcessorStart) throws(KVMError) {
        var special = kvm_sregs()
        try transfer(CSL_KVM_GET_SREGS.rawValue, &special, "read the special registers")
        special.cs = start.code.kvm
        special.ds = start.data.kvm
        special.es = start.data.kvm
        special.fs = start.data.kvm
        special.gs = start.data.kvm
        special.ss = start.data.kvm
        if let task = start.task { special.tr = task.kvm }
        special.gdt.base = start.gdt.base
        special.gdt.limit = start.gdt.limit
        special.idt.base = start.idt.base
        special.idt.limit = start.idt.limit
        special.cr0 = start.cr0
        special.cr3 = start.cr3
        special.cr4 = start.cr4
        special.efer = start.efer
        try transfer(CSL_KVM_SET_SREGS.rawValue, &special, "set the special registers")

        var general = kvm_regs()
        // Bit 1 of the flags is always one (SDM, volume 1, 3.4.3).
        general.rflags = 2
        general.rip = start.rip
        general.rsp = start.rsp
        general.rbp = start.rbp
        general.rsi = start.rsi
        general.rbx = start.rbx
        try transfer(CSL_KVM_SET_REGS.rawValue, &general, "set the registers")

        var floatingPoint = kvm_fpu()
        // What FNINIT and a reset leave (SDM, volume 1, 8.1.5 and 11.6.4).
        floatingPoint.fcw = 0x37F
        floatingPoint.mxcsr = 0x1F80
        try transfer(CSL_KVM_SET_FPU.rawValue, &floatingPoint, "set the floating point state")

        try setModelSpecificRegisters([
            (ModelSpecificRegister.sysenterCS, 0), (ModelSpecificRegister.sysenterESP, 0),
            (ModelSpecificRegister.sysenterEIP, 0), (ModelSpecificRegister.star, 0), (ModelSpecificRegister.lstar, 0),
            (ModelSpecificRegister.cstar, 0), (ModelSpecificRegister.syscallMask, 0),
            (ModelSpecificRegister.kernelGSBase, 0), (ModelSpecificRegister.timeStampCounter, 0),
            (ModelSpecificRegister.miscEnable, ModelSpecificRegister.miscEnableFastStrings),
        ])
    }

    /// Makes all memory write-back, as firmware does on every processor before a system is started: Linux leaves the PAT
    /// alone where the MTRRs are off, and complains of processors that disagree.
    ///
    /// - Throws: `KVMError`.
    package func enableMemoryTypes() throws(KVMError) {
        try setModelSpecificRegisters([
            (ModelSpecificRegister.mtrrDefaultType, ModelSpecificRegister.mtrrEnabledWriteBack)
        ])
    }

    /// Wires the two local interrupt pins as the MP specification's virtual wire mode has them (3.6.2.1): the 8259 on the
    /// first, NMI on the second.
    ///
    /// - Throws: `KVMError`.
    package func wireLocalInterrupts() throws(KVMError) {
        var state = kvm_lapic_state()
        try transfer(CSL_KVM_GET_LAPIC.rawValue, &state, "read the local APIC")
        for (register, mode) in [
            (LocalAPIC.lint0, LocalAPIC.deliverExternalInterrupt), (LocalAPIC.lint1, LocalAPIC.deliverNMI),
        ] {
            // SAFETY: both offsets are inside the APIC's page of 1024 bytes.
            let old = unsafe csl_lapic_register(&state, register)
            let new = (old & ~(LocalAPIC.deliveryModeMask | LocalAPIC.maskBit)) | mode
            unsafe csl_set_lapic_register(&state, register, new)
        }
        try transfer(CSL_KVM_SET_LAPIC.rawValue, &state, "set the local APIC")
    }

    /// Sets registers, refusing none silently.
    ///
    /// - Throws: `KVMError` naming the first register that KVM did not take.
    package func setModelSpecificRegisters(_ values: [(number: UInt32, value: UInt64)]) throws(KVMError) {
        var entries = values.map { pair in
            var entry = kvm_msr_entry()
            entry.index = pair.number
            entry.data = pair.value
            return entry
        }
        // SAFETY: the shim reads `count` entries of the array.
        let done = unsafe entries.withUnsafeMutableBufferPointer { buffer -> Int32 in
            guard let base = buffer.baseAddress else { return 0 }
            return unsafe csl_kvm_transfer_msrs(number, 1, base, UInt32(buffer.count))
        }
        if done < 0 {
            throw KVMError("set the MSRs of virtual CPU \(index)", LinuxError(code: 0 &- done, operation: "KVM_SET_MSRS"))
        }
        guard Int(done) == values.count else {
            let refused = String(values[Int(done)].number, radix: 16)
            throw KVMError("KVM: virtual CPU \(index): MSR 0x\(refused) was refused")
        }
    }

    /// One line with the registers that say where a virtual CPU is, for a log.
    package func registerSummary() -> String {
        var general = kvm_regs()
        var special = kvm_sregs()
        guard
            unsafe csl_ioctl_pointer(number, CSL_KVM_GET_REGS.rawValue, &general) >= 0,
            unsafe csl_ioctl_pointer(number, CSL_KVM_GET_SREGS.rawValue, &special) >= 0
        else { return "registers cannot be read" }
        func hex(_ value: UInt64) -> String { String(value, radix: 16) }
        return "rip=\(hex(general.rip)) rsp=\(hex(general.rsp)) rflags=\(hex(general.rflags)) rax=\(hex(general.rax))"
            + " rbx=\(hex(general.rbx)) rcx=\(hex(general.rcx)) rdx=\(hex(general.rdx)) rsi=\(hex(general.rsi))"
            + " rdi=\(hex(general.rdi)) rbp=\(hex(general.rbp)) cs=\(hex(UInt64(special.cs.selector)))"
            + " cr0=\(hex(special.cr0)) cr2=\(hex(special.cr2)) cr3=\(hex(special.cr3)) cr4=\(hex(special.cr4))"
            + " efer=\(hex(special.efer))"
    }

    func transfer<Value: BitwiseCopyable>(_ request: UInt, _ value: inout Value, _ attempt: String) throws(KVMError) {
        // SAFETY: `value` is the structure that the request names, and lives for the length of the call.
        let result = unsafe csl_ioctl_pointer(number, request, &value)
        if result < 0 {
            throw KVMError("\(attempt) of virtual CPU \(index)", LinuxError(code: 0 &- result, operation: "ioctl"))
        }
    }
}
#endif
