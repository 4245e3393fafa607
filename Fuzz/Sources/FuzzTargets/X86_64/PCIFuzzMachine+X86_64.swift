#if arch(x86_64)
internal import StratoMemory
@testable internal import StratoPCI
@testable internal import StratoPlatform

extension PCIFuzzMachine {
    /// What only this architecture's machine has on the root bus.
    static let chipSetDevice = LPCBridge.device

    /// Q35's host and LPC bridge, and both ways to configuration space.
    func addChipSet(_ script: GuestScript) throws {
        let hub = try MemoryControllerHub(
            configuration: PCIEnhancedConfiguration(host: host), base: PCIFuzzMachine.configuration,
            logger: FormattingSink.logger)
        let power = PowerManagementBlock(bus: nil, interrupt: SilentLine(), loop: nil, onPowerOff: {})
        try host.rootBus.insert(hub, device: 0)
        try host.rootBus.insert(LPCBridge(powerManagement: power, base: 0x600), device: LPCBridge.device)
        try script.ports.insert(
            PCIConfigurationPorts(host: host, resetControl: ResetControl(onReset: {})),
            at: guestRange(PCIConfigurationPorts.port, PCIConfigurationPorts.portCount))
    }

    static let configurationPorts = guestRange(PCIConfigurationPorts.port, PCIConfigurationPorts.portCount)
}
#endif
