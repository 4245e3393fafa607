#if arch(x86_64)
internal import CStratoLinux
internal import Glibc
internal import StratoHost

/// Everything KVM keeps of one virtual CPU, taken while it does not run.
///
/// A machine takes it once before the first instruction, and gives it back at each reset.
package struct ProcessorSnapshot: Sendable {
    fileprivate var general = kvm_regs()
    fileprivate var special = kvm_sregs()
    fileprivate var floatingPoint = kvm_fpu()
    fileprivate var localAPIC = kvm_lapic_state()
    fileprivate var extendedControl: kvm_xcrs?
    fileprivate var debug = kvm_debugregs()
    fileprivate var events = kvm_vcpu_events()
    fileprivate var runState = kvm_mp_state()
    fileprivate var modelSpecific: [kvm_msr_entry] = []

    fileprivate init() {}
}

extension KVMProcessor {
    /// Takes the virtual CPU's state.
    ///
    /// - Throws: `KVMError`.
    package func snapshot() throws(KVMError) -> ProcessorSnapshot {
        var state = ProcessorSnapshot()
        // The run state comes first: reading it lets pending INIT and SIPI take effect (api.rst, 4.38).
        try transfer(CSL_KVM_GET_MP_STATE.rawValue, &state.runState, "read the run state")
        try transfer(CSL_KVM_GET_REGS.rawValue, &state.general, "read the registers")
        try transfer(CSL_KVM_GET_SREGS.rawValue, &state.special, "read the special registers")
        try transfer(CSL_KVM_GET_FPU.rawValue, &state.floatingPoint, "read the floating point state")
        try transfer(CSL_KVM_GET_LAPIC.rawValue, &state.localAPIC, "read the local APIC")
        if machine.system.capability(KVM_CAP_XCRS) != 0 {
            var registers = kvm_xcrs()
            try transfer(CSL_KVM_GET_XCRS.rawValue, &registers, "read the extended control registers")
            state.extendedControl = registers
        }
        try transfer(CSL_KVM_GET_DEBUGREGS.rawValue, &state.debug, "read the debug registers")
        try transfer(CSL_KVM_GET_VCPU_EVENTS.rawValue, &state.events, "read the pending events")
        state.modelSpecific = readModelSpecificRegisters(machine.system.stateRegisters)
        return state
    }

    /// KVM stops at the first register that this virtual CPU lacks: it is left out, and the rest is asked for again.
    private func readModelSpecificRegisters(_ indices: [UInt32]) -> [kvm_msr_entry] {
        var result: [kvm_msr_entry] = []
        var rest = indices[...]
        while !rest.isEmpty {
            var entries = rest.map { index in
                var entry = kvm_msr_entry()
                entry.index = index
                return entry
            }
            // SAFETY: the shim reads and writes at most `count` entries of the array.
            let done = unsafe entries.withUnsafeMutableBufferPointer { buffer -> Int in
                guard let base = buffer.baseAddress else { return 0 }
                return unsafe max(0, Int(csl_kvm_transfer_msrs(number, 0, base, UInt32(buffer.count))))
            }
            result += entries.prefix(done)
            rest = rest.dropFirst(done + 1)
        }
        return result
    }

    /// Gives back a state that this virtual CPU had.
    ///
    /// - Throws: `KVMError`.
    package func restore(_ state: ProcessorSnapshot) throws(KVMError) {
        var state = state
        try transfer(CSL_KVM_SET_SREGS.rawValue, &state.special, "set the special registers")
        for var entry in state.modelSpecific {
            // SAFETY: as above. Some registers can be read but not written; their value cannot have changed.
            _ = unsafe csl_kvm_transfer_msrs(number, 1, &entry, 1)
        }
        if var registers = state.extendedControl {
            try transfer(CSL_KVM_SET_XCRS.rawValue, &registers, "set the extended control registers")
        }
        try transfer(CSL_KVM_SET_FPU.rawValue, &state.floatingPoint, "set the floating point state")
        try transfer(CSL_KVM_SET_DEBUGREGS.rawValue, &state.debug, "set the debug registers")
        try transfer(CSL_KVM_SET_LAPIC.rawValue, &state.localAPIC, "set the local APIC")
        try transfer(CSL_KVM_SET_VCPU_EVENTS.rawValue, &state.events, "set the pending events")
        try transfer(CSL_KVM_SET_REGS.rawValue, &state.general, "set the registers")
        try transfer(CSL_KVM_SET_MP_STATE.rawValue, &state.runState, "set the run state")
    }
}

extension KVMSystem {
    /// The numbers of the model-specific registers that make up a virtual CPU's state (api.rst, 4.3).
    var stateRegisters: [UInt32] {
        let capacity = 512
        // SAFETY: the shim writes at most `capacity` numbers and returns how many.
        return unsafe [UInt32](unsafeUninitializedCapacity: capacity) { buffer, count in
            count = 0
            guard let base = buffer.baseAddress else { return }
            let found = unsafe csl_kvm_get_msr_index_list(number, base, UInt32(capacity))
            count = max(0, min(Int(found), capacity))
        }
    }
}
#endif
