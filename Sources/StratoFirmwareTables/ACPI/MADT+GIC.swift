extension MADT {
    /// The table of a machine with a GICv3 (ACPI 6.3, 5.2.12.14 to 5.2.12.18).
    static func encode(_ machine: ARMMachineTree) -> [UInt8] {
        let gicVersion: UInt8 = 3
        let isEnabled: UInt32 = 1
        var body = TableBytes()
        body.append(zeros: 8)  // Neither a local APIC nor flags.
        append(type: 0x0C, to: &body) { entry in
            entry.append(zeros: 2)
            entry.append(UInt32(0))  // The only one.
            entry.append(machine.interruptController.distributor.base)
            entry.append(UInt32(0))
            entry.append(gicVersion)
            entry.append(zeros: 3)
        }
        for (number, processor) in machine.processors.enumerated() {
            append(type: 0x0B, to: &body) { entry in
                entry.append(zeros: 2)
                entry.append(UInt32(clamping: number))
                entry.append(UInt32(clamping: number))
                entry.append(isEnabled)
                entry.append(UInt32(0))  // No parking protocol.
                entry.append(
                    machine.hasPerformanceMonitors
                        ? ARMMachineTree.globalInterrupt(ofPrivate: ARMMachineTree.PrivateInterrupt.performanceMonitors) : 0)
                entry.append(zeros: 8)
                entry.append(zeros: 24)  // The processor's interface, and the hypervisor's, are registers of the processor.
                entry.append(
                    ARMMachineTree.globalInterrupt(ofPrivate: ARMMachineTree.PrivateInterrupt.controllerMaintenance))
                entry.append(zeros: 8)  // Redistributors have entries of their own.
                entry.append(processor.affinity)
                entry.append(zeros: 4)
            }
        }
        for range in machine.interruptController.redistributors {
            append(type: 0x0E, to: &body) { entry in
                entry.append(zeros: 2)
                entry.append(range.base)
                entry.append(UInt32(clamping: range.size))
            }
        }
        append(type: 0x0F, to: &body) { entry in
            entry.append(zeros: 2)
            entry.append(UInt32(0))
            entry.append(machine.interruptController.translationService.base)
            entry.append(zeros: 4)
        }
        return ACPITable.encode(signature: "APIC", revision: MADT.revision, body: body.bytes)
    }
}

extension ARMMachineTree {
    /// The global system interrupt of a processor's own interrupt: its interrupt id.
    static func globalInterrupt(ofPrivate number: UInt32) -> UInt32 { 16 + number }

    /// The global system interrupt of a shared interrupt.
    static func globalInterrupt(ofShared number: UInt32) -> UInt32 { 32 + number }
}
