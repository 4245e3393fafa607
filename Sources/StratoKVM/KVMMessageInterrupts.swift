internal import CStratoLinux
internal import Glibc
package import StratoHost
package import StratoMemory
internal import Synchronization

/// A machine's message-signalled interrupts: each vector is a global system interrupt of its own, behind the pins of the
/// interrupt controllers, with an eventfd that the kernel turns into the message (irqfd and KVM_SET_GSI_ROUTING; Linux,
/// Documentation/virt/kvm/api.rst, 4.52).
package final class KVMMessageInterrupts: MessageInterruptController {
    /// The kernel's limit on routes (KVM_MAX_IRQ_ROUTES).
    private static let maximumRouteCount = 4096

    private struct Table {
        /// By the number of the interrupt, counted from `firstNumber`; nil for a number that is free.
        var lines: [Line?] = []
    }

    private struct Line {
        var message: InterruptMessage?
    }

    private let machine: KVMVirtualMachine
    private let pins: [kvm_irq_routing_entry]
    private let firstNumber: UInt32
    private let hasDeviceIDs: Bool
    private let table = Mutex(Table())

    /// - Parameter machine: with its interrupt controllers.
    package init(machine: KVMVirtualMachine) {
        self.machine = machine
        pins = KVMMessageInterrupts.pinRoutes
        firstNumber = KVMMessageInterrupts.pinCount
        // Whether the machine's controller needs them, not whether there are controllers that do.
        hasDeviceIDs = machine.capability(KVM_CAP_MSI_DEVID) != 0
    }

    package func makeLine() throws(LinuxError) -> any MessageInterruptLine {
        let event = try EventDescriptor()
        let limit = KVMMessageInterrupts.maximumRouteCount - pins.count
        let position: Int? = table.withLock { table in
            if let free = table.lines.firstIndex(where: { $0 == nil }) {
                table.lines[free] = Line()
                return free
            }
            guard table.lines.count < limit else { return nil }
            table.lines.append(Line())
            return table.lines.count - 1
        }
        guard let position else { throw LinuxError(code: ENOSPC, operation: "make one more interrupt vector") }
        let number = firstNumber + UInt32(position)
        let result = machine.connect(event, to: number)
        guard result >= 0 else {
            table.withLock { $0.lines[position] = nil }
            throw LinuxError(code: 0 &- result, operation: "KVM_IRQFD")
        }
        return KVMMessageInterruptLine(controller: self, position: position, event: event)
    }

    fileprivate func route(_ position: Int, to message: InterruptMessage?) throws(LinuxError) {
        try table.withLock { table throws(LinuxError) in
            guard table.lines[position]?.message != message else { return }
            let previous = table.lines[position]
            table.lines[position] = Line(message: message)
            let result = apply(table)
            if result < 0 {
                table.lines[position] = previous
                throw LinuxError(code: 0 &- result, operation: "KVM_SET_GSI_ROUTING")
            }
        }
    }

    /// The kernel ends the eventfd's connection when that is closed.
    fileprivate func giveBack(_ position: Int) {
        table.withLock { table in
            let hadRoute = table.lines[position]?.message != nil
            table.lines[position] = nil
            // A route without an eventfd has no effect; a table that could not be made smaller does no harm.
            if hadRoute { _ = apply(table) }
        }
    }

    private func apply(_ table: Table) -> Int32 {
        var entries = pins
        for (position, line) in table.lines.enumerated() {
            guard let message = line?.message else { continue }
            entries.append(
                csl_kvm_message_route(
                    firstNumber + UInt32(position), message.address, message.data, message.deviceID, hasDeviceIDs))
        }
        // SAFETY: the shim copies `count` entries out of the array.
        return unsafe entries.withUnsafeBufferPointer { buffer -> Int32 in
            guard let base = buffer.baseAddress else { return 0 }
            return unsafe csl_kvm_set_gsi_routing(machine.number, base, UInt32(buffer.count))
        }
    }
}

private final class KVMMessageInterruptLine: MessageInterruptLine {
    private let controller: KVMMessageInterrupts
    private let position: Int
    private let signal: EventDescriptor
    private let hasRoute = Atomic(false)

    init(controller: KVMMessageInterrupts, position: Int, event: EventDescriptor) {
        self.controller = controller
        self.position = position
        signal = event
    }

    deinit {
        controller.giveBack(position)
    }

    var event: EventDescriptor? { signal }

    func route(to message: InterruptMessage?) throws(LinuxError) {
        if message == nil { hasRoute.store(false, ordering: .releasing) }
        try controller.route(position, to: message)
        if message != nil { hasRoute.store(true, ordering: .releasing) }
    }

    func pulse() {
        // The kernel may look for the route later than it sees the signal, and find one that came in between.
        guard hasRoute.load(ordering: .acquiring) else { return }
        signal.signal()
    }
}
