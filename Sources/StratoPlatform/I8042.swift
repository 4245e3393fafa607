internal import StratoMemory
internal import Synchronization

/// Of a PC's keyboard controller only what a machine without a keyboard needs: the processor's reset line.
///
/// Covers the ports 0x60 to 0x64: data, port B and status or command; 0x62 and 0x63 belong to nobody. Port B is a fallback for
/// a host whose interval timer does not answer it inside the kernel.
package final class I8042: BusDevice, ByteRegisters {
    /// The first port.
    package static let basePort: UInt64 = 0x60
    /// In ports.
    package static let portCount: UInt64 = 5

    private enum Port {
        static let data: UInt64 = 0
        static let portB: UInt64 = 1
        /// Status when read, command when written.
        static let command: UInt64 = 4
    }

    /// IBM PS/2 hardware interface technical reference, keyboard and auxiliary device controller: "pulse output bits" with
    /// bit 0, the reset line, low.
    private static let pulseReset: UInt8 = 0xFE

    /// Output buffer full, input buffer empty, time-out and parity error, forever. An empty input buffer is what Linux waits
    /// for before it asks for a reset (`kb_wait`). An output buffer that does not become empty within 16 reads is what its
    /// i8042 driver takes for "no controller" (`i8042_flush`), after less than a millisecond: any other answer has it send
    /// commands and wait half a second for each reply. Both errors at once are what EDK II takes for that; otherwise it would
    /// read an output buffer that is full for ever.
    private static let status: UInt8 = 0xC1

    /// Port B of the PC/AT (0x61).
    private enum PortB {
        /// Timer 2 gate, speaker, and two that switch error checks off: what is written is read back.
        static let stored: UInt8 = 0x0F
        /// Changes with each refresh of the memory; programs count its changes to wait for a while.
        static let refresh: UInt8 = 1 << 4
        /// Timer 2 has run out: Linux sees at once that there is nothing to be measured with it (`pit_calibrate_tsc`), and
        /// uses another clock.
        static let timer2Output: UInt8 = 1 << 5
    }

    private let onReset: @Sendable () -> Void
    private let portB = Mutex<UInt8>(0)

    /// - Parameter onReset: called on the virtual CPU's thread, which waits for it, when the guest pulls the reset line.
    package init(onReset: @escaping @Sendable () -> Void) {
        self.onReset = onReset
    }

    package func read(at offset: UInt64, width: Int) -> UInt64 { readBytes(at: offset, width: width) }

    package func write(_ value: UInt64, at offset: UInt64, width: Int) { writeBytes(value, at: offset, width: width) }

    func readByte(at offset: UInt64) -> UInt8 {
        switch offset {
        case Port.data:
            return 0
        case Port.portB:
            return portB.withLock { value in
                value ^= PortB.refresh
                return value | PortB.timer2Output
            }
        case Port.command:
            return I8042.status
        default:
            return 0xFF
        }
    }

    func writeByte(_ value: UInt8, at offset: UInt64) {
        switch offset {
        case Port.portB:
            portB.withLock { $0 = $0 & PortB.refresh | value & PortB.stored }
        case Port.command where value == I8042.pulseReset:
            onReset()
        default:
            break
        }
    }
}
