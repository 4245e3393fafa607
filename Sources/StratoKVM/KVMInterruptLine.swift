package import StratoHost
internal import StratoMemory

/// An interrupt line of a machine's interrupt controller in the kernel.
///
/// A pulse is one signal of an eventfd that the kernel listens to (irqfd) where it can, so that any thread can raise the
/// interrupt without taking part in the machine.
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
            try LinuxError.check(machine.setIRQFD(event, number: number, isAssigned: true), "KVM_IRQFD")
            return event
        }
        self.event = event
    }

    deinit {
        if let event {
            // The kernel would otherwise hold the eventfd until the machine's descriptor is closed.
            _ = machine.setIRQFD(event, number: number, isAssigned: false)
        }
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
