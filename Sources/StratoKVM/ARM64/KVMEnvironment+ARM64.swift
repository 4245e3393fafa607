#if arch(arm64)
extension KVMEnvironment {
    /// Why the processor cannot run a guest's kernel mode itself, nil if it can: without EL2 there is no `/dev/kvm`.
    static var missingVirtualization: String? { nil }
}
#endif
