#if arch(arm64)
internal import CStratoLinux
internal import Glibc
internal import StratoHost

/// What a virtual CPU starts with. Registers that are not here are as the processor's reset leaves them.
package struct ProcessorStart: Sendable, Equatable {
    package var programCounter: UInt64

    /// X0...X3.
    package var arguments: [UInt64]

    package init(programCounter: UInt64, arguments: [UInt64] = [0, 0, 0, 0]) {
        self.programCounter = programCounter
        self.arguments = arguments
    }
}

extension KVMProcessor {
    /// EL1 with its own stack pointer, and every interrupt masked (Arm ARM, C5.2.19): how a kernel is entered.
    private static let initialState: UInt64 = 0x3C5

    /// Puts the virtual CPU into its reset state, at first and at each reset.
    ///
    /// - Parameters:
    ///   - isPoweredOff: it waits for another to start it (PSCI's CPU_ON).
    ///   - features: the same each time.
    /// - Throws: `KVMError`, naming a feature that this host does not have.
    package func reset(isPoweredOff: Bool, features: ProcessorFeatures = ProcessorFeatures()) throws(KVMError) {
        var request = kvm_vcpu_init()
        // SAFETY: the structures live for the length of the calls.
        let preferred = unsafe csl_ioctl_pointer(machine.number, CSL_KVM_ARM_PREFERRED_TARGET.rawValue, &request)
        let index = index
        try kvm("find the kind of virtual CPU") { () throws(LinuxError) in
            try LinuxError.check(preferred, "KVM_ARM_PREFERRED_TARGET")
        }
        unsafe csl_kvm_set_feature(&request, UInt32(KVM_ARM_VCPU_PSCI_0_2))
        if isPoweredOff { unsafe csl_kvm_set_feature(&request, UInt32(KVM_ARM_VCPU_POWER_OFF)) }
        if features.hasPMU {
            guard machine.system.capability(KVM_CAP_ARM_PMU_V3) != 0 else {
                throw KVMError("-cpu pmu=on: KVM on this host has no performance monitors for guests")
            }
            unsafe csl_kvm_set_feature(&request, UInt32(KVM_ARM_VCPU_PMU_V3))
        }
        if features.hasSVE {
            guard machine.system.capability(KVM_CAP_ARM_SVE) != 0 else {
                throw KVMError("-cpu sve=on: this host's processor or its KVM has no SVE")
            }
            unsafe csl_kvm_set_feature(&request, UInt32(KVM_ARM_VCPU_SVE))
        }
        let result = unsafe csl_ioctl_pointer(number, CSL_KVM_ARM_VCPU_INIT.rawValue, &request)
        try kvm("reset virtual CPU \(index)") { () throws(LinuxError) in
            try LinuxError.check(result, "KVM_ARM_VCPU_INIT")
        }
    }

    /// Makes what `reset` switched on final, once, before the virtual CPU runs for the first time.
    ///
    /// - Parameters:
    ///   - features: as given to `reset`.
    ///   - monitorInterrupt: the private interrupt of the performance monitors, as a GIC counts it.
    /// - Throws: `KVMError`.
    package func finalize(_ features: ProcessorFeatures, monitorInterrupt: UInt32) throws(KVMError) {
        let index = index
        if features.hasSVE {
            var feature = Int32(KVM_ARM_VCPU_SVE)
            // SAFETY: KVM reads an integer that lives for the length of the call.
            let result = unsafe csl_ioctl_pointer(number, CSL_KVM_ARM_VCPU_FINALIZE.rawValue, &feature)
            try kvm("finish SVE of virtual CPU \(index)") { () throws(LinuxError) in
                try LinuxError.check(result, "KVM_ARM_VCPU_FINALIZE")
            }
        }
        if features.hasPMU {
            var interrupt = Int32(clamping: monitorInterrupt)
            // SAFETY: as above.
            let results = unsafe withUnsafeMutablePointer(to: &interrupt) { pointer in
                unsafe [
                    setAttribute(KVM_ARM_VCPU_PMU_V3_CTRL, KVM_ARM_VCPU_PMU_V3_IRQ, pointer),
                    setAttribute(KVM_ARM_VCPU_PMU_V3_CTRL, KVM_ARM_VCPU_PMU_V3_INIT, nil),
                ]
            }
            for result in results {
                try kvm("set up the performance monitors of virtual CPU \(index)") { () throws(LinuxError) in
                    try LinuxError.check(result, "KVM_SET_DEVICE_ATTR")
                }
            }
        }
    }

    @unsafe
    private func setAttribute(_ group: Int32, _ attribute: Int32, _ value: UnsafeMutableRawPointer?) -> Int32 {
        unsafe transferAttribute(
            number, CSL_KVM_SET_DEVICE_ATTR.rawValue, group, UInt64(UInt32(bitPattern: attribute)), value)
    }

    /// Sets every register that a boot protocol has a say in.
    ///
    /// - Throws: `KVMError`.
    package func setStart(_ start: ProcessorStart) throws(KVMError) {
        for (number, value) in start.arguments.enumerated() { try setRegister(.general(number), to: value) }
        try setRegister(.processorState, to: KVMProcessor.initialState)
        try setRegister(.programCounter, to: start.programCounter)
    }

    /// What tells this processor from the others: the affinity fields of MPIDR, as a GIC and a device tree have them.
    ///
    /// - Throws: `KVMError`.
    package func affinity() throws(KVMError) -> UInt64 {
        // Aff3, and Aff2...Aff0 (Arm ARM, D19.2.108).
        try register(.multiprocessorAffinity) & 0xFF_00FF_FFFF
    }

    /// One line with the registers that say where a virtual CPU is, for a log.
    package func registerSummary() -> String {
        let registers: [(String, ProcessorRegister)] = [
            ("pc", .programCounter), ("sp", .stackPointer), ("pstate", .processorState), ("x0", .general(0)), ("x1", .general(1)),
            ("x29", .general(29)), ("x30", .general(30)), ("esr", .exceptionSyndrome), ("elr", .exceptionLink),
            ("far", .faultAddress), ("sctlr", .systemControl), ("vbar", .vectorBase),
        ]
        var text = ""
        for (name, register) in registers {
            guard let value = try? self.register(register) else { return "registers cannot be read" }
            text += (text.isEmpty ? "" : " ") + name + "=" + String(value, radix: 16)
        }
        return text
    }
}
#endif
