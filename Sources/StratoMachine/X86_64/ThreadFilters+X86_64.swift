#if arch(x86_64)
internal import CStratoLinux
internal import StratoHost

/// Calls that an architecture has instead of another's.
enum SystemCallNumbers {
    static let waitForEvents = SYS_epoll_wait
    static let poll = SYS_poll
    static let status = SYS_newfstatat
    static let processGroup = SYS_getpgrp
}

extension ThreadFilters {
    /// What a line about a virtual CPU that failed is made from.
    static var registerRequests: [UInt32] {
        [CSL_KVM_GET_REGS, CSL_KVM_GET_SREGS].map { UInt32(truncatingIfNeeded: $0.rawValue) }
    }

    /// The state of virtual CPUs and of what KVM has beside them.
    static var stateRequests: [UInt32] {
        [
            CSL_KVM_SET_REGS, CSL_KVM_SET_SREGS, CSL_KVM_SET_FPU, CSL_KVM_SET_LAPIC, CSL_KVM_SET_XCRS, CSL_KVM_SET_DEBUGREGS,
            CSL_KVM_SET_MSRS, CSL_KVM_SET_IRQCHIP, CSL_KVM_SET_PIT2,
        ].map { UInt32(truncatingIfNeeded: $0.rawValue) }
    }
}
#endif
