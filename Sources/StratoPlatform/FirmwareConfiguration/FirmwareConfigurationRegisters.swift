internal import StratoMemory

/// The firmware configuration device as a PC's firmware reaches it: ports 0x510 to 0x51B (QEMU, docs/specs/fw_cfg.rst, "x86,
/// x86_64 register locations").
package final class FirmwareConfigurationPorts: BusDevice {
    /// The first port.
    package static let basePort: UInt64 = 0x510
    /// In ports.
    package static let portCount: UInt64 = 0x0C

    private enum Port {
        /// 16 bits, little-endian, written only.
        static let selector: UInt64 = 0
        /// 8 bits, read only; under the selector's higher byte.
        static let data: UInt64 = 1
        /// 64 bits, big-endian.
        static let address: UInt64 = 4
    }

    private let configuration: FirmwareConfiguration

    package init(_ configuration: FirmwareConfiguration) {
        self.configuration = configuration
    }

    package func read(at offset: UInt64, width: Int) -> UInt64 {
        switch offset {
        case Port.data: configuration.readData(width: 1)
        case Port.address...: FirmwareConfiguration.signature(at: offset &- Port.address, width: width)
        default: 0
        }
    }

    package func write(_ value: UInt64, at offset: UInt64, width: Int) {
        switch (offset, width) {
        case (Port.selector, 2):
            configuration.select(UInt16(truncatingIfNeeded: value))
        case (Port.address..., _):
            configuration.writeAddress(value, at: offset &- Port.address, width: width)
        default:
            break
        }
    }
}

/// The firmware configuration device as ARM firmware reaches it, in memory (QEMU, docs/specs/fw_cfg.rst, "Arm register
/// locations").
package final class FirmwareConfigurationRegisters: BusDevice {
    /// In bytes.
    package static let size: UInt64 = 0x18

    private enum Register {
        /// 64 bits: reads of each width give the next bytes in their order in memory.
        static let data: UInt64 = 0x00
        /// 16 bits, big-endian, written only.
        static let selector: UInt64 = 0x08
        /// 64 bits, big-endian.
        static let address: UInt64 = 0x10
    }

    private let configuration: FirmwareConfiguration

    package init(_ configuration: FirmwareConfiguration) {
        self.configuration = configuration
    }

    package func read(at offset: UInt64, width: Int) -> UInt64 {
        switch offset {
        case Register.data: configuration.readData(width: width)
        case Register.address...: FirmwareConfiguration.signature(at: offset &- Register.address, width: width)
        default: 0
        }
    }

    package func write(_ value: UInt64, at offset: UInt64, width: Int) {
        switch (offset, width) {
        case (Register.selector, 2):
            configuration.select(UInt16(truncatingIfNeeded: value).byteSwapped)
        case (Register.address..., _):
            configuration.writeAddress(value, at: offset &- Register.address, width: width)
        default:
            break
        }
    }
}

extension FirmwareConfiguration {
    /// What the DMA address register holds when it is read.
    fileprivate static func signature(at offset: UInt64, width: Int) -> UInt64 {
        var value: UInt64 = 0
        for index in 0..<min(max(width, 0), 8) {
            let position = offset &+ UInt64(index)
            guard position < UInt64(dmaSignature.count) else { break }
            value |= UInt64(dmaSignature[Int(position)]) << UInt64(8 * index)
        }
        return value
    }

    /// The DMA address register as it stands in memory, halves or whole; other widths are none of its own.
    fileprivate func writeAddress(_ value: UInt64, at offset: UInt64, width: Int) {
        switch (offset, width) {
        case (0, 8):
            let address = value.byteSwapped
            writeAddress(high: UInt32(truncatingIfNeeded: address >> 32), low: UInt32(truncatingIfNeeded: address))
        case (0, 4):
            writeAddress(high: UInt32(truncatingIfNeeded: value).byteSwapped, low: nil)
        case (4, 4):
            writeAddress(high: nil, low: UInt32(truncatingIfNeeded: value).byteSwapped)
        default:
            break
        }
    }
}
