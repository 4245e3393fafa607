internal import StratoHost
internal import StratoKVM
internal import StratoPlatform

/// Shows a flash bank's contents by a read-only memory slot.
final class FlashSlot: FlashMapping {
    private let memory: KVMReadOnlyMemory

    init(_ memory: KVMReadOnlyMemory) {
        self.memory = memory
    }

    func setReadable(_ isReadable: Bool) throws(LinuxError) {
        try memory.setMapped(isReadable)
    }
}
