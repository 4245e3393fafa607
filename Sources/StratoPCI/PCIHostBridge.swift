package import StratoHost
package import StratoMemory

/// The root of a machine's PCI Express hierarchy: bus 0, the ways to configuration space, and what of the functions' ranges
/// is on the machine's own buses.
///
/// The ways are `PCIConfigurationPorts` and `PCIEnhancedConfiguration`; the host bridge that the guest sees at 00:00.0 is a
/// function like the others. `shutDown` is needed at the end: the machine's buses and the functions hold each other until
/// then.
package final class PCIHostBridge: Sendable {
    /// What a configuration access reads as that no function answers (PCI Local Bus 3.0, 6.1).
    private static func allOnes(_ width: Int) -> UInt64 {
        width < 8 ? (1 &<< UInt64(max(width, 0) &* 8)) &- 1 : .max
    }

    package let rootBus: PCIBus
    package let map: PCIAddressMap

    /// - Parameters:
    ///   - memory: the machine's bus for memory-mapped devices.
    ///   - ports: the machine's bus for ports.
    ///   - apertures: where functions can be; what the guest programs outside is not reached.
    ///   - interrupts: for INTx; nil for a machine without.
    ///   - logger: told of ranges that meet.
    package init(
        memory: Bus, ports: Bus, apertures: PCIAddressMap.Windows, interrupts: PCIInterruptRouter?, logger: Logger
    ) {
        rootBus = PCIBus(name: "pcie.0")
        map = PCIAddressMap(memory: memory, ports: ports, apertures: apertures, logger: logger)
        rootBus.connect(PCIBus.Connection(map: map, scope: map.root, interrupts: interrupts, interruptTurn: 0))
    }

    // MARK: Configuration

    /// The function that the guest finds at an address.
    package func function(bus: UInt8, device: UInt8, function: UInt8) -> (any PCIFunction)? {
        rootBus.bus(bus)?.function(device: device, function: function)
    }

    /// - Parameters:
    ///   - offset: 0..<4096.
    ///   - width: 1...8 bytes.
    package func readConfiguration(bus: UInt8, device: UInt8, function: UInt8, at offset: Int, width: Int) -> UInt64 {
        guard let found = self.function(bus: bus, device: device, function: function) else {
            return PCIHostBridge.allOnes(width)
        }
        return found.readConfiguration(at: offset, width: width)
    }

    package func writeConfiguration(
        _ value: UInt64, bus: UInt8, device: UInt8, function: UInt8, at offset: Int, width: Int
    ) {
        self.function(bus: bus, device: device, function: function)?
            .writeConfiguration(value, at: offset, width: width)
    }

    // MARK: Life cycle

    /// All functions as after power-on, with those below bridges.
    package func reset() { rootBus.reset() }

    /// Finishes what functions have in flight.
    package func pause() { rootBus.pause() }

    package func resume() { rootBus.resume() }

    /// Ends all functions and takes their ranges off the machine's buses. The last call.
    package func shutDown() {
        rootBus.shutDown()
        rootBus.disconnect()
        map.close()
    }
}
