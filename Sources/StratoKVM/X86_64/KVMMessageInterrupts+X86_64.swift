#if arch(x86_64)
internal import CStratoLinux

extension KVMMessageInterrupts {
    /// The IOAPIC's pins, of which the 8259s have the first sixteen as well.
    static let pinCount: UInt32 = 24
    private static let pinCountOf8259: UInt32 = 8

    /// What KVM sets up with its interrupt controllers, and a new table replaces: every pin of the IOAPIC under its own
    /// number, and those of the two 8259s beside the first sixteen.
    static var pinRoutes: [kvm_irq_routing_entry] {
        var routes: [kvm_irq_routing_entry] = []
        for number in 0..<(2 * pinCountOf8259) {
            let isMaster = number < pinCountOf8259
            routes.append(
                csl_kvm_pin_route(
                    number, UInt32(isMaster ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE), number % pinCountOf8259))
        }
        for number in 0..<pinCount {
            routes.append(csl_kvm_pin_route(number, UInt32(KVM_IRQCHIP_IOAPIC), number))
        }
        return routes
    }
}
#endif
