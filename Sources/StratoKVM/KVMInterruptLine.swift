package import StratoHost
internal import StratoMemory

/// An interrupt line of a machine's interrupt controller in the kernel.
///
/// A pulse is one signal of an eventfd that the kernel listens to (irqfd) where it can, so that any thread can raise the
/// interrupt without taking part in the machine. The kernel ends the connection itself when the eventfd is closed or the
/// machine's last descriptor is, and is not asked to: it would have to wait until no processor of the host looks at it.
package final class KVMInterruptLine: InterruptLine {
    package let number: UInt32
    package let event: EventDescriptor?
    private let machine: KVMVirtualMachine

    init(machine: KVMVirtualMachine, number: UInt32, usesEvent: Bool) throws(KVMError) {
        self.machine = machine
        self.number = number
        guard usesEvent else {
            event = nil
            return
        }
        let event = try kvm("make an event for interrupt \(number)") { () throws(LinuxError) in
            let event = try EventDescriptor()
            try LinuxError.check(machine.connect(event, to: number), "KVM_IRQFD")
            return event
        }
        self.event = event
    }

    package func pulse() {
        if let event {
            event.signal()
        } else {
            // The number was accepted by the controller's table; a request for it cannot fail later.
            _ = machine.setIRQ(number, level: true)
            _ = machine.setIRQ(number, level: false)
        }
    }

    package func setLevel(_ isAsserted: Bool) {
        _ = machine.setIRQ(number, level: isAsserted)
    }
}
