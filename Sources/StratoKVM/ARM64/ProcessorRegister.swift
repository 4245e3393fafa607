#if arch(arm64)
internal import CStratoLinux
internal import StratoHost

/// A register of a virtual CPU as KVM_GET_ONE_REG and KVM_SET_ONE_REG name it (api.rst, 4.68).
package struct ProcessorRegister: Sendable, Hashable {
    let identifier: UInt64

    /// KVM_REG_ARM64 and KVM_REG_SIZE_U64.
    private static let architectureAndSize: UInt64 = 0x6030_0000_0000_0000
    /// KVM_REG_ARM_CORE: the rest is the place in `struct kvm_regs`, in units of four bytes.
    private static let core: UInt64 = 0x0010_0000
    /// KVM_REG_ARM64_SYSREG: the rest is the encoding of the register in MRS.
    private static let system: UInt64 = 0x0013_0000

    private init(core offset: UInt64) {
        identifier = ProcessorRegister.architectureAndSize | ProcessorRegister.core | offset / 4
    }

    private init(system op0: UInt64, _ op1: UInt64, _ crn: UInt64, _ crm: UInt64, _ op2: UInt64) {
        identifier =
            ProcessorRegister.architectureAndSize | ProcessorRegister.system | op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2
    }

    /// X0...X30; the number is cut off at 30.
    package static func general(_ number: Int) -> ProcessorRegister {
        ProcessorRegister(core: UInt64(min(max(number, 0), 30)) * 8)
    }

    package static let stackPointer = ProcessorRegister(core: 31 * 8)
    package static let programCounter = ProcessorRegister(core: 32 * 8)
    package static let processorState = ProcessorRegister(core: 33 * 8)
    /// Arm ARM (DDI 0487), D19.2.108.
    package static let multiprocessorAffinity = ProcessorRegister(system: 3, 0, 0, 0, 5)
    package static let systemControl = ProcessorRegister(system: 3, 0, 1, 0, 0)
    package static let exceptionSyndrome = ProcessorRegister(system: 3, 0, 5, 2, 0)
    package static let exceptionLink = ProcessorRegister(system: 3, 0, 4, 0, 1)
    package static let faultAddress = ProcessorRegister(system: 3, 0, 6, 0, 0)
    package static let vectorBase = ProcessorRegister(system: 3, 0, 12, 0, 0)
}

extension KVMProcessor {
    /// Reads a register of 64 bits.
    ///
    /// - Throws: `KVMError`.
    package func register(_ register: ProcessorRegister) throws(KVMError) -> UInt64 {
        var value: UInt64 = 0
        try transfer(CSL_KVM_GET_ONE_REG.rawValue, register, &value, "read a register")
        return value
    }

    /// Writes a register of 64 bits.
    ///
    /// - Throws: `KVMError`.
    package func setRegister(_ register: ProcessorRegister, to value: UInt64) throws(KVMError) {
        var value = value
        try transfer(CSL_KVM_SET_ONE_REG.rawValue, register, &value, "set a register")
    }

    private func transfer(
        _ request: UInt, _ register: ProcessorRegister, _ value: inout UInt64, _ attempt: String
    ) throws(KVMError) {
        var structure = kvm_one_reg()
        structure.id = register.identifier
        // SAFETY: all registers named above have eight bytes, and the variable lives for the length of the call.
        let result = unsafe withUnsafeMutablePointer(to: &value) { pointer in
            structure.addr = UInt64(UInt(bitPattern: pointer))
            return unsafe csl_ioctl_pointer(number, request, &structure)
        }
        if result < 0 {
            let name = "0x\(String(register.identifier, radix: 16))"
            throw KVMError("\(attempt) (\(name)) of virtual CPU \(index)", LinuxError(code: 0 &- result, operation: "ioctl"))
        }
    }
}
#endif
