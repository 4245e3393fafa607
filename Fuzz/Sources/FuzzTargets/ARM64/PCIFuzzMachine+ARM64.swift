#if arch(arm64)
internal import StratoMemory
@testable internal import StratoPCI

extension PCIFuzzMachine {
    /// What only this architecture's machine has on the root bus: nothing.
    static let chipSetDevice: UInt8 = 0x1F

    /// The generic host bridge, and configuration space where the machine's tables have it.
    func addChipSet(_ script: GuestScript) throws {
        try host.rootBus.insert(PCIGenericHostBridge(), device: 0)
        try script.memory.insert(
            PCIEnhancedConfiguration(host: host),
            at: guestRange(PCIFuzzMachine.configuration, 256 * PCIFuzzMachine.busSize))
    }

    /// Nobody is there.
    static let configurationPorts = guestRange(0xCF8, 8)
}
#endif
