#if arch(arm64)
internal import CStratoLinux

extension KVMMessageInterrupts {
    /// The shared peripheral interrupts, which have the numbers from 0 on.
    static let pinCount = KVMInterruptController.sharedInterruptCount

    /// What KVM sets up with its interrupt controller, and a new table replaces: every shared interrupt under its own number.
    static var pinRoutes: [kvm_irq_routing_entry] {
        (0..<pinCount).map { csl_kvm_pin_route($0, 0, $0) }
    }
}
#endif
