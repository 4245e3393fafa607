#if arch(x86_64)
extension ProcessorLayout {
    /// The arrangement as `CPUID` can tell it: clusters are cores of their die.
    package var visible: ProcessorLayout {
        ProcessorLayout(sockets: sockets, dies: dies, clusters: 1, cores: clusters * cores, threads: threads)
    }
}
#endif
