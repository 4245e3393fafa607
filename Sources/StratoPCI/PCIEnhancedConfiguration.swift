internal import StratoMemory

/// Memory-mapped configuration space (ECAM; PCI Express Base 4.0, 7.2.2): 4 KiB for each function, 1 MiB for each bus.
///
/// The range that it is shown at decides how many buses there are; an access is the function's in which it begins.
package final class PCIEnhancedConfiguration: BusDevice {
    /// Of one bus, in bytes.
    package static let busSize: UInt64 = 1 << 20

    private static let functionSize: UInt64 = 1 << 12

    private let host: PCIHostBridge

    package init(host: PCIHostBridge) {
        self.host = host
    }

    private struct Place {
        let bus: UInt8
        let device: UInt8
        let function: UInt8
        let offset: Int
        /// Of the access, as far as it is the function's.
        let width: Int

        init?(_ offset: UInt64, _ width: Int) {
            guard offset < 256 * PCIEnhancedConfiguration.busSize else { return nil }
            bus = UInt8(truncatingIfNeeded: offset &>> 20)
            device = UInt8(truncatingIfNeeded: offset &>> 15) & 0x1F
            function = UInt8(truncatingIfNeeded: offset &>> 12) & 7
            self.offset = Int(offset & (PCIEnhancedConfiguration.functionSize - 1))
            self.width = min(min(max(width, 0), 8), Int(PCIEnhancedConfiguration.functionSize) - self.offset)
        }
    }

    package func read(at offset: UInt64, width: Int) -> UInt64 {
        guard let place = Place(offset, width) else { return .max }
        let value = host.readConfiguration(
            bus: place.bus, device: place.device, function: place.function, at: place.offset, width: place.width)
        guard place.width < width else { return value }
        let ones = UInt64.max &<< UInt64(place.width &* 8)
        return width < 8 ? (value | ones) & ((1 &<< UInt64(width &* 8)) &- 1) : value | ones
    }

    package func write(_ value: UInt64, at offset: UInt64, width: Int) {
        guard let place = Place(offset, width) else { return }
        host.writeConfiguration(
            value, bus: place.bus, device: place.device, function: place.function, at: place.offset, width: place.width)
    }
}
