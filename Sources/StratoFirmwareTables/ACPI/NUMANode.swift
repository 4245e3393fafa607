/// Processors and memory that are near to each other: a proximity domain.
package struct NUMANode: Sendable, Equatable {
    /// Numbers of processors: positions in the machine's list of APIC ids.
    package var processors: [Int]
    package var memory: [PhysicalRange]

    package init(processors: [Int] = [], memory: [PhysicalRange] = []) {
        self.processors = processors
        self.memory = memory
    }

    /// - Throws: `FirmwareTableError` unless each processor of 0..<`processorCount` is in one node, and memory in no two.
    package static func check(_ nodes: [NUMANode], processorCount: Int) throws(FirmwareTableError) {
        var homes = [Int?](repeating: nil, count: max(0, processorCount))
        var memory: [(base: UInt64, last: UInt64)] = []
        for (domain, node) in nodes.enumerated() {
            for number in node.processors {
                guard homes.indices.contains(number) else {
                    throw FirmwareTableError("NUMA node \(domain) has processor \(number), but there are \(processorCount)")
                }
                if let home = homes[number] {
                    throw FirmwareTableError("processor \(number) is in NUMA nodes \(home) and \(domain)")
                }
                homes[number] = domain
            }
            for range in node.memory {
                memory.append((range.base, try range.last(of: "the memory of NUMA node \(domain)")))
            }
        }
        if let homeless = homes.firstIndex(where: { $0 == nil }) {
            throw FirmwareTableError("processor \(homeless) is in no NUMA node")
        }
        memory.sort { $0.base < $1.base }
        for (range, next) in zip(memory, memory.dropFirst()) where next.base <= range.last {
            throw FirmwareTableError("memory at \(hexadecimal(next.base)) is in two NUMA nodes")
        }
    }
}
