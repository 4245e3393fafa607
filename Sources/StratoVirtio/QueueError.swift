/// What a driver did to a queue that leaves the device no way to go on but a reset.
@usableFromInline
package enum QueueError: Error, Equatable, Sendable, CustomStringConvertible {
    /// A ring or a descriptor table cannot be read where it was said to be.
    case ringNotReadable
    /// The available index is further ahead than the queue is long (virtio 1.2, 2.7.6).
    case availableIndexJumped(by: UInt16)
    /// More chains were made available than the queue has descriptors, before any was given back.
    case tooManyInFlight
    /// The head or the `next` of a descriptor is not an index of the table (2.7.5).
    case indexOutOfTable(UInt16)
    /// The chain is longer than the queue, which a loop is too (2.7.5.2).
    case chainTooLong
    /// A descriptor's bytes are not wholly inside guest memory.
    case notMemory(address: UInt64, length: UInt32)
    /// The bytes of a chain sum up to 2³² or more (2.7.5.2).
    case chainTooLarge
    /// A descriptor for the device to read follows one for it to write (2.7.4.2).
    case readableAfterWritable
    /// An indirect table inside an indirect table (2.7.5.3.1).
    case nestedIndirect
    /// `VIRTQ_DESC_F_INDIRECT` together with `VIRTQ_DESC_F_NEXT` (2.7.5.3.1).
    case indirectWithNext
    /// An indirect descriptor, though the feature was not negotiated (2.7.5.3.1).
    case indirectNotNegotiated
    /// An indirect table that is empty, or no whole number of descriptors long (2.7.5.3.2).
    case indirectTableLength(UInt32)

    @usableFromInline package var description: String {
        switch self {
        case .ringNotReadable: "its rings are not in guest memory"
        case .availableIndexJumped(let distance): "the available index is \(distance) entries ahead, more than the queue holds"
        case .tooManyInFlight: "more chains are in flight than the queue holds"
        case .indexOutOfTable(let index): "descriptor index \(index) is not in the table"
        case .chainTooLong: "a descriptor chain is longer than the queue, or loops"
        case .notMemory(let address, let length):
            "a descriptor names \(length) bytes at 0x\(String(address, radix: 16)), which is not guest memory"
        case .chainTooLarge: "a descriptor chain holds 4 GiB or more"
        case .readableAfterWritable: "a descriptor chain has a readable part after a writable one"
        case .nestedIndirect: "an indirect table refers to an indirect table"
        case .indirectWithNext: "an indirect descriptor has a next one"
        case .indirectNotNegotiated: "an indirect descriptor was used without having been negotiated"
        case .indirectTableLength(let length): "an indirect table of \(length) bytes"
        }
    }
}
