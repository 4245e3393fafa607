#if arch(x86_64)
internal import StratoBoot
internal import StratoKVM

extension ProcessorStart {
    /// What a boot protocol asks for, as KVM takes it.
    init(_ state: BootState) {
        self.init(
            rip: state.rip, rsp: state.rsp, rbp: state.rbp, rsi: state.rsi, rbx: state.rbx, code: SegmentState(state.code),
            data: SegmentState(state.data), task: SegmentState(state.task),
            gdt: DescriptorTableState(base: state.gdt.base, limit: state.gdt.limit),
            idt: DescriptorTableState(base: state.idt.base, limit: state.idt.limit), cr0: state.cr0, cr3: state.cr3,
            cr4: state.cr4, efer: state.efer)
    }
}

extension SegmentState {
    init(_ segment: BootState.Segment) {
        var attributes = UInt16(segment.type & 0xF)
        if segment.isCodeOrData { attributes |= 1 << 4 }
        attributes |= UInt16(segment.privilege & 3) << 5
        if segment.isPresent { attributes |= 1 << 7 }
        if segment.isLong { attributes |= 1 << 13 }
        if segment.is32Bit { attributes |= 1 << 14 }
        if segment.isPageGranular { attributes |= 1 << 15 }
        self.init(selector: segment.selector, base: segment.base, limit: segment.limit, attributes: attributes)
    }
}
#endif
