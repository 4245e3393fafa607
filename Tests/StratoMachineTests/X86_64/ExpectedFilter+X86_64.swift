#if arch(x86_64)
// The numbers of asm/kvm.h's and linux/kvm.h's requests, as the kernel sees them.
extension ExpectedFilter {
    static let resetCalls: [Int32] = []

    /// KVM_IRQ_LINE, KVM_IRQFD, KVM_IOEVENTFD, KVM_SET_GSI_ROUTING, KVM_SET_USER_MEMORY_REGION.
    private static let deviceRequests: [UInt32] = [0x4008_AE61, 0x4020_AE76, 0x4040_AE79, 0x4008_AE6A, 0x4020_AE46]

    /// KVM_GET_REGS, KVM_GET_SREGS.
    private static let registerRequests: [UInt32] = [0x8090_AE81, 0x8138_AE83]

    /// KVM_RUN and those.
    static let processorRequests: [UInt32] = [0xAE80] + deviceRequests + registerRequests

    /// KVM_CHECK_EXTENSION, KVM_{GET,SET}_MP_STATE, KVM_{GET,SET}_VCPU_EVENTS, KVM_SET_REGS, KVM_SET_SREGS,
    /// KVM_SET_FPU, KVM_SET_LAPIC, KVM_SET_XCRS, KVM_SET_DEBUGREGS, KVM_SET_MSRS, KVM_SET_IRQCHIP, KVM_SET_PIT2.
    static let machineRequests: [UInt32] =
        deviceRequests + registerRequests + [
            0xAE03, 0x8004_AE98, 0x4004_AE99, 0x8040_AE9F, 0x4040_AEA0, 0x4090_AE82, 0x4138_AE84, 0x41A0_AE8D,
            0x4400_AE8F, 0x4188_AEA7, 0x4080_AEA2, 0x4008_AE89, 0x8208_AE63, 0x4070_AEA0,
        ]
}
#endif
