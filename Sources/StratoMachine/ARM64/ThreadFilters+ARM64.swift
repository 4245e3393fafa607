#if arch(arm64)
internal import CStratoLinux
internal import Glibc
internal import StratoHost

/// Calls that an architecture has instead of another's.
enum SystemCallNumbers {
    static let waitForEvents = SYS_epoll_pwait
    static let poll = SYS_ppoll
    static let status = SYS_newfstatat
    static let processGroup = SYS_getpgid
}

extension ThreadFilters {
    /// What a reset asks of the kernel besides: seeds of the guest's kernel, in its device tree.
    static let resetCalls = [SYS_getrandom]

    /// What a line about a virtual CPU that failed is made from.
    static var registerRequests: [UInt32] { [number(CSL_KVM_GET_ONE_REG)] }

    /// The state of virtual CPUs and of what KVM has beside them.
    static var stateRequests: [UInt32] {
        [
            number(CSL_KVM_SET_ONE_REG), number(CSL_KVM_ARM_PREFERRED_TARGET), number(CSL_KVM_ARM_VCPU_INIT),
            number(CSL_KVM_ARM_VCPU_FINALIZE), number(CSL_KVM_SET_DEVICE_ATTR), number(CSL_KVM_GET_DEVICE_ATTR),
        ]
    }

    private static func number(_ request: csl_kvm_arm64_request) -> UInt32 { UInt32(truncatingIfNeeded: request.rawValue) }
}
#endif
