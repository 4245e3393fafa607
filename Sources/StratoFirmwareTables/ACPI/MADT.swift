/// The multiple APIC description table (ACPI 6.5, 5.2.12): processors and interrupt controllers of an x86 machine.
package struct MADT: Sendable, Equatable {
    /// An ISA interrupt that is not what ISA says: at another pin, or of another kind (5.2.12.5).
    package struct InterruptSourceOverride: Sendable, Equatable {
        package var source: UInt8
        package var globalSystemInterrupt: UInt32
        package var isLevelTriggered: Bool
        package var isActiveLow: Bool

        package init(
            source: UInt8, globalSystemInterrupt: UInt32, isLevelTriggered: Bool = false, isActiveLow: Bool = false
        ) {
            self.source = source
            self.globalSystemInterrupt = globalSystemInterrupt
            self.isLevelTriggered = isLevelTriggered
            self.isActiveLow = isActiveLow
        }
    }

    package static let revision: UInt8 = 5

    /// Highest id that an entry of the local APIC (type 0) can name; 255 addresses all.
    static let highestLocalAPIC: UInt32 = 254

    /// One per processor, in the order of their numbers.
    package var apicIDs: [UInt32]
    package var localAPICAddress: UInt32
    package var ioAPICIdentifier: UInt8
    package var ioAPICAddress: UInt32

    /// An ISA interrupt that is not named here is edge-triggered, active high, at the pin of its number.
    package var overrides: [InterruptSourceOverride]

    package init(
        apicIDs: [UInt32], localAPICAddress: UInt32, ioAPICIdentifier: UInt8, ioAPICAddress: UInt32,
        overrides: [InterruptSourceOverride] = []
    ) {
        self.apicIDs = apicIDs
        self.localAPICAddress = localAPICAddress
        self.ioAPICIdentifier = ioAPICIdentifier
        self.ioAPICAddress = ioAPICAddress
        self.overrides = overrides
    }

    package func encode() -> [UInt8] {
        let hasLegacyPICs: UInt32 = 1
        let isEnabled: UInt32 = 1
        var body = TableBytes()
        body.append(localAPICAddress)
        body.append(hasLegacyPICs)
        for (number, identifier) in apicIDs.enumerated() {
            if identifier <= MADT.highestLocalAPIC, number <= Int(MADT.highestLocalAPIC) {
                append(type: 0, to: &body) { entry in
                    entry.append(UInt8(truncatingIfNeeded: number))
                    entry.append(UInt8(truncatingIfNeeded: identifier))
                    entry.append(isEnabled)
                }
            } else {
                append(type: 9, to: &body) { entry in
                    entry.append(UInt16(0))
                    entry.append(identifier)
                    entry.append(isEnabled)
                    entry.append(UInt32(truncatingIfNeeded: number))
                }
            }
        }
        append(type: 1, to: &body) { entry in
            entry.append(ioAPICIdentifier)
            entry.append(UInt8(0))
            entry.append(ioAPICAddress)
            entry.append(UInt32(0))  // The global system interrupt of its first pin.
        }
        for override in overrides {
            append(type: 2, to: &body) { entry in
                entry.append(UInt8(0))  // The ISA bus.
                entry.append(override.source)
                entry.append(override.globalSystemInterrupt)
                entry.append(MADT.flags(of: override))
            }
        }
        appendNonMaskableInterrupt(to: &body)
        return ACPITable.encode(signature: "APIC", revision: MADT.revision, body: body.bytes)
    }

    /// The NMI is at LINT1 of every processor.
    private func appendNonMaskableInterrupt(to body: inout TableBytes) {
        append(type: 4, to: &body) { entry in
            entry.append(UInt8(0xFF))  // All processors.
            entry.append(UInt16(0))  // Polarity and trigger as the bus has them.
            entry.append(UInt8(1))
        }
        guard apicIDs.contains(where: { $0 > MADT.highestLocalAPIC }) else { return }
        append(type: 10, to: &body) { entry in
            entry.append(UInt16(0))
            entry.append(UInt32.max)
            entry.append(UInt8(1))
            entry.append(zeros: 3)
        }
    }

    /// MPS INTI flags (table 5.26): both fields explicit, so that nothing depends on a default.
    private static func flags(of override: InterruptSourceOverride) -> UInt16 {
        let polarity: UInt16 = override.isActiveLow ? 0b11 : 0b01
        let trigger: UInt16 = override.isLevelTriggered ? 0b11 : 0b01
        return polarity | trigger << 2
    }

    private func append(type: UInt8, to body: inout TableBytes, _ fill: (inout TableBytes) -> Void) {
        MADT.append(type: type, to: &body, fill)
    }

    static func append(type: UInt8, to body: inout TableBytes, _ fill: (inout TableBytes) -> Void) {
        var entry = TableBytes()
        fill(&entry)
        body.append(type)
        body.append(UInt8(truncatingIfNeeded: entry.count + 2))
        body.append(entry.bytes)
    }
}
