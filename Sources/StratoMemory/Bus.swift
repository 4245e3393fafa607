internal import Synchronization

/// A device's registers as the bus sees them.
///
/// Called on virtual CPU threads, several at once: a device guards its own state. `width` is 1...8 bytes, of any
/// alignment, and the access never reaches past the end of the range that the device was inserted at. A device answers
/// every access; what it does not implement reads as the value its specification names, else as zeros.
package protocol BusDevice: AnyObject, Sendable {
    /// - Parameters:
    ///   - offset: from the start of the device's range, in bytes.
    ///   - width: 1...8 bytes.
    /// - Returns: the value, in the low `width` bytes.
    func read(at offset: UInt64, width: Int) -> UInt64

    /// - Parameters:
    ///   - value: in the low `width` bytes, the others zero.
    ///   - offset: from the start of the device's range, in bytes.
    ///   - width: 1...8 bytes.
    func write(_ value: UInt64, at offset: UInt64, width: Int)
}

/// Why a device could not be put on a bus.
package struct BusError: Error, Sendable, CustomStringConvertible {
    package let description: String
}

/// An address space of devices: memory-mapped I/O, or ports.
///
/// Looking a device up takes no lock: each virtual CPU has a `BusView`, a copy of the map that is taken anew only after
/// the map has changed.
package final class Bus: Sendable {
    struct Entry: Sendable {
        let range: GuestRange
        let device: any BusDevice
    }

    /// The name that stands in errors and the log: `MMIO` or `port`.
    package let name: String

    private let entries = Mutex<[Entry]>([])
    let generation = Atomic<UInt64>(0)

    package init(name: String) {
        self.name = name
    }

    /// Puts a device at a range.
    ///
    /// - Throws: `BusError` if the range meets another device's.
    package func insert(_ device: any BusDevice, at range: GuestRange) throws(BusError) {
        let conflict: GuestRange? = entries.withLock { entries in
            if let other = entries.first(where: { $0.range.overlaps(range) }) { return other.range }
            let index = entries.firstIndex { $0.range.base > range.base } ?? entries.count
            entries.insert(Entry(range: range, device: device), at: index)
            return nil
        }
        if let conflict {
            throw BusError(description: "\(name) range \(range) meets \(conflict)")
        }
        generation.add(1, ordering: .releasing)
    }

    /// Takes whatever was inserted at exactly this range away; false if nothing was.
    @discardableResult
    package func remove(_ range: GuestRange) -> Bool {
        let isRemoved = entries.withLock { entries in
            guard let index = entries.firstIndex(where: { $0.range == range }) else { return false }
            entries.remove(at: index)
            return true
        }
        if isRemoved { generation.add(1, ordering: .releasing) }
        return isRemoved
    }

    /// The ranges in use, ascending.
    package var ranges: [GuestRange] { entries.withLock { $0.map(\.range) } }

    func snapshot() -> (generation: UInt64, entries: [Entry]) {
        // The number is read first: a change in between makes the copy newer than its number, and it is taken again.
        let number = generation.load(ordering: .acquiring)
        return (number, entries.withLock { $0 })
    }

    /// A view for one thread.
    package func makeView() -> BusView { BusView(self) }
}

/// One virtual CPU's copy of a bus's map.
package struct BusView: ~Copyable {
    private let bus: Bus
    private var generation: UInt64
    private var entries: [Bus.Entry]
    private var recent = 0

    init(_ bus: Bus) {
        self.bus = bus
        (generation, entries) = bus.snapshot()
    }

    /// Reads from the device at an address; nil if no device covers the whole access.
    package mutating func read(_ address: UInt64, width: Int) -> UInt64? {
        guard let index = find(address, width) else { return nil }
        let entry = entries[index]
        return entry.device.read(at: address &- entry.range.base.value, width: width)
    }

    /// Writes to the device at an address; false if no device covers the whole access.
    package mutating func write(_ value: UInt64, to address: UInt64, width: Int) -> Bool {
        guard let index = find(address, width) else { return false }
        let entry = entries[index]
        entry.device.write(value, at: address &- entry.range.base.value, width: width)
        return true
    }

    private mutating func find(_ address: UInt64, _ width: Int) -> Int? {
        guard width >= 1, width <= 8 else { return nil }
        if bus.generation.load(ordering: .acquiring) != generation {
            (generation, entries) = bus.snapshot()
            recent = 0
        }
        if recent < entries.count, BusView.covers(entries[recent].range, address, width) { return recent }
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].range.last.value < address { low = middle + 1 } else { high = middle }
        }
        guard low < entries.count, BusView.covers(entries[low].range, address, width) else { return nil }
        recent = low
        return low
    }

    @inline(__always)
    private static func covers(_ range: GuestRange, _ address: UInt64, _ width: Int) -> Bool {
        let base = range.base.value
        guard address >= base else { return false }
        let offset = address &- base
        return offset < range.size && UInt64(width) <= range.size &- offset
    }
}
