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
    /// What a reset asks of the kernel besides.
    static let resetCalls: [Int32] = []

    /// What a line about a virtual CPU that failed is made from.
    static var registerRequests: [UInt32] {
        [number(CSL_KVM_GET_REGS), number(CSL_KVM_GET_SREGS)]
    }

    /// The state of virtual CPUs and of what KVM has beside them.
    static var stateRequests: [UInt32] {
        [
            number(CSL_KVM_SET_REGS), number(CSL_KVM_SET_SREGS), number(CSL_KVM_SET_FPU), number(CSL_KVM_SET_LAPIC),
            number(CSL_KVM_SET_XCRS), number(CSL_KVM_SET_DEBUGREGS), number(CSL_KVM_SET_MSRS), number(CSL_KVM_SET_IRQCHIP),
            number(CSL_KVM_SET_PIT2),
        ]
    }

    private static func number(_ request: csl_kvm_x86_request) -> UInt32 { UInt32(truncatingIfNeeded: request.rawValue) }
}
#endif
