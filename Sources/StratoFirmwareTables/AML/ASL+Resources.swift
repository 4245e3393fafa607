extension ASL {
    /// The first byte of a resource descriptor (ACPI 6.5, tables 6.27 and 6.40).
    enum ResourceTag {
        static let end: UInt8 = 0x79
        static let port: UInt8 = 0x47
        static let memory32Fixed: UInt8 = 0x86
        static let doubleWordAddressSpace: UInt8 = 0x87
        static let wordAddressSpace: UInt8 = 0x88
        static let extendedInterrupt: UInt8 = 0x89
        static let quadWordAddressSpace: UInt8 = 0x8A
    }

    /// `Memory32Fixed(ReadWrite, …)` (6.4.3.4).
    package struct Memory32Fixed: AMLTerm {
        package let bytes: [UInt8]

        package init(base: UInt32, length: UInt32) {
            let isWritable: UInt8 = 1
            var descriptor: [UInt8] = [ResourceTag.memory32Fixed, 9, 0, isWritable]
            descriptor.append(littleEndian: base)
            descriptor.append(littleEndian: length)
            bytes = descriptor
        }
    }

    /// `IO(Decode16, …)` (6.4.2.5), at one place only.
    package struct IO: AMLTerm {
        package let bytes: [UInt8]

        package init(base: UInt16, length: UInt8) {
            let decodes16Bits: UInt8 = 1
            let alignment: UInt8 = 1
            var descriptor: [UInt8] = [ResourceTag.port, decodes16Bits]
            descriptor.append(littleEndian: base)
            descriptor.append(littleEndian: base)
            bytes = descriptor + [alignment, length]
        }
    }

    /// `Interrupt(ResourceConsumer, …)` (6.4.3.6): a global system interrupt.
    package struct Interrupt: AMLTerm {
        package enum Trigger: UInt8, Sendable {
            case level = 0
            case edge = 1
        }

        package enum Polarity: UInt8, Sendable {
            case activeHigh = 0
            case activeLow = 1
        }

        package enum Sharing: UInt8, Sendable {
            case exclusive = 0
            case shared = 1
        }

        package let bytes: [UInt8]

        package init(
            _ trigger: Trigger, _ polarity: Polarity, _ sharing: Sharing, _ number: UInt32
        ) {
            let isConsumer: UInt8 = 1
            let flags = isConsumer | trigger.rawValue << 1 | polarity.rawValue << 2 | sharing.rawValue << 3
            let count: UInt8 = 1
            var descriptor: [UInt8] = [ResourceTag.extendedInterrupt, 6, 0, flags, count]
            descriptor.append(littleEndian: number)
            bytes = descriptor
        }
    }
}
