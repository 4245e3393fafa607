internal import StratoMemory
internal import Synchronization

/// The reset control register of Intel's chip sets, port 0xCF9 (ICH9 data sheet, 13.7.5).
package final class ResetControl: BusDevice, ByteRegisters {
    package static let port: UInt64 = 0xCF9

    /// RST_CPU: begins the reset that the other bits choose.
    private static let resetProcessor: UInt8 = 1 << 2
    /// RST_CPU, SYS_RST and FULL_RST; the others are reserved.
    private static let implemented: UInt8 = 0b0000_1110

    private let onReset: @Sendable () -> Void
    private let value = Mutex<UInt8>(0)

    /// - Parameter onReset: called on the virtual CPU's thread, which waits for it, when the guest asks for a reset.
    package init(onReset: @escaping @Sendable () -> Void) {
        self.onReset = onReset
    }

    package func read(at offset: UInt64, width: Int) -> UInt64 { readBytes(at: offset, width: width) }

    package func write(_ value: UInt64, at offset: UInt64, width: Int) { writeBytes(value, at: offset, width: width) }

    func readByte(at offset: UInt64) -> UInt8 {
        offset == 0 ? value.withLock { $0 } : 0
    }

    func writeByte(_ newValue: UInt8, at offset: UInt64) {
        guard offset == 0 else { return }
        let isReset = value.withLock { value in
            let wasSet = value & ResetControl.resetProcessor != 0
            value = newValue & ResetControl.implemented
            return !wasSet && value & ResetControl.resetProcessor != 0
        }
        if isReset { onReset() }
    }

    /// What the register holds after the reset that it brought about.
    package func reset() {
        value.withLock { $0 = 0 }
    }
}
