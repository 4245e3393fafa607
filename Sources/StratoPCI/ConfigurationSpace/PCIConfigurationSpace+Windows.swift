package import StratoMemory

/// What a bridge forwards downstream, as its registers say; nil for a window that ends below its base, which is how one is
/// closed (PCI-to-PCI Bridge Architecture 1.2, 3.2.5.6, 3.2.5.8 and 3.2.5.9).
extension PCIConfigurationSpace {
    /// Multiples of 4 KiB, from bits 15:12.
    package var portWindow: GuestRange? {
        let base = UInt64(load(UInt8.self, at: PCIRegister.portBase) & 0xF0) << 8
        let limit = UInt64(load(UInt8.self, at: PCIRegister.portLimit) & 0xF0) << 8 | 0xFFF
        return PCIConfigurationSpace.window(base, limit)
    }

    /// Multiples of 1 MiB, from bits 31:20.
    package var memoryWindow: GuestRange? {
        let base = UInt64(load(UInt16.self, at: PCIRegister.memoryBase) & 0xFFF0) << 16
        let limit = UInt64(load(UInt16.self, at: PCIRegister.memoryLimit) & 0xFFF0) << 16 | 0xF_FFFF
        return PCIConfigurationSpace.window(base, limit)
    }

    /// As memory, with the high half of the address in registers of its own.
    package var prefetchableWindow: GuestRange? {
        let base =
            UInt64(load(UInt16.self, at: PCIRegister.prefetchableBase) & 0xFFF0) << 16
            | UInt64(load(UInt32.self, at: PCIRegister.prefetchableBaseHigh)) << 32
        let limit =
            UInt64(load(UInt16.self, at: PCIRegister.prefetchableLimit) & 0xFFF0) << 16 | 0xF_FFFF
            | UInt64(load(UInt32.self, at: PCIRegister.prefetchableLimitHigh)) << 32
        return PCIConfigurationSpace.window(base, limit)
    }

    private static func window(_ base: UInt64, _ limit: UInt64) -> GuestRange? {
        // The size of a window over all addresses does not fit; none is a multiple of anything but the whole.
        guard limit >= base, limit &- base < .max else { return nil }
        return GuestRange(base: GuestAddress(base), size: limit &- base &+ 1)
    }

    /// All windows, as far as the command register lets the bridge forward.
    var forwardedWindows: PCIAddressMap.Windows {
        let command = self.command
        return PCIAddressMap.Windows(
            memory: command.contains(.memorySpace) ? [memoryWindow, prefetchableWindow].compactMap { $0 } : [],
            ports: command.contains(.portSpace) ? [portWindow].compactMap { $0 } : [])
    }
}
