package import StratoHost
package import StratoMemory
internal import Synchronization

/// The register behind an ACPI generic event device (ACPI 6.4, 5.6.9): events that the firmware's code reads and passes on.
///
/// One register of four bytes. Reading takes the events away; writing does nothing.
package final class GenericEventDevice: BusDevice {
    /// What has happened.
    package struct Events: OptionSet, Sendable, Hashable {
        package let rawValue: UInt32

        package init(rawValue: UInt32) {
            self.rawValue = rawValue
        }

        /// Somebody pressed the power button.
        package static let powerButton = Events(rawValue: 1 << 0)
        /// The mains went or came.
        package static let acAdapter = Events(rawValue: 1 << 1)
        /// Another battery is there, or none.
        package static let batteryInformation = Events(rawValue: 1 << 2)
        /// A battery's charge has changed.
        package static let batteryStatus = Events(rawValue: 1 << 3)
        /// Processors were added or taken away.
        package static let processors = Events(rawValue: 1 << 4)
    }

    /// In bytes.
    package static let registerSize: UInt64 = 4

    private static let stateVersion: UInt32 = 1

    private let interrupt: any InterruptLine
    private let pending = Mutex<UInt32>(0)

    /// - Parameter interrupt: pulsed; its level is never set.
    package init(interrupt: any InterruptLine) {
        self.interrupt = interrupt
    }

    /// Tells the guest of events.
    package func raise(_ events: Events) {
        pending.withLock { $0 |= events.rawValue }
        // Each time, even if the guest has yet to read the last: it may not have listened then.
        interrupt.pulse()
    }

    package func read(at offset: UInt64, width: Int) -> UInt64 {
        guard offset < GenericEventDevice.registerSize, width >= 1 else { return 0 }
        // Only the events that the guest gets to see are taken away.
        let shift = UInt32(8 * offset)
        let mask = (width >= 4 ? UInt32.max : (1 << UInt32(8 * width)) &- 1) << shift
        return pending.withLock { pending in
            let seen = pending & mask
            pending &= ~mask
            return UInt64(seen >> shift)
        }
    }

    package func write(_ value: UInt64, at offset: UInt64, width: Int) {}

    /// Forgets what the guest was not told yet.
    package func reset() {
        pending.withLock { $0 = 0 }
    }

    /// The events that are pending, as bytes, a version first.
    package func save() -> [UInt8] {
        var encoder = StateEncoder(version: GenericEventDevice.stateVersion)
        encoder.put(pending.withLock { $0 })
        return encoder.bytes
    }

    /// Takes saved events over, and interrupts the guest if there are any.
    ///
    /// - Throws: `StateError` for anything that `save` can't have made; nothing has changed then.
    package func restore(_ bytes: [UInt8]) throws(StateError) {
        var decoder = try StateDecoder(
            bytes, versions: GenericEventDevice.stateVersion...GenericEventDevice.stateVersion)
        let events = try decoder.take(UInt32.self)
        try decoder.finish()
        pending.withLock { $0 = events }
        if events != 0 { interrupt.pulse() }
    }
}
