#if arch(arm64)
internal import CStratoLinux
internal import StratoHost
internal import StratoMemory

extension KVMSystem {
    /// What machines of type 0 have (api.rst, 4.2).
    private static let defaultAddressBits = 40

    /// The fewest that can be asked for (api.rst, 4.2).
    private static let fewestAddressBits = 32

    /// How many bits a guest physical address has at most.
    package var addressBits: Int {
        let limit = Int(capability(KVM_CAP_ARM_VM_IPA_SIZE))
        // A kernel that cannot tell has machines of the default size alone.
        return limit == 0 ? KVMSystem.defaultAddressBits : limit
    }

    /// What kind of machine to make so that it can have an address: the number of address bits, no more than are needed, as
    /// each level of translation tables costs time.
    ///
    /// - Throws: `KVMError` if the host's KVM addresses less.
    func machineType(addressing last: GuestAddress) throws(KVMError) -> UInt {
        let needed = max(KVMSystem.fewestAddressBits, 64 - last.value.leadingZeroBitCount)
        let limit = addressBits
        guard needed <= limit else {
            throw KVMError(
                "KVM on this host addresses \(limit) bits, and the machine would reach up to \(last); with less memory (-m) it may not"
            )
        }
        return capability(KVM_CAP_ARM_VM_IPA_SIZE) == 0 ? 0 : UInt(needed)
    }
}
#endif
