internal import CStratoLinux
internal import Glibc
package import StratoHost
package import StratoMemory
internal import Synchronization

/// A virtual machine of KVM: guest memory, interrupts and doorbells, and the virtual CPUs that are made in it.
package final class KVMVirtualMachine: Sendable {
    package let system: KVMSystem
    package let memory: GuestMemory
    private let descriptor: OwnedDescriptor
    private let isIRQFDAvailable: Bool
    /// The first number that no memory slot has.
    private let nextSlot: Atomic<UInt32>

    /// Makes a machine without virtual CPUs or interrupt controller over a guest's memory.
    ///
    /// - Parameters:
    ///   - system: the host's KVM.
    ///   - memory: the guest's RAM.
    ///   - lastDeviceAddress: the highest address that a device of the machine has, where it may be above RAM.
    /// - Throws: `KVMError`.
    package init(
        system: KVMSystem, memory: GuestMemory, lastDeviceAddress: GuestAddress = GuestAddress(0)
    ) throws(KVMError) {
        let last = memory.ranges.map(\.last).reduce(lastDeviceAddress, max)
        let type = try system.machineType(addressing: last)
        let number = try kvm("create a virtual machine") { () throws(LinuxError) in
            while true {
                // A signal that arrives during this long request makes the kernel give up; nothing was made then.
                let result = csl_ioctl(system.number, CSL_KVM_CREATE_VM.rawValue, type)
                if result != 0 &- EINTR { return try LinuxError.check(result, "KVM_CREATE_VM") }
            }
        }
        let descriptor = OwnedDescriptor(owning: number)
        var slot: UInt32 = 0
        // SAFETY: the object holds the memory for as long as the machine can reach it.
        let regions = unsafe memory.hostRegions
        for position in unsafe regions.indices {
            let region = unsafe regions[position]
            var request = unsafe kvm_userspace_memory_region(
                slot: slot, flags: 0, guest_phys_addr: region.range.base.value, memory_size: region.range.size,
                userspace_addr: UInt64(UInt(bitPattern: region.address)))
            let result = unsafe csl_ioctl_pointer(
                descriptor.number, CSL_KVM_SET_USER_MEMORY_REGION.rawValue, &request)
            let range = unsafe region.range
            try kvm("give the guest memory at \(range)") { () throws(LinuxError) in
                try LinuxError.check(result, "KVM_SET_USER_MEMORY_REGION")
            }
            slot += 1
        }
        isIRQFDAvailable = system.capability(KVM_CAP_IRQFD) != 0
        nextSlot = Atomic(slot)
        self.system = system
        self.memory = memory
        self.descriptor = descriptor
    }

    /// The descriptor, valid as long as this object lives.
    package var number: Int32 { descriptor.number }

    /// Makes a virtual CPU.
    ///
    /// - Parameter index: 0...253; becomes the APIC id on x86_64, and what MPIDR is made from on aarch64.
    /// - Returns: the virtual CPU, with KVM's reset state.
    /// - Throws: `KVMError`.
    package func makeProcessor(index: Int) throws(KVMError) -> KVMProcessor {
        try KVMProcessor(machine: self, index: index)
    }

    /// The line with a global system interrupt number, for a device that pulses it.
    ///
    /// - Parameter number: on aarch64 that of a shared peripheral interrupt.
    /// - Returns: the line; more than one object may be made of it.
    /// - Throws: `KVMError`.
    package func interruptLine(_ number: UInt32) throws(KVMError) -> KVMInterruptLine {
        try KVMInterruptLine(machine: self, number: number, usesEvent: isIRQFDAvailable)
    }

    /// The value of a capability that machines differ in, 0 for one that is not there.
    func capability(_ number: Int32) -> Int32 {
        max(0, csl_ioctl(descriptor.number, CSL_KVM_CHECK_EXTENSION.rawValue, UInt(bitPattern: Int(number))))
    }

    /// The line with a global system interrupt number, for devices that set its level: without an eventfd, whose every
    /// signal is a rise and a fall.
    ///
    /// - Throws: `KVMError`.
    package func levelInterruptLine(_ number: UInt32) throws(KVMError) -> KVMInterruptLine {
        try KVMInterruptLine(machine: self, number: number, usesEvent: false)
    }

    /// Memory that the guest reads and executes but whose writes come as `mmioWrite`; not there until it is mapped.
    ///
    /// - Parameter contents: one region, at the guest addresses where it is to be.
    /// - Throws: `KVMError` on a host without such memory, or for contents of several regions.
    package func makeReadOnlyMemory(_ contents: GuestMemory) throws(KVMError) -> KVMReadOnlyMemory {
        guard system.capability(KVM_CAP_READONLY_MEM) != 0 else {
            throw KVMError("KVM on this host has no read-only memory, which firmware in flash needs")
        }
        guard contents.ranges.count == 1 else { throw KVMError("read-only memory has one region") }
        let slot = nextSlot.wrappingAdd(1, ordering: .relaxed).oldValue
        return KVMReadOnlyMemory(machine: self, contents: contents, slot: slot)
    }

    func setIRQ(_ number: UInt32, level: Bool) -> Int32 {
        var request = kvm_irq_level()
        request.irq = KVMVirtualMachine.lineCode(number)
        request.level = level ? 1 : 0
        // SAFETY: the structure lives for the length of the call.
        return unsafe csl_ioctl_pointer(descriptor.number, CSL_KVM_IRQ_LINE.rawValue, &request)
    }

    func connect(_ event: EventDescriptor, to number: UInt32) -> Int32 {
        var request = kvm_irqfd()
        request.fd = UInt32(bitPattern: event.number)
        request.gsi = number
        // SAFETY: as above.
        return unsafe csl_ioctl_pointer(descriptor.number, CSL_KVM_IRQFD.rawValue, &request)
    }
}

extension KVMVirtualMachine: DoorbellRegistry {
    package func bind(
        _ event: EventDescriptor, at address: GuestAddress, width: Int, match: UInt64?
    ) throws(LinuxError) {
        try LinuxError.check(
            setIOEventFD(event, address, width, match, isAssigned: true), "bind a doorbell at \(address)")
    }

    package func unbind(_ event: EventDescriptor, at address: GuestAddress, width: Int, match: UInt64?) {
        // What was never bound answers ENOENT, and then it is as it should be.
        _ = setIOEventFD(event, address, width, match, isAssigned: false)
    }

    private func setIOEventFD(
        _ event: EventDescriptor, _ address: GuestAddress, _ width: Int, _ match: UInt64?, isAssigned: Bool
    ) -> Int32 {
        var request = kvm_ioeventfd()
        request.addr = address.value
        request.len = UInt32(clamping: width)
        request.fd = event.number
        request.datamatch = match ?? 0
        request.flags = csl_kvm_ioeventfd_flags(match != nil, !isAssigned)
        // SAFETY: the structure lives for the length of the call.
        return unsafe csl_ioctl_pointer(descriptor.number, CSL_KVM_IOEVENTFD.rawValue, &request)
    }
}
