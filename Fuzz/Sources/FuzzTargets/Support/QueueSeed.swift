/// A driver's queue of 16 entries at a fixed place, for seeds: what it writes into guest memory, as `FuzzMemory.patch` takes it.
enum QueueSeed {
    static let size: UInt64 = 16
    static let descriptors: UInt64 = 0x1000
    static let available: UInt64 = 0x1100
    static let used: UInt64 = 0x1200

    /// Flags of descriptors (virtio 1.2, 2.7.5).
    static let next: UInt16 = 1
    static let write: UInt16 = 2
    static let indirect: UInt16 = 4

    struct Part {
        var address: UInt64
        var length: UInt32
        var flags: UInt16 = 0
        var next: UInt16 = 0
    }

    static func table(_ parts: [Part], at address: UInt64 = descriptors) -> [[UInt8]] {
        parts.enumerated().map { index, part in
            var bytes = [UInt8](repeating: 0, count: 16)
            bytes.put(part.address, at: 0)
            bytes.put(part.length, at: 8)
            bytes.put(part.flags, at: 12)
            bytes.put(part.next, at: 14)
            return FuzzMemory.patchBytes(bytes, at: address + UInt64(index) * 16)
        }
    }

    /// A chain of all parts in their order, the first `readable` of them for the device to read.
    static func chain(_ places: [(address: UInt64, length: UInt32)], readable: Int, at address: UInt64 = descriptors) -> [[UInt8]]
    {
        table(
            places.enumerated().map { index, place in
                let flags = (index < readable ? 0 : write) | (index < places.count - 1 ? next : 0)
                return Part(address: place.address, length: place.length, flags: flags, next: UInt16(index + 1))
            }, at: address)
    }

    /// Makes chains available that begin with these descriptors.
    static func offer(_ heads: [UInt16], flags: UInt16 = 0) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.put(flags, at: 0)
        bytes.put(UInt16(heads.count), at: 2)
        for (index, head) in heads.enumerated() { bytes.put(head, at: 4 + 2 * index) }
        return FuzzMemory.patchBytes(bytes, at: available)
    }
}
