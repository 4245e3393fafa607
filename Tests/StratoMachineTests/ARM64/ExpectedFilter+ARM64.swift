#if arch(arm64)
import CStratoLinux

// The numbers of linux/kvm.h's requests, as the kernel sees them.
extension ExpectedFilter {
    static let resetCalls = [SYS_getrandom]

    /// KVM_IRQ_LINE, KVM_IRQFD, KVM_IOEVENTFD, KVM_SET_GSI_ROUTING, KVM_SET_USER_MEMORY_REGION.
    private static let deviceRequests: [UInt32] = [0x4008_AE61, 0x4020_AE76, 0x4040_AE79, 0x4008_AE6A, 0x4020_AE46]

    /// KVM_RUN, KVM_GET_ONE_REG and those.
    static let processorRequests: [UInt32] = [0xAE80, 0x4010_AEAB] + deviceRequests

    /// KVM_CHECK_EXTENSION, KVM_{GET,SET}_MP_STATE, KVM_{GET,SET}_VCPU_EVENTS, KVM_{GET,SET}_ONE_REG,
    /// KVM_ARM_PREFERRED_TARGET, KVM_ARM_VCPU_INIT, KVM_ARM_VCPU_FINALIZE, KVM_{SET,GET}_DEVICE_ATTR.
    static let machineRequests: [UInt32] =
        deviceRequests + [
            0xAE03, 0x8004_AE98, 0x4004_AE99, 0x8040_AE9F, 0x4040_AEA0, 0x4010_AEAB, 0x4010_AEAC, 0x8020_AEAF,
            0x4020_AEAE, 0x4004_AEC2, 0x4018_AEE1, 0x4018_AEE2,
        ]
}
#endif
