/// The kernel that a machine starts without firmware.
package struct BootSource: Sendable {
    package var kernelPath: String
    package var initialRamdiskPath: String?
    package var commandLine: String

    package init(kernelPath: String, initialRamdiskPath: String? = nil, commandLine: String) {
        self.kernelPath = kernelPath
        self.initialRamdiskPath = initialRamdiskPath
        self.commandLine = commandLine
    }
}

/// How virtual CPUs are arranged, each number at least 1 and given per unit of the one before.
package struct ProcessorLayout: Sendable, Equatable {
    package var sockets: Int
    package var dies: Int
    package var clusters: Int
    package var cores: Int
    package var threads: Int

    package init(sockets: Int, dies: Int = 1, clusters: Int = 1, cores: Int = 1, threads: Int = 1) {
        self.sockets = sockets
        self.dies = dies
        self.clusters = clusters
        self.cores = cores
        self.threads = threads
    }

    /// Where a virtual CPU is, threads filled first.
    package func position(of index: Int) -> (socket: Int, die: Int, cluster: Int, core: Int, thread: Int) {
        var rest = index
        func take(_ count: Int) -> Int {
            let number = rest % max(1, count)
            rest /= max(1, count)
            return number
        }
        let thread = take(threads)
        let core = take(cores)
        let cluster = take(clusters)
        let die = take(dies)
        return (rest, die, cluster, core, thread)
    }
}
