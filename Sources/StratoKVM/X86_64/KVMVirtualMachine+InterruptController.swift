#if arch(x86_64)
internal import CStratoLinux
internal import Glibc
internal import StratoHost
internal import StratoMemory

/// The state of the two 8259s, the IOAPIC and the timer.
package struct InterruptControllerSnapshot: Sendable {
    fileprivate var chips: [kvm_irqchip] = []
    fileprivate var timer = kvm_pit_state2()

    fileprivate init() {}
}

extension KVMVirtualMachine {
    /// What KVM_IRQ_LINE calls a line.
    static func lineCode(_ number: UInt32) -> UInt32 { number }

    /// Makes the interrupt controllers (two 8259s, IOAPIC, a local APIC for each later virtual CPU) and the 8254 timer.
    ///
    /// - Parameter identityMapAddress: a page of guest addresses without RAM that Intel's virtualization needs; the task state
    ///     segment takes the three pages after it.
    /// - Throws: `KVMError`.
    package func makeInterruptController(identityMapAddress: UInt64 = 0xFEF0_C000) throws(KVMError) {
        var address = identityMapAddress
        // SAFETY: eight bytes are read from a live variable.
        let identity = unsafe csl_ioctl_pointer(number, CSL_KVM_SET_IDENTITY_MAP_ADDR.rawValue, &address)
        let task = csl_ioctl(number, CSL_KVM_SET_TSS_ADDR.rawValue, UInt(identityMapAddress + 0x1000))
        try kvm("place the identity map and the task state segment") { () throws(LinuxError) in
            try LinuxError.check(identity, "KVM_SET_IDENTITY_MAP_ADDR")
            try LinuxError.check(task, "KVM_SET_TSS_ADDR")
        }
        try kvm("make the interrupt controller") { () throws(LinuxError) in
            try LinuxError.check(csl_ioctl(number, CSL_KVM_CREATE_IRQCHIP.rawValue, 0), "KVM_CREATE_IRQCHIP")
        }
        var configuration = kvm_pit_config()
        // Port 0x61 is answered in the kernel as well: old timer calibration polls it tightly.
        configuration.flags = csl_kvm_pit_speaker_dummy()
        let timer = unsafe csl_ioctl_pointer(number, CSL_KVM_CREATE_PIT2.rawValue, &configuration)
        try kvm("make the timer") { () throws(LinuxError) in
            try LinuxError.check(timer, "KVM_CREATE_PIT2")
        }
    }

    /// Takes the controllers' state.
    ///
    /// - Throws: `KVMError`.
    package func snapshotInterruptController() throws(KVMError) -> InterruptControllerSnapshot {
        var state = InterruptControllerSnapshot()
        for identifier in [KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, KVM_IRQCHIP_IOAPIC] {
            var chip = kvm_irqchip()
            chip.chip_id = UInt32(identifier)
            try unsafe request(CSL_KVM_GET_IRQCHIP.rawValue, &chip, "read an interrupt controller")
            state.chips.append(chip)
        }
        try unsafe request(CSL_KVM_GET_PIT2.rawValue, &state.timer, "read the timer")
        return state
    }

    /// Gives back a state that the controllers had.
    ///
    /// - Throws: `KVMError`.
    package func restoreInterruptController(_ state: InterruptControllerSnapshot) throws(KVMError) {
        for var chip in state.chips {
            try unsafe request(CSL_KVM_SET_IRQCHIP.rawValue, &chip, "set an interrupt controller")
        }
        var timer = state.timer
        try unsafe request(CSL_KVM_SET_PIT2.rawValue, &timer, "set the timer")
    }

    /// `value` is the structure that the request names, and lives for the length of the call.
    @unsafe
    private func request(_ request: UInt, _ value: UnsafeMutableRawPointer, _ attempt: String) throws(KVMError) {
        let result = unsafe csl_ioctl_pointer(number, request, value)
        if result < 0 {
            throw KVMError(attempt, LinuxError(code: 0 &- result, operation: "ioctl"))
        }
    }
}

extension KVMSystem {
    /// What kind of machine to make so that it can have an address: there is one kind.
    func machineType(addressing last: GuestAddress) throws(KVMError) -> UInt { 0 }
}
#endif
