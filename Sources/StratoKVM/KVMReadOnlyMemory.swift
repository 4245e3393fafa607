internal import CStratoLinux
package import StratoHost
internal import StratoMemory

/// A memory slot that the guest reads and executes, and whose writes end the virtual CPU's run (KVM_MEM_READONLY; Linux,
/// Documentation/virt/kvm/api.rst, 4.35).
package final class KVMReadOnlyMemory: Sendable {
    private let machine: KVMVirtualMachine
    private let contents: GuestMemory
    private let slot: UInt32

    init(machine: KVMVirtualMachine, contents: GuestMemory, slot: UInt32) {
        self.machine = machine
        self.contents = contents
        self.slot = slot
    }

    /// Puts the memory at its guest addresses, or takes it away, so that reads end the run as well.
    ///
    /// - Throws: `LinuxError`; the guest then sees what it saw before.
    package func setMapped(_ isMapped: Bool) throws(LinuxError) {
        // SAFETY: this object holds the contents, and its owner holds it as long as the machine runs.
        let regions = unsafe contents.hostRegions
        guard let region = unsafe regions.first else { return }
        var request = unsafe kvm_userspace_memory_region(
            slot: slot, flags: csl_kvm_mem_readonly(), guest_phys_addr: region.range.base.value,
            memory_size: isMapped ? region.range.size : 0, userspace_addr: UInt64(UInt(bitPattern: region.address)))
        let result = unsafe csl_ioctl_pointer(machine.number, CSL_KVM_SET_USER_MEMORY_REGION.rawValue, &request)
        let range = unsafe region.range
        try LinuxError.check(result, "\(isMapped ? "map" : "unmap") the read-only memory at \(range)")
    }
}
