#if arch(arm64)
internal import CStratoLinux
internal import StratoHost

/// Calls that an architecture has instead of another's.
enum SystemCallNumbers {
    static let waitForEvents = SYS_epoll_pwait
    static let poll = SYS_ppoll
    static let status = SYS_newfstatat
    static let processGroup = SYS_getpgid
}

extension ThreadFilters {
    /// What a line about a virtual CPU that failed is made from.
    static var registerRequests: [UInt32] { [UInt32(truncatingIfNeeded: CSL_KVM_GET_ONE_REG.rawValue)] }

    /// The state of virtual CPUs and of what KVM has beside them.
    static var stateRequests: [UInt32] {
        [
            CSL_KVM_SET_ONE_REG, CSL_KVM_ARM_PREFERRED_TARGET, CSL_KVM_ARM_VCPU_INIT, CSL_KVM_ARM_VCPU_FINALIZE,
            CSL_KVM_SET_DEVICE_ATTR, CSL_KVM_GET_DEVICE_ATTR,
        ].map { UInt32(truncatingIfNeeded: $0.rawValue) }
    }
}
#endif
