#if arch(x86_64)
internal import StratoFirmwareTables
internal import StratoMemory
internal import StratoPCI

/// Where functions of PCI can be in a q35's memory: below 4 GiB, and above RAM as far as KVM addresses.
struct MemoryWindows: Sendable, Equatable {
    private typealias Layout = StandardBoard.Layout

    let low: GuestRange
    /// Nil where RAM leaves nothing.
    let high: GuestRange?

    /// - Parameters:
    ///   - memory: the guest's RAM.
    ///   - addressBits: the width of the guest's physical addresses, 36...52.
    /// - Throws: `MachineError` where the low window cannot be.
    init(_ memory: GuestMemory, addressBits: Int) throws(MachineError) {
        let window = Layout.memoryWindow
        guard let low = GuestRange(base: GuestAddress(window.lowerBound), size: UInt64(window.count)) else {
            throw MachineError("there is no memory window for PCI")
        }
        self.low = low
        let end = UInt64(1) << UInt64(addressBits)
        let ramEnd = max(memory.ranges.last.map { $0.last.value &+ 1 } ?? 0, PCMemory.highBase)
        let base = (ramEnd + Layout.highWindowAlignment - 1) & ~(Layout.highWindowAlignment - 1)
        high = base < end ? GuestRange(base: GuestAddress(base), size: end - base) : nil
    }

    var ranges: [GuestRange] { [low, high].compactMap { $0 } }

    /// What the host bridge forwards.
    var apertures: PCIAddressMap.Windows {
        let ports = [
            GuestRange(base: GuestAddress(0), size: PCIConfigurationPorts.port),
            GuestRange(
                base: GuestAddress(PCIConfigurationPorts.port + PCIConfigurationPorts.portCount),
                size: 0x1_0000 - PCIConfigurationPorts.port - PCIConfigurationPorts.portCount),
        ]
        return PCIAddressMap.Windows(memory: ranges, ports: ports.compactMap { $0 })
    }

    /// Where functions are placed where no firmware does that.
    ///
    /// - Throws: `MachineError`.
    func pools() throws(MachineError) -> PCIResourceAssignment.Pools {
        let memory = Layout.assignedMemory
        let ports = Layout.assignedPorts
        guard let memoryRange = GuestRange(base: GuestAddress(memory.lowerBound), size: UInt64(memory.count)) else {
            throw MachineError("there is no memory for PCI")
        }
        return PCIResourceAssignment.Pools(
            ports: GuestRange(base: GuestAddress(ports.lowerBound), size: UInt64(ports.count)), memory: memoryRange,
            prefetchable: high)
    }
}
#endif
