extension ASL {
    /// What the address-space descriptors share (ACPI 6.5, 6.4.3.5).
    private enum AddressSpace {
        static let memory: UInt8 = 0
        static let port: UInt8 = 1
        static let busNumber: UInt8 = 2

        /// Table 6.49.
        static let isConsumer: UInt8 = 1 << 0
        static let minimumIsFixed: UInt8 = 1 << 2
        static let maximumIsFixed: UInt8 = 1 << 3

        /// Uncached, readable and writable memory (table 6.50).
        static let isWritable: UInt8 = 1 << 0

        /// ISA and other ports alike (table 6.51).
        static let entireRange: UInt8 = 0b11

        /// All of minimum...maximum, which are fixed; `translation` is added on the way to the parent's addresses.
        static func descriptor<T: FixedWidthInteger & UnsignedInteger>(
            _ tag: UInt8, _ type: UInt8, isConsumer: Bool = false, flags: UInt8, _ minimum: T, _ maximum: T,
            translation: T = 0
        ) -> [UInt8] {
            let general = minimumIsFixed | maximumIsFixed | (isConsumer ? AddressSpace.isConsumer : 0)
            var content: [UInt8] = [type, general, flags]
            content.append(littleEndian: T.zero)  // Granularity.
            content.append(littleEndian: minimum)
            content.append(littleEndian: maximum)
            content.append(littleEndian: translation)
            content.append(littleEndian: maximum &- minimum &+ 1)
            var bytes = [tag]
            bytes.append(littleEndian: UInt16(truncatingIfNeeded: content.count))
            return bytes + content
        }
    }

    /// `WordBusNumber(ResourceProducer, MinFixed, MaxFixed, PosDecode, …)`.
    package struct WordBusNumber: AMLTerm {
        package let bytes: [UInt8]

        package init(_ numbers: ClosedRange<UInt8>) {
            bytes = AddressSpace.descriptor(
                ResourceTag.wordAddressSpace, AddressSpace.busNumber, flags: 0, UInt16(numbers.lowerBound),
                UInt16(numbers.upperBound))
        }
    }

    /// `WordIO(ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange, …)`.
    package struct WordIO: AMLTerm {
        package let bytes: [UInt8]

        package init(_ ports: ClosedRange<UInt16>) {
            bytes = AddressSpace.descriptor(
                ResourceTag.wordAddressSpace, AddressSpace.port, flags: AddressSpace.entireRange, ports.lowerBound,
                ports.upperBound)
        }
    }

    /// `DWordIO(ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange, …)` of ports that are reached in memory.
    package struct DWordIO: AMLTerm {
        package let bytes: [UInt8]

        package init(_ ports: ClosedRange<UInt32>, inMemoryAt base: UInt32) {
            bytes = AddressSpace.descriptor(
                ResourceTag.doubleWordAddressSpace, AddressSpace.port, flags: AddressSpace.entireRange, ports.lowerBound,
                ports.upperBound, translation: base &- ports.lowerBound)
        }
    }

    /// `DWordMemory(ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite, …)`.
    package struct DWordMemory: AMLTerm {
        package let bytes: [UInt8]

        package init(_ addresses: ClosedRange<UInt32>) {
            bytes = AddressSpace.descriptor(
                ResourceTag.doubleWordAddressSpace, AddressSpace.memory, flags: AddressSpace.isWritable,
                addresses.lowerBound, addresses.upperBound)
        }
    }

    /// `QWordMemory(…, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite, …)`.
    package struct QWordMemory: AMLTerm {
        package enum Role: Sendable {
            /// The device passes the range on to its children.
            case producer

            /// The device has the range for itself.
            case consumer
        }

        package let bytes: [UInt8]

        /// `addresses` are not all that there are: a length has 64 bits.
        package init(_ role: Role, _ addresses: ClosedRange<UInt64>) {
            bytes = AddressSpace.descriptor(
                ResourceTag.quadWordAddressSpace, AddressSpace.memory, isConsumer: role == .consumer,
                flags: AddressSpace.isWritable, addresses.lowerBound, addresses.upperBound)
        }
    }
}
