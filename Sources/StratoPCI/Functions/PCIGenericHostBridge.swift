/// The host bridge that a guest finds at 00:00.0 of a machine without a chip set of its own. It has nothing to set: the
/// machine's tables say where configuration space and the windows are.
package final class PCIGenericHostBridge: PCIFunction {
    /// StratoVirt's and QEMU's generic PCI Express host bridge.
    static let identity = PCIIdentity(vendor: 0x1B36, device: 0x0008, classCode: 0x06_00_00)

    private let core: PCIFunctionCore

    package init() throws(PCIError) {
        core = try PCIFunctionCore("host bridge", PCIConfigurationSpace(device: PCIGenericHostBridge.identity))
    }

    package var name: String { core.name }
    package var isMultifunction: Bool { false }

    package func readConfiguration(at offset: Int, width: Int) -> UInt64 { core.read(at: offset, width: width) }

    package func writeConfiguration(_ value: UInt64, at offset: Int, width: Int) {
        core.write(value, at: offset, width: width)
    }

    package func attach(_ attachment: PCIAttachment) { core.attach(attachment) }
    package func detach() { core.detach() }
    package func reset() { core.reset() }
    package func shutDown() {}
    package var summary: PCIFunctionSummary { core.summary }
    package func saveState() -> [UInt8] { core.saveState() }
    package func restoreState(_ bytes: [UInt8]) throws(PCIError) { try core.restoreState(bytes) }
}
