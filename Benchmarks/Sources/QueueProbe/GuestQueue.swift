import StratoMemory
import StratoVirtio

/// The driver's side of a queue, laid out once: chains of three descriptors (a header of 16 bytes and two parts behind it),
/// which are made available again and again.
struct GuestQueue {
    /// Entries.
    static let size: UInt16 = 256
    static let descriptorsPerChain: UInt16 = 3

    /// Chains that are made available at a time.
    static let batch: UInt16 = 64

    private static let descriptorTable: UInt64 = 0x1_0000
    private static let availableRing: UInt64 = 0x2_0000
    private static let usedRing: UInt64 = 0x3_0000
    private static let headers: UInt64 = 0x10_0000
    private static let lowParts: UInt64 = 0x20_0000
    private static let highMemory: UInt64 = 0x1_0000_0000

    private static let next: UInt16 = 1
    private static let write: UInt16 = 2

    let memory: GuestMemory
    let layout: QueueLayout
    private let available: GuestBuffer
    private let used: GuestBuffer
    private var index: UInt16 = 0

    /// - Parameters:
    ///   - requests: true for the chains of a block device that reads 4 KiB (header, data, status); else the data is the last
    ///     descriptor, so that the device's one byte goes to the second region of memory.
    ///   - stride: how far apart the chains' places on the disk are, in sectors; 8 if they are neighbours.
    /// - Throws: what keeps the queue from being laid out.
    init(requests: Bool, stride: UInt64 = 8) throws {
        let ranges = [
            GuestRange(base: GuestAddress(0), size: 64 << 20),
            GuestRange(base: GuestAddress(Self.highMemory), size: 64 << 20),
        ]
        memory = try GuestMemory(ranges.compactMap { $0 })
        let configuration = QueueConfiguration(
            size: UInt32(Self.size), descriptorTable: Self.descriptorTable, availableRing: Self.availableRing,
            usedRing: Self.usedRing)
        layout = try QueueLayout(configuration, maximumSize: Self.size, in: memory)
        guard let ring = memory.buffer(at: GuestAddress(Self.availableRing), count: 6 + Int(Self.size) * 2),
            let usedRing = memory.buffer(at: GuestAddress(Self.usedRing), count: 6 + Int(Self.size) * 8)
        else { throw ProbeError("no memory for the rings") }
        available = ring
        used = usedRing
        let chains = Self.size / Self.descriptorsPerChain
        for chain in 0..<chains {
            let head = chain * Self.descriptorsPerChain
            let header = Self.headers + UInt64(chain) * 16
            // le32 type (0: read), le32 reserved, le64 sector.
            try memory.store(UInt64(0), at: GuestAddress(header))
            try memory.store(UInt64(chain) * stride, at: GuestAddress(header + 8))
            let low = Self.lowParts + UInt64(chain) * 4096
            let high = Self.highMemory + UInt64(chain) * 4096
            try describe(head, header, 16, Self.next, head + 1)
            if requests {
                try describe(head + 1, high, 4096, Self.next | Self.write, head + 2)
                try describe(head + 2, low, 1, Self.write, 0)
            } else {
                try describe(head + 1, low, 4096, Self.next | Self.write, head + 2)
                try describe(head + 2, high, 1, Self.write, 0)
            }
        }
        for entry in 0..<Self.size {
            available.store(entry % chains * Self.descriptorsPerChain, at: 4 + Int(entry) * 2)
        }
    }

    private func describe(_ index: UInt16, _ address: UInt64, _ length: UInt32, _ flags: UInt16, _ next: UInt16) throws {
        let base = Self.descriptorTable + UInt64(index) * 16
        try memory.store(address, at: GuestAddress(base))
        try memory.store(UInt64(length) | UInt64(flags) << 32 | UInt64(next) << 48, at: GuestAddress(base + 8))
    }

    /// Everything that was made available has been given back.
    var isDone: Bool { used.loadAcquire16(at: 2) == index }

    /// Makes the next chains available.
    mutating func publish() {
        index &+= Self.batch
        available.storeRelease16(index, at: 2)
    }
}

struct ProbeError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}
