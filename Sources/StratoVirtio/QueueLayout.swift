package import StratoMemory

/// A queue as the driver describes it in the transport's registers: outside data, not yet checked.
package struct QueueConfiguration: Sendable, Hashable {
    /// Entries.
    package var size: UInt32

    /// The descriptor table, in guest memory.
    package var descriptorTable: UInt64

    /// The available ring, which the driver writes.
    package var availableRing: UInt64

    /// The used ring, which the device writes.
    package var usedRing: UInt64

    package init(size: UInt32 = 0, descriptorTable: UInt64 = 0, availableRing: UInt64 = 0, usedRing: UInt64 = 0) {
        self.size = size
        self.descriptorTable = descriptorTable
        self.availableRing = availableRing
        self.usedRing = usedRing
    }
}

/// Why a queue cannot be used as its driver describes it.
package struct QueueConfigurationError: Error, Sendable, CustomStringConvertible {
    package let description: String
}

/// A queue that was checked and found in guest memory. Nothing that the driver does later changes it.
package struct QueueLayout: Sendable {
    /// The largest size that a split queue can have (virtio 1.2, 2.7).
    package static let largestSize: UInt32 = 32768

    // Sizes and alignments of the three areas (virtio 1.2, 2.7).
    static let descriptorSize = 16
    static let descriptorAlignment: UInt64 = 16
    static let availableAlignment: UInt64 = 2
    static let usedAlignment: UInt64 = 4

    /// Entries: a power of two, 1...32768.
    package let size: UInt16

    /// The longest chain that is taken, in descriptors. An indirect table may be longer than a small queue, but not longer
    /// than the device's largest.
    package let maximumChainLength: Int

    let descriptors: GuestBuffer
    let available: GuestBuffer
    let used: GuestBuffer

    /// Looks a queue up in guest memory.
    ///
    /// - Parameters:
    ///   - configuration: what the driver says.
    ///   - maximumSize: the most entries that the device offers.
    ///   - memory: where the rings must wholly be.
    /// - Throws: `QueueConfigurationError` that says what is wrong.
    package init(
        _ configuration: QueueConfiguration, maximumSize: UInt16, in memory: GuestMemory
    ) throws(QueueConfigurationError) {
        let count = configuration.size
        guard count > 0, count & (count &- 1) == 0, count <= QueueLayout.largestSize else {
            throw QueueConfigurationError(description: "size \(count) is not a power of two up to \(QueueLayout.largestSize)")
        }
        guard count <= UInt32(maximumSize) else {
            throw QueueConfigurationError(description: "size \(count) is more than the \(maximumSize) that are offered")
        }
        let entries = Int(count)
        descriptors = try QueueLayout.area(
            "descriptor table", configuration.descriptorTable, entries * QueueLayout.descriptorSize,
            QueueLayout.descriptorAlignment, memory)
        // flags, idx, ring[], used_event (2.7.6).
        available = try QueueLayout.area(
            "available ring", configuration.availableRing, 6 + entries * 2, QueueLayout.availableAlignment, memory)
        // flags, idx, ring[] of {id, len}, avail_event (2.7.8).
        used = try QueueLayout.area(
            "used ring", configuration.usedRing, 6 + entries * 8, QueueLayout.usedAlignment, memory)
        size = UInt16(count)
        maximumChainLength = Int(max(maximumSize, UInt16(count)))
    }

    private static func area(
        _ name: String, _ address: UInt64, _ count: Int, _ alignment: UInt64, _ memory: GuestMemory
    ) throws(QueueConfigurationError) -> GuestBuffer {
        guard address % alignment == 0 else {
            throw QueueConfigurationError(
                description: "the \(name) at 0x\(String(address, radix: 16)) is not aligned to \(alignment) bytes")
        }
        guard let buffer = memory.buffer(at: GuestAddress(address), count: count) else {
            throw QueueConfigurationError(
                description: "the \(name) at 0x\(String(address, radix: 16)), \(count) bytes, is not in guest memory")
        }
        return buffer
    }
}

/// How far a queue has come; what a snapshot keeps of it besides its configuration.
package struct QueuePosition: Sendable, Hashable {
    /// The available ring's index that the device takes next.
    package var nextAvailable: UInt16

    /// The used ring's index that the device fills next.
    package var nextUsed: UInt16

    package init(nextAvailable: UInt16 = 0, nextUsed: UInt16 = 0) {
        self.nextAvailable = nextAvailable
        self.nextUsed = nextUsed
    }
}
