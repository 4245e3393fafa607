internal import StratoMemory
internal import Synchronization

/// The sleep registers of hardware-reduced ACPI (ACPI 6.4, 4.8.3.7): control, then status, a byte each.
package final class SleepControl: BusDevice, ByteRegisters {
    /// In bytes.
    package static let registerCount: UInt64 = 2

    /// The value of SLP_TYP that the DSDT's `_S5` object names.
    package static let powerOffType: UInt8 = 5

    private static let control: UInt64 = 0
    private static let sleepTypeShift: UInt8 = 2
    private static let sleepTypeMask: UInt8 = 0b0001_1100
    /// Written only; reads as 0.
    private static let sleepEnable: UInt8 = 1 << 5

    private let onPowerOff: @Sendable () -> Void
    private let sleepType = Mutex<UInt8>(0)

    /// - Parameter onPowerOff: called on the virtual CPU's thread, which waits for it, when the guest enters S5.
    package init(onPowerOff: @escaping @Sendable () -> Void) {
        self.onPowerOff = onPowerOff
    }

    package func read(at offset: UInt64, width: Int) -> UInt64 { readBytes(at: offset, width: width) }

    package func write(_ value: UInt64, at offset: UInt64, width: Int) { writeBytes(value, at: offset, width: width) }

    func readByte(at offset: UInt64) -> UInt8 {
        // WAK_STS of the status register is never set: nothing but S5 is entered here, and nobody wakes from that.
        offset == SleepControl.control ? sleepType.withLock { $0 } : 0
    }

    func writeByte(_ value: UInt8, at offset: UInt64) {
        guard offset == SleepControl.control else { return }
        let type = value & SleepControl.sleepTypeMask
        sleepType.withLock { $0 = type }
        guard value & SleepControl.sleepEnable != 0 else { return }
        if type >> SleepControl.sleepTypeShift == SleepControl.powerOffType { onPowerOff() }
    }
}
