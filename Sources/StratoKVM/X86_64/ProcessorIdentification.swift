#if arch(x86_64)
internal import CStratoLinux
internal import Glibc
internal import StratoHost

/// What `CPUID` answers in a guest: KVM's list of what it supports, made to describe one virtual CPU of a machine.
package struct ProcessorIdentification: Sendable, Equatable {
    /// One leaf, and one of its sub-leaves where it has several.
    package struct Entry: Sendable, Equatable {
        package var function: UInt32
        package var index: UInt32
        /// The answer depends on the sub-leaf (KVM_CPUID_FLAG_SIGNIFCANT_INDEX).
        package var isIndexed: Bool
        package var eax: UInt32
        package var ebx: UInt32
        package var ecx: UInt32
        package var edx: UInt32

        package init(
            function: UInt32, index: UInt32 = 0, isIndexed: Bool = false, eax: UInt32 = 0, ebx: UInt32 = 0, ecx: UInt32 = 0,
            edx: UInt32 = 0
        ) {
            self.function = function
            self.index = index
            self.isIndexed = isIndexed
            self.eax = eax
            self.ebx = ebx
            self.ecx = ecx
            self.edx = edx
        }

        init(_ entry: kvm_cpuid_entry2) {
            self.init(
                function: entry.function, index: entry.index, isIndexed: entry.flags & 1 != 0, eax: entry.eax,
                ebx: entry.ebx, ecx: entry.ecx, edx: entry.edx)
        }

        var kvm: kvm_cpuid_entry2 {
            var entry = kvm_cpuid_entry2()
            entry.function = function
            entry.index = index
            entry.flags = isIndexed ? 1 : 0
            entry.eax = eax
            entry.ebx = ebx
            entry.ecx = ecx
            entry.edx = edx
            return entry
        }
    }

    /// How the machine's virtual CPUs are arranged; each number at least 1.
    package struct Topology: Sendable, Equatable {
        package var sockets: Int
        package var dies: Int
        /// Cores of one die, those of all its clusters.
        package var cores: Int
        package var threads: Int

        package init(sockets: Int, dies: Int, cores: Int, threads: Int) {
            self.sockets = sockets
            self.dies = dies
            self.cores = cores
            self.threads = threads
        }

        /// Bits of an APIC id that number the threads of a core, and so on upwards (SDM, volume 3A, 9.9.1): enough for
        /// each level's count, so that an id's upper bits name a unit of the level above.
        var threadBits: UInt32 { Topology.bits(threads) }
        var coreBits: UInt32 { Topology.bits(cores) }
        var dieBits: UInt32 { Topology.bits(dies) }

        private static func bits(_ count: Int) -> UInt32 {
            count <= 1 ? 0 : UInt32(UInt.bitWidth - (UInt(count) - 1).leadingZeroBitCount)
        }

        /// The APIC id of the virtual CPU with a number, filling threads first, then cores, dies and sockets.
        package func apicID(_ index: Int) -> UInt32 {
            let thread = UInt32(index % threads)
            let core = UInt32(index / threads % cores)
            let die = UInt32(index / threads / cores % dies)
            let socket = UInt32(index / threads / cores / dies)
            return thread | core << threadBits | die << (threadBits + coreBits) | socket << (threadBits + coreBits + dieBits)
        }
    }

    /// Leaves and bits (Intel SDM, volume 2A, CPUID; AMD APM, volume 3, appendix E).
    private enum Leaf {
        static let features: UInt32 = 1
        static let caches: UInt32 = 4
        static let power: UInt32 = 6
        static let performance: UInt32 = 0xA
        static let topology: UInt32 = 0xB
        static let topologyV2: UInt32 = 0x1F
        static let amdSizes: UInt32 = 0x8000_0008
        static let amdCaches: UInt32 = 0x8000_001D
        static let amdTopology: UInt32 = 0x8000_001E

        static let featuresTSCDeadline: UInt32 = 1 << 24
        static let featuresHypervisor: UInt32 = 1 << 31
        static let featuresHyperThreading: UInt32 = 1 << 28
        static let powerEnergyBias: UInt32 = 1 << 3
    }

    private let supported: [Entry]

    /// Starts from a list of what is supported.
    package init(supported: [Entry]) {
        self.supported = supported
    }

    /// The width of a guest's physical addresses: leaf 0x80000008, or 36 where that is missing (SDM, volume 2A, CPUID).
    package var physicalAddressBits: Int {
        let width = supported.first { $0.function == Leaf.amdSizes }.map { Int($0.eax & 0xFF) } ?? 36
        return min(max(width, 36), 52)
    }

    /// The list for one virtual CPU.
    ///
    /// - Parameters:
    ///   - index: the virtual CPU's number.
    ///   - topology: how the machine's virtual CPUs are arranged.
    ///   - hasTSCDeadline: the local APIC's timer has its deadline mode (KVM_CAP_TSC_DEADLINE_TIMER).
    /// - Returns: the leaves, ready for the virtual CPU.
    package func entries(for index: Int, of topology: Topology, hasTSCDeadline: Bool) -> [Entry] {
        let apicID = topology.apicID(index)
        let threadsPerSocket = UInt32(topology.threads * topology.cores * topology.dies)
        let socketShift = topology.threadBits + topology.coreBits + topology.dieBits
        var result: [Entry] = []
        for var entry in supported {
            switch entry.function {
            case Leaf.features:
                // Bits 16...23 count the ids of a socket, 24...31 hold the id's low byte.
                entry.ebx = (entry.ebx & 0xFFFF) | min(255, UInt32(1) << socketShift) << 16 | (apicID & 0xFF) << 24
                entry.ecx |= Leaf.featuresHypervisor
                if hasTSCDeadline { entry.ecx |= Leaf.featuresTSCDeadline }
                if threadsPerSocket > 1 {
                    entry.edx |= Leaf.featuresHyperThreading
                } else {
                    entry.edx &= ~Leaf.featuresHyperThreading
                }
            case Leaf.caches where entry.eax & 0x1F != 0:
                entry.eax = ProcessorIdentification.cacheSharing(entry.eax, topology)
            case Leaf.amdCaches where entry.eax & 0x1F != 0:
                entry.eax = ProcessorIdentification.cacheSharing(entry.eax, topology, countsCores: false)
            case Leaf.power:
                // The host's energy bias is not the guest's to set.
                entry.ecx &= ~Leaf.powerEnergyBias
            case Leaf.topology, Leaf.topologyV2:
                continue
            case Leaf.amdSizes:
                // Bits 0...7 count the threads of a socket less one, 12...15 are the width of their ids.
                entry.ecx = (entry.ecx & ~0xF0FF) | (threadsPerSocket > 1 ? (threadsPerSocket - 1) & 0xFF : 0)
                entry.ecx |= (socketShift & 0xF) << 12
            case Leaf.amdTopology:
                entry.eax = apicID
                entry.ebx =
                    (entry.ebx & ~0xFFFF) | ((apicID >> topology.threadBits) & 0xFF) | UInt32(topology.threads - 1) << 8
                entry.ecx = entry.ecx & ~0x7FF
            default:
                break
            }
            result.append(entry)
        }
        result += ProcessorIdentification.topologyLeaves(Leaf.topology, apicID, topology, levelsOfDies: false)
        if topology.dies > 1, let basic = supported.first(where: { $0.function == 0 }), basic.eax >= Leaf.topologyV2 {
            result += ProcessorIdentification.topologyLeaves(Leaf.topologyV2, apicID, topology, levelsOfDies: true)
        }
        if ProcessorIdentification.lacksTopologyExtensions(supported, for: topology) {
            ProcessorIdentification.addTopologyExtensions(to: &result, apicID: apicID, of: topology)
        }
        ProcessorIdentification.sort(&result)
        return result
    }

    /// Nearly in order as they are, leaves are put into it by few exchanges. The standard library's sort takes more to make a
    /// type that it needs.
    private static func sort(_ entries: inout [Entry]) {
        for index in entries.indices {
            var place = index
            while place > 0 {
                let (left, right) = (entries[place - 1], entries[place])
                guard (right.function, right.index) < (left.function, left.index) else { break }
                entries.swapAt(place - 1, place)
                place -= 1
            }
        }
    }

    /// Bits 14...25 tell how many ids share a cache, 26...31 how many cores a socket has, each less one.
    private static func cacheSharing(_ eax: UInt32, _ topology: Topology, countsCores: Bool = true) -> UInt32 {
        let level = eax >> 5 & 7
        // The first two levels belong to a core, the last to a die.
        let sharing = level < 3 ? UInt32(1) << topology.threadBits : UInt32(1) << (topology.threadBits + topology.coreBits)
        var value = (eax & 0x3FFF) | ((sharing - 1) & 0xFFF) << 14
        if countsCores {
            let cores = UInt32(1) << (topology.coreBits + topology.dieBits)
            value |= min(63, cores - 1) << 26
        }
        return value
    }

    /// Leaf 0xB has the levels thread and core, leaf 0x1F the level die above them (SDM, volume 2A, table 3-8).
    private static func topologyLeaves(
        _ function: UInt32, _ apicID: UInt32, _ topology: Topology, levelsOfDies: Bool
    ) -> [Entry] {
        let threadShift = topology.threadBits
        let coreShift = threadShift + topology.coreBits + (levelsOfDies ? 0 : topology.dieBits)
        let cores = topology.threads * topology.cores * (levelsOfDies ? 1 : topology.dies)
        var levels: [(shift: UInt32, count: Int, type: UInt32)] = [
            (threadShift, topology.threads, 1), (coreShift, cores, 2),
        ]
        if levelsOfDies {
            levels.append((coreShift + topology.dieBits, cores * topology.dies, 5))
        }
        levels.append((0, 0, 0))
        return levels.enumerated().map { position, level in
            Entry(
                function: function, index: UInt32(position), isIndexed: true, eax: level.shift, ebx: UInt32(level.count),
                ecx: level.type << 8 | UInt32(position), edx: apicID)
        }
    }
}

extension KVMSystem {
    /// The local APIC's timer has its deadline mode.
    package var hasTSCDeadlineTimer: Bool { capability(KVM_CAP_TSC_DEADLINE_TIMER) != 0 }

    /// What KVM can show a guest.
    ///
    /// - Throws: `KVMError`.
    package func supportedIdentification() throws(KVMError) -> ProcessorIdentification {
        let capacity = 256
        var count: Int32 = 0
        // SAFETY: the shim writes at most `capacity` entries and returns how many.
        let entries = unsafe [kvm_cpuid_entry2](unsafeUninitializedCapacity: capacity) { buffer, filled in
            filled = 0
            guard let base = buffer.baseAddress else { return }
            count = unsafe csl_kvm_get_supported_cpuid(number, base, UInt32(capacity))
            filled = max(0, min(Int(count), capacity))
        }
        let code = count
        try kvm("read the CPUID that it supports") { () throws(LinuxError) in
            try LinuxError.check(code, "KVM_GET_SUPPORTED_CPUID")
        }
        return ProcessorIdentification(supported: entries.map(ProcessorIdentification.Entry.init))
    }
}
#endif
