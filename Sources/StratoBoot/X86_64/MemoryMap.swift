#if arch(x86_64)

internal import StratoMemory

/// What the kernel is told about physical memory (ACPI 6.5, 15.1: INT 15H, E820H).
enum MemoryMap {
    enum Kind: UInt32 {
        case usable = 1
        case reserved = 2
    }

    struct Entry: Equatable {
        let base: UInt64
        let size: UInt64
        let kind: Kind
    }

    /// The map of a machine with this RAM: ascending, the first range from 0 to somewhere above 1 MiB.
    static func entries(_ ranges: [GuestRange], reserved: [GuestRange] = []) -> [Entry] {
        var entries = [
            Entry(base: 0, size: BootLayout.ebda, kind: .usable),
            Entry(base: BootLayout.ebda, size: BootLayout.baseMemoryEnd - BootLayout.ebda, kind: .reserved),
            Entry(
                base: BootLayout.firmwareArea, size: BootLayout.extendedMemory - BootLayout.firmwareArea, kind: .reserved),
        ]
        for range in ranges {
            let end = range.base.value &+ range.size
            let base = max(range.base.value, BootLayout.extendedMemory)
            if end > base { entries.append(Entry(base: base, size: end - base, kind: .usable)) }
        }
        entries += reserved.map { Entry(base: $0.base.value, size: $0.size, kind: .reserved) }
        return entries.sorted { $0.base < $1.base }
    }
}

#endif
