#if arch(x86_64)
internal import CStratoLinux

extension KVMEnvironment {
    /// Why the processor cannot run a guest's kernel mode itself, nil if it can.
    static var missingVirtualization: String? {
        csl_has_virtualization()
            ? nil : "this processor shows neither VMX nor SVM, so that KVM cannot run a guest's kernel mode"
    }
}
#endif
