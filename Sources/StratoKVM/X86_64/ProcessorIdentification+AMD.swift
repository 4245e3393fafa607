#if arch(x86_64)

/// Processors of AMD tell of the threads of a core by their topology extensions alone (AMD APM, volume 3, appendix E). Where KVM
/// has none to pass on, they are made up from what older leaves say, for a guest that is to see threads.
extension ProcessorIdentification {
    private enum AMDLeaf {
        static let largestExtended: UInt32 = 0x8000_0000
        static let features: UInt32 = 0x8000_0001
        static let firstLevelCaches: UInt32 = 0x8000_0005
        static let otherCaches: UInt32 = 0x8000_0006
        static let cacheProperties: UInt32 = 0x8000_001D
        static let topology: UInt32 = 0x8000_001E
        /// TopologyExtensions, of ECX of the features.
        static let topologyExtensions: UInt32 = 1 << 22
        /// "AuthenticAMD" in the order EBX, EDX, ECX.
        static let vendor: (UInt32, UInt32, UInt32) = (0x6874_7541, 0x6974_6E65, 0x444D_4163)
    }

    /// A cache as leaf 0x8000001D tells it.
    private struct Cache {
        enum Kind: UInt32 {
            case data = 1, instruction, unified
        }

        let kind: Kind
        let level: UInt32
        /// In bytes.
        let size: UInt32
        let lineSize: UInt32
        /// 0 for one that is fully associative.
        let ways: UInt32

        /// The processors whose ids differ in the lowest `sharedBits` bits share it.
        func entry(_ index: UInt32, sharedBits: UInt32) -> Entry? {
            guard size > 0, lineSize > 0 else { return nil }
            let lines = size / lineSize
            let ways = ways == 0 ? lines : ways
            guard ways > 0, lines >= ways else { return nil }
            let isSelfInitializing: UInt32 = 1 << 8
            let isFullyAssociative: UInt32 = self.ways == 0 ? 1 << 9 : 0
            let sharing = (UInt32(1) << sharedBits) - 1
            return Entry(
                function: AMDLeaf.cacheProperties, index: index, isIndexed: true,
                eax: kind.rawValue | level << 5 | isSelfInitializing | isFullyAssociative | (sharing & 0xFFF) << 14,
                ebx: (lineSize - 1) & 0xFFF | ((ways - 1) & 0x3FF) << 22, ecx: lines / ways - 1)
        }
    }

    /// Whether a guest of this arrangement would otherwise take threads for cores.
    static func lacksTopologyExtensions(_ supported: [Entry], for topology: Topology) -> Bool {
        guard topology.threads > 1, let basic = supported.first(where: { $0.function == 0 }),
            (basic.ebx, basic.edx, basic.ecx) == AMDLeaf.vendor,
            let features = supported.first(where: { $0.function == AMDLeaf.features })
        else { return false }
        return features.ecx & AMDLeaf.topologyExtensions == 0
    }

    /// Adds the leaves and says that they are there.
    ///
    /// - Parameters:
    ///   - entries: those of one virtual CPU, without the leaves.
    ///   - apicID: of that virtual CPU.
    ///   - topology: of the machine.
    static func addTopologyExtensions(to entries: inout [Entry], apicID: UInt32, of topology: Topology) {
        entries.removeAll { $0.function == AMDLeaf.cacheProperties || $0.function == AMDLeaf.topology }
        for index in entries.indices {
            switch entries[index].function {
            case AMDLeaf.largestExtended: entries[index].eax = max(entries[index].eax, AMDLeaf.topology)
            case AMDLeaf.features: entries[index].ecx |= AMDLeaf.topologyExtensions
            default: break
            }
        }
        let caches = caches(entries, topology)
        entries += caches
        // The list of caches ends with one of no kind.
        entries.append(
            Entry(function: AMDLeaf.cacheProperties, index: UInt32(caches.count), isIndexed: true))
        entries.append(
            Entry(
                function: AMDLeaf.topology, eax: apicID,
                ebx: ((apicID >> topology.threadBits) & 0xFF) | UInt32(topology.threads - 1) << 8))
    }

    /// What leaves 0x80000005 and 0x80000006 tell, in the newer form.
    private static func caches(_ entries: [Entry], _ topology: Topology) -> [Entry] {
        var caches: [(cache: Cache, sharedBits: UInt32)] = []
        if let leaf = entries.first(where: { $0.function == AMDLeaf.firstLevelCaches }) {
            for (kind, word) in [(Cache.Kind.data, leaf.ecx), (.instruction, leaf.edx)] {
                let ways = word >> 16 & 0xFF
                caches.append(
                    (
                        Cache(
                            kind: kind, level: 1, size: (word >> 24) << 10, lineSize: word & 0xFF, ways: ways == 0xFF ? 0 : ways),
                        topology.threadBits
                    ))
            }
        }
        if let leaf = entries.first(where: { $0.function == AMDLeaf.otherCaches }) {
            caches.append(
                (
                    Cache(
                        kind: .unified, level: 2, size: (leaf.ecx >> 16) << 10, lineSize: leaf.ecx & 0xFF,
                        ways: ways(leaf.ecx >> 12 & 0xF)), topology.threadBits
                ))
            // The size is given in units of 512 KiB.
            caches.append(
                (
                    Cache(
                        kind: .unified, level: 3, size: (leaf.edx >> 18 & 0xFFF) << 19, lineSize: leaf.edx & 0xFF,
                        ways: ways(leaf.edx >> 12 & 0xF)), topology.threadBits + topology.coreBits
                ))
        }
        var result: [Entry] = []
        for (cache, sharedBits) in caches {
            if let entry = cache.entry(UInt32(result.count), sharedBits: sharedBits) { result.append(entry) }
        }
        return result
    }

    /// The code of a cache's associativity (APM, volume 3, E.4.5); 0 for one that is full, or not told.
    private static func ways(_ code: UInt32) -> UInt32 {
        switch code {
        case 1, 2, 4: code
        case 3: 3
        case 5: 6
        case 6: 8
        case 8: 16
        case 0xA: 32
        case 0xB: 48
        case 0xC: 64
        case 0xD: 96
        case 0xE: 128
        default: 0
        }
    }
}
#endif
