#if arch(arm64)
internal import CStratoLinux
internal import StratoHost

/// A GICv3 with its translation service for messages, in KVM (Linux, Documentation/virt/kvm/devices/arm-vgic-v3.rst and
/// arm-vgic-its.rst).
package final class KVMInterruptController: Sendable {
    /// Where its register blocks are. All are multiples of 64 KiB.
    package struct Layout: Sendable, Equatable {
        package var distributor: UInt64
        package var translationService: UInt64

        /// Where the processors' redistributors are, one behind the other: filled in this order.
        package var redistributors: [Redistributors]

        package init(distributor: UInt64, translationService: UInt64, redistributors: [Redistributors]) {
            self.distributor = distributor
            self.translationService = translationService
            self.redistributors = redistributors
        }
    }

    /// A range of redistributors.
    package struct Redistributors: Sendable, Equatable {
        package var base: UInt64

        /// How many processors have theirs here.
        package var count: Int

        package init(base: UInt64, count: Int) {
            self.base = base
            self.count = count
        }
    }

    package static let distributorSize: UInt64 = 0x1_0000
    package static let translationServiceSize: UInt64 = 0x2_0000

    /// Of one processor.
    package static let redistributorSize: UInt64 = 0x2_0000

    /// The shared peripheral interrupts: as many as StratoVirt's machines have.
    package static let sharedInterruptCount: UInt32 = 192

    /// Interrupt ids below this one are each processor's own (GIC architecture, IHI 0069, 2.2).
    static let firstSharedInterrupt: UInt32 = 32

    private let controller: KVMDevice
    private let translationService: KVMDevice

    /// Makes the controller, complete: all virtual CPUs have been made, and none comes later.
    ///
    /// - Throws: `KVMError`.
    package init(machine: KVMVirtualMachine, layout: Layout) throws(KVMError) {
        controller = try KVMDevice(
            KVM_DEV_TYPE_ARM_VGIC_V3, name: "a GICv3, the interrupt controller that this machine has", in: machine)
        let interruptCount = KVMInterruptController.firstSharedInterrupt + KVMInterruptController.sharedInterruptCount
        try controller.set(KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, to: interruptCount, "set the number of interrupts")
        try controller.set(
            KVM_DEV_ARM_VGIC_GRP_ADDR, UInt64(KVM_VGIC_V3_ADDR_TYPE_DIST), to: layout.distributor, "place the distributor")
        if let only = layout.redistributors.first, layout.redistributors.count == 1 {
            // Kernels before 4.18 know one range alone.
            try controller.set(
                KVM_DEV_ARM_VGIC_GRP_ADDR, UInt64(KVM_VGIC_V3_ADDR_TYPE_REDIST), to: only.base, "place the redistributors")
        } else {
            for (number, range) in layout.redistributors.enumerated() {
                // Bits 63...52: the count; 51...16: the address; 11...0: the number of the range.
                let value = UInt64(UInt16(clamping: range.count)) << 52 | range.base | UInt64(UInt8(clamping: number))
                try controller.set(
                    KVM_DEV_ARM_VGIC_GRP_ADDR, UInt64(KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION), to: value,
                    "place redistributors")
            }
        }
        try controller.command(KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, "finish the set-up")

        translationService = try KVMDevice(
            KVM_DEV_TYPE_ARM_VGIC_ITS, name: "a GICv3 interrupt translation service", in: machine)
        try translationService.set(
            KVM_DEV_ARM_VGIC_GRP_ADDR, UInt64(KVM_VGIC_ITS_ADDR_TYPE), to: layout.translationService, "place the registers")
        try translationService.command(KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, "finish the set-up")
    }

    // MARK: Reset

    /// Puts everything back to how KVM makes it. No virtual CPU runs meanwhile.
    ///
    /// - Parameter affinities: those of all virtual CPUs, as `KVMProcessor.affinity` tells them.
    /// - Throws: `KVMError`.
    package func reset(affinities: [UInt64]) throws(KVMError) {
        try translationService.command(KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_ITS_CTRL_RESET, "reset")
        try write(KVM_DEV_ARM_VGIC_GRP_DIST_REGS, Distributor.control, 0)
        for affinity in affinities {
            try resetRedistributor(processor(affinity))
            try resetProcessorInterface(processor(affinity))
        }
        let shared = KVMInterruptController.firstSharedInterrupt
        try resetInterrupts(
            KVM_DEV_ARM_VGIC_GRP_DIST_REGS, base: 0, shared..<(shared + KVMInterruptController.sharedInterruptCount))
        for interrupt in shared..<(shared + KVMInterruptController.sharedInterruptCount) {
            let register = Distributor.route + UInt64(interrupt) * 8
            try write(KVM_DEV_ARM_VGIC_GRP_DIST_REGS, register, 0)
            try write(KVM_DEV_ARM_VGIC_GRP_DIST_REGS, register + 4, 0)
        }
    }

    /// Registers of the distributor (IHI 0069, 12.8); those of interrupts are in the second frame of a redistributor too.
    private enum Distributor {
        static let control: UInt64 = 0
        static let group: UInt64 = 0x080
        static let clearEnable: UInt64 = 0x180
        static let setPending: UInt64 = 0x200
        static let clearActive: UInt64 = 0x380
        static let priority: UInt64 = 0x400
        static let configuration: UInt64 = 0xC00
        static let route: UInt64 = 0x6000
    }

    /// Registers of a redistributor (IHI 0069, 12.10).
    private enum Redistributor {
        static let control: UInt64 = 0
        static let properties: UInt64 = 0x70
        static let pending: UInt64 = 0x78
        static let interruptFrame: UInt64 = 0x1_0000
    }

    /// System registers of the processor's interface (IHI 0069, 12.2), as MRS encodes them.
    private enum Interface {
        static let priorityMask = encode(4, 6, 0)
        static let binaryPoint0 = encode(12, 8, 3)
        static let active0 = encode(12, 8, 4)
        static let active1 = encode(12, 9, 0)
        static let binaryPoint1 = encode(12, 12, 3)
        static let control = encode(12, 12, 4)
        static let enable0 = encode(12, 12, 6)
        static let enable1 = encode(12, 12, 7)

        /// CBPR and EOImode: what software sets; the rest says what is implemented.
        static let controlBits: UInt64 = 0b11

        /// PRIbits, one less than the number of bits.
        static let priorityBitsShift: UInt64 = 8

        private static func encode(_ crn: UInt64, _ crm: UInt64, _ op2: UInt64) -> UInt64 {
            3 << 14 | crn << 7 | crm << 3 | op2
        }
    }

    /// Aff3...Aff0 in the upper half of an attribute (arm-vgic-v3.rst, KVM_DEV_ARM_VGIC_GRP_REDIST_REGS).
    private func processor(_ affinity: UInt64) -> UInt64 {
        (affinity >> 8 & 0xFF00_0000 | affinity & 0x00FF_FFFF) << 32
    }

    private func write(_ group: Int32, _ register: UInt64, _ value: UInt32) throws(KVMError) {
        try controller.set(group, register, to: value, "set register 0x\(String(register, radix: 16))")
    }

    private func resetRedistributor(_ processor: UInt64) throws(KVMError) {
        let group = KVM_DEV_ARM_VGIC_GRP_REDIST_REGS
        // The tables can be moved only while messages are off.
        try write(group, processor | Redistributor.control, 0)
        for register in [Redistributor.properties, Redistributor.pending] {
            try write(group, processor | register, 0)
            try write(group, processor | register + 4, 0)
        }
        try resetInterrupts(
            group, base: processor | Redistributor.interruptFrame, 0..<KVMInterruptController.firstSharedInterrupt)
    }

    private func resetInterrupts(_ group: Int32, base: UInt64, _ interrupts: Range<UInt32>) throws(KVMError) {
        for first in stride(from: UInt64(interrupts.lowerBound), to: UInt64(interrupts.upperBound), by: 32) {
            let word = first / 8
            try write(group, base + Distributor.clearEnable + word, .max)
            try write(group, base + Distributor.clearActive + word, .max)
            // Written by a monitor, this register takes the zeros too.
            try write(group, base + Distributor.setPending + word, 0)
            // KVM's processors have one security state, and start with all in group 1.
            try write(group, base + Distributor.group + word, .max)
            for position in stride(from: first, to: first + 32, by: 4) {
                try write(group, base + Distributor.priority + position, 0)
            }
            // Software-generated interrupts are edges, for ever.
            for position in stride(from: max(first, 16), to: first + 32, by: 16) {
                try write(group, base + Distributor.configuration + position / 4, 0)
            }
        }
    }

    private func resetProcessorInterface(_ processor: UInt64) throws(KVMError) {
        let group = KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS
        let control: UInt64 = try controller.get(group, processor | Interface.control, "read the control register")
        let priorityBits = control >> Interface.priorityBitsShift & 7 + 1
        // 32 priorities to a register (IHI 0069, 12.2.3).
        let activeCount: UInt64 = priorityBits <= 5 ? 1 : priorityBits == 6 ? 2 : 4
        let registers = [
            Interface.priorityMask, Interface.binaryPoint0, Interface.binaryPoint1, Interface.enable0, Interface.enable1,
        ]
        let active = (0..<activeCount).flatMap { [Interface.active0 + $0, Interface.active1 + $0] }
        for register in registers + active {
            try controller.set(
                group, processor | register, to: UInt64(0), "set system register 0x\(String(register, radix: 16))")
        }
        try controller.set(
            group, processor | Interface.control, to: control & ~Interface.controlBits, "set the control register")
    }
}

extension KVMVirtualMachine {
    /// What KVM_IRQ_LINE calls a shared interrupt: its kind, and its interrupt id (api.rst, 4.25).
    static func lineCode(_ number: UInt32) -> UInt32 {
        KVMVirtualMachine.sharedInterruptKind << 24 | (number &+ KVMInterruptController.firstSharedInterrupt) & 0xFFFF
    }

    /// KVM_ARM_IRQ_TYPE_SPI.
    private static let sharedInterruptKind: UInt32 = 1
}
#endif
