#if arch(x86_64)
import StratoKVM
import Testing

@Suite("CPUID describes the machine's topology")
struct ProcessorIdentificationTests {
    typealias Topology = ProcessorIdentification.Topology
    typealias Entry = ProcessorIdentification.Entry

    static let supported = ProcessorIdentification(supported: [
        Entry(function: 0, eax: 0x1F),
        Entry(function: 1, ebx: 0x0102_0304, edx: 1 << 28),
        Entry(function: 4, index: 0, isIndexed: true, eax: 0xFC00_4121),
        Entry(function: 4, index: 3, isIndexed: true, eax: 0xFC1F_C163),
        Entry(function: 6, ecx: 0b1001),
        Entry(function: 0xB, index: 0, isIndexed: true, eax: 7, ebx: 7),
    ])

    static func entry(_ list: [Entry], _ function: UInt32, _ index: UInt32 = 0) throws -> Entry {
        try #require(list.first { $0.function == function && $0.index == index })
    }

    @Test(
        "APIC ids are unique and leave a power of two for each level",
        arguments: [
            Topology(sockets: 1, dies: 1, cores: 1, threads: 1),
            Topology(sockets: 2, dies: 1, cores: 3, threads: 2),
            Topology(sockets: 254, dies: 1, cores: 1, threads: 1),
            Topology(sockets: 3, dies: 2, cores: 5, threads: 1),
        ])
    func apicIDs(_ topology: Topology) {
        let count = topology.sockets * topology.dies * topology.cores * topology.threads
        let identifiers = (0..<count).map { topology.apicID($0) }
        #expect(Set(identifiers).count == count)
        #expect(identifiers == identifiers.sorted())
        #expect(identifiers.first == 0)
    }

    @Test("Three cores take the ids of four, so that the next socket starts at a multiple")
    func padding() {
        let topology = Topology(sockets: 2, dies: 1, cores: 3, threads: 2)
        #expect(topology.apicID(5) == 0b0101)
        #expect(topology.apicID(6) == 0b1000)
    }

    @Test("Leaf 1 has the APIC id, the hypervisor bit and the deadline timer only where the host has it")
    func features() throws {
        let topology = Topology(sockets: 2, dies: 1, cores: 1, threads: 1)
        let with = try Self.entry(Self.supported.entries(for: 1, of: topology, hasTSCDeadline: true), 1)
        #expect(with.ebx >> 24 == 1)
        #expect(with.ebx & 0xFFFF == 0x0304)
        #expect(with.ecx >> 31 == 1)
        #expect(with.ecx >> 24 & 1 == 1)
        #expect(with.edx >> 28 & 1 == 0, "one thread a socket is no hyper-threading")
        let without = try Self.entry(Self.supported.entries(for: 1, of: topology, hasTSCDeadline: false), 1)
        #expect(without.ecx >> 24 & 1 == 0)
    }

    @Test("Leaf 0xB tells threads and cores with the widths of their ids, and is not the host's")
    func topologyLeaf() throws {
        let topology = Topology(sockets: 2, dies: 1, cores: 3, threads: 2)
        let list = Self.supported.entries(for: 7, of: topology, hasTSCDeadline: true)
        let threads = try Self.entry(list, 0xB, 0)
        let cores = try Self.entry(list, 0xB, 1)
        let end = try Self.entry(list, 0xB, 2)
        #expect((threads.eax, threads.ebx, threads.ecx) == (1, 2, 1 << 8))
        #expect((cores.eax, cores.ebx, cores.ecx) == (3, 6, 2 << 8 | 1))
        #expect((end.eax, end.ebx, end.ecx) == (0, 0, 2))
        #expect(cores.edx == topology.apicID(7))
        #expect(list.allSatisfy { $0.function != 0x1F }, "a single die needs no leaf 0x1F")
    }

    @Test("Several dies add leaf 0x1F with a die level")
    func dieLeaf() throws {
        let topology = Topology(sockets: 1, dies: 2, cores: 2, threads: 1)
        let list = Self.supported.entries(for: 3, of: topology, hasTSCDeadline: true)
        let die = try Self.entry(list, 0x1F, 2)
        #expect((die.eax, die.ebx, die.ecx) == (2, 4, 5 << 8 | 2))
    }

