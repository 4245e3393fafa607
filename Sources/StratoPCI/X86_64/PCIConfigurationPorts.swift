#if arch(x86_64)
package import StratoMemory
internal import Synchronization

/// Configuration space by ports, mechanism #1 (PCI Local Bus 3.0, 3.2.2.3.2): an address at 0xCF8, data at 0xCFC.
///
/// The address register answers 32-bit accesses alone; every other access to its four ports passes by it (3.2.2.3.2), and
/// 0xCF9 is the chip set's reset control register, which is therefore behind this device.
package final class PCIConfigurationPorts: BusDevice {
    package static let port: UInt64 = 0xCF8
    package static let portCount: UInt64 = 8

    /// Where the data ports begin.
    private static let data: UInt64 = 4
    /// The port of the reset control register.
    private static let resetControl: UInt64 = 1

    /// Of the address register: enable, bus, device, function and register. The rest is reserved.
    private static let implemented: UInt32 = 0x80FF_FFFC
    private static let enable: UInt32 = 1 << 31

    private let host: PCIHostBridge
    private let resetDevice: (any BusDevice)?
    private let address = Atomic<UInt32>(0)

    /// - Parameters:
    ///   - host: whose functions are reached.
    ///   - resetControl: answers port 0xCF9, as a device of one byte.
    package init(host: PCIHostBridge, resetControl: (any BusDevice)? = nil) {
        self.host = host
        resetDevice = resetControl
    }

    /// What the address register holds.
    package var selectedAddress: UInt32 { address.load(ordering: .relaxed) }

    /// The address register after power-on, or as it was when `selectedAddress` said so.
    package func reset(selectedAddress: UInt32 = 0) {
        address.store(selectedAddress & PCIConfigurationPorts.implemented, ordering: .relaxed)
    }

    package func read(at offset: UInt64, width: Int) -> UInt64 {
        if offset == 0, width == 4 { return UInt64(selectedAddress) }
        if offset >= PCIConfigurationPorts.data, PCIConfigurationPorts.isInside(offset, width) {
            return readData(offset &- PCIConfigurationPorts.data, width)
        }
        var value: UInt64 = 0
        for index in 0..<min(max(width, 0), 8) {
            value |= readByte(at: offset &+ UInt64(index)) &<< UInt64(index &* 8)
        }
        return value
    }

    package func write(_ value: UInt64, at offset: UInt64, width: Int) {
        if offset == 0, width == 4 {
            return reset(selectedAddress: UInt32(truncatingIfNeeded: value))
        }
        if offset >= PCIConfigurationPorts.data, PCIConfigurationPorts.isInside(offset, width) {
            return writeData(value, offset &- PCIConfigurationPorts.data, width)
        }
        // Anything else reaches the ports one by one.
        for index in 0..<min(max(width, 0), 8) {
            let byte = value &>> UInt64(index &* 8) & 0xFF
            let port = offset &+ UInt64(index)
            if port == PCIConfigurationPorts.resetControl {
                resetDevice?.write(byte, at: 0, width: 1)
            } else if port >= PCIConfigurationPorts.data, port < PCIConfigurationPorts.portCount {
                writeData(byte, port &- PCIConfigurationPorts.data, 1)
            }
        }
    }

    private static func isInside(_ offset: UInt64, _ width: Int) -> Bool {
        (1...4).contains(width) && offset <= portCount &- UInt64(width)
    }

    private func readByte(at port: UInt64) -> UInt64 {
        if port == PCIConfigurationPorts.resetControl, let resetDevice { return resetDevice.read(at: 0, width: 1) & 0xFF }
        guard port >= PCIConfigurationPorts.data, port < PCIConfigurationPorts.portCount else { return 0xFF }
        return readData(port &- PCIConfigurationPorts.data, 1)
    }

    private struct Place {
        let bus: UInt8
        let device: UInt8
        let function: UInt8
        let register: Int

        init?(_ address: UInt32) {
            guard address & PCIConfigurationPorts.enable != 0 else { return nil }
            bus = UInt8(truncatingIfNeeded: address &>> 16)
            device = UInt8(truncatingIfNeeded: address &>> 11) & 0x1F
            function = UInt8(truncatingIfNeeded: address &>> 8) & 7
            register = Int(address & 0xFC)
        }
    }

    private func readData(_ offset: UInt64, _ width: Int) -> UInt64 {
        guard let place = Place(selectedAddress) else { return (1 &<< UInt64(width &* 8)) &- 1 }
        return host.readConfiguration(
            bus: place.bus, device: place.device, function: place.function, at: place.register &+ Int(offset), width: width)
    }

    private func writeData(_ value: UInt64, _ offset: UInt64, _ width: Int) {
        guard let place = Place(selectedAddress) else { return }
        host.writeConfiguration(
            value, bus: place.bus, device: place.device, function: place.function, at: place.register &+ Int(offset),
            width: width)
    }
}
#endif
