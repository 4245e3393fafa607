/// How many virtual CPUs there are, and how they are arranged.
public struct ProcessorConfiguration: Sendable, Hashable {
    /// How many virtual CPUs a machine can have: their 8-bit APIC identifiers leave 255 to broadcasts and one to the IOAPIC.
    public static let allowedCounts = 1...254

    /// Present at start, 1...254.
    public var count: Int

    /// Present at most, at least `count`; nil for `count`.
    public var maximumCount: Int?

    /// The arrangement that the guest sees; the product is the maximum count. Nil makes them the cores of one socket.
    public var topology: ProcessorTopology?

    /// Performance monitoring counters for the guest (aarch64).
    public var hasPMU: Bool

    /// Scalable vector extension for the guest (aarch64).
    public var hasSVE: Bool

    /// The host tells the guest how much time it took away (aarch64).
    public var hasStealTime: Bool

    /// `count` virtual CPUs without a given arrangement.
    public init(count: Int = 1) {
        self.count = count
        maximumCount = nil
        topology = nil
        hasPMU = false
        hasSVE = false
        hasStealTime = false
    }
}

/// Sockets, dies, clusters, cores and threads, each at least 1 and given per unit of the one before.
public struct ProcessorTopology: Sendable, Hashable {
    /// Sockets of the machine.
    public var sockets: Int
    /// Dies of each socket.
    public var dies: Int
    /// Clusters of each die.
    public var clusters: Int
    /// Cores of each cluster.
    public var cores: Int
    /// Threads of each core.
    public var threads: Int

    /// One of each unless given.
    public init(sockets: Int = 1, dies: Int = 1, clusters: Int = 1, cores: Int = 1, threads: Int = 1) {
        self.sockets = sockets
        self.dies = dies
        self.clusters = clusters
        self.cores = cores
        self.threads = threads
    }
}