    @Test("A cache's sharing follows the topology, its geometry stays")
    func caches() throws {
        let topology = Topology(sockets: 1, dies: 1, cores: 4, threads: 2)
        let list = Self.supported.entries(for: 0, of: topology, hasTSCDeadline: true)
        let first = try Self.entry(list, 4, 0)
        let third = try Self.entry(list, 4, 3)
        #expect(first.eax >> 14 & 0xFFF == 1)
        #expect(third.eax >> 14 & 0xFFF == 7)
        #expect(third.eax >> 26 == 3)
        #expect(first.eax & 0x3FFF == 0xFC00_4121 & 0x3FFF)
    }

    @Test("The host's energy bias is hidden")
    func energyBias() throws {
        let topology = Topology(sockets: 1, dies: 1, cores: 1, threads: 1)
        let list = Self.supported.entries(for: 0, of: topology, hasTSCDeadline: true)
        #expect(try Self.entry(list, 6).ecx == 1)
    }

    /// An AMD processor as emulators show it, without topology extensions: 32 KiB of data, 64 KiB of code, 512 KiB, 16 MiB.
    private static let amd = ProcessorIdentification(supported: [
        Entry(function: 0, eax: 0xD, ebx: 0x6874_7541, ecx: 0x444D_4163, edx: 0x6974_6E65),
        Entry(function: 1, edx: 1 << 28),
        Entry(function: 0x8000_0000, eax: 0x8000_000A),
        Entry(function: 0x8000_0001, ecx: 0b1),
        Entry(function: 0x8000_0005, ecx: 32 << 24 | 8 << 16 | 1 << 8 | 64, edx: 64 << 24 | 4 << 16 | 1 << 8 | 64),
        Entry(function: 0x8000_0006, ecx: 512 << 16 | 6 << 12 | 64, edx: 32 << 18 | 8 << 12 | 64),
        Entry(function: 0x8000_0008, eax: 40),
    ])

    @Test("An AMD processor without topology extensions gets them where a guest is to see threads")
    func topologyExtensions() throws {
        let topology = Topology(sockets: 2, dies: 1, cores: 2, threads: 2)
        let list = Self.amd.entries(for: 7, of: topology, hasTSCDeadline: false)
        #expect(try Self.entry(list, 0x8000_0000).eax == 0x8000_001E)
        #expect(try Self.entry(list, 0x8000_0001).ecx == 0b1 | 1 << 22)
        let place = try Self.entry(list, 0x8000_001E)
        #expect(place.eax == 7)
        #expect(place.ebx == 3 | 1 << 8, "the fourth core, of two threads")
        // Kind, level, and the ids that share it less one; ways and line size; sets.
        let data = try Self.entry(list, 0x8000_001D, 0)
        #expect(data.eax == 1 | 1 << 5 | 1 << 8 | 1 << 14)
        #expect(data.ebx == 63 | 7 << 22 && data.ecx == 63)
        #expect(try Self.entry(list, 0x8000_001D, 1).eax & 0x1F == 2)
        #expect(try Self.entry(list, 0x8000_001D, 2).ecx == 512 * 1024 / 64 / 8 - 1)
        let last = try Self.entry(list, 0x8000_001D, 3)
        #expect(last.eax == 3 | 3 << 5 | 1 << 8 | 3 << 14)
        #expect(last.ebx == 63 | 15 << 22 && last.ecx == 16 << 20 / 64 / 16 - 1)
        #expect(try Self.entry(list, 0x8000_001D, 4).eax == 0)
    }

    @Test("Without threads, with the extensions, and on Intel's processors nothing is made up")
    func noTopologyExtensions() {
        let threads = Topology(sockets: 1, dies: 1, cores: 2, threads: 2)
        let cores = Topology(sockets: 1, dies: 1, cores: 4, threads: 1)
        #expect(!Self.amd.entries(for: 0, of: cores, hasTSCDeadline: false).contains { $0.function == 0x8000_001E })
        #expect(!Self.supported.entries(for: 0, of: threads, hasTSCDeadline: false).contains { $0.function == 0x8000_001E })
    }
}
#endif
