#if arch(arm64)
extension ProcessorLayout {
    /// The arrangement as a device tree can tell it: dies are clusters of their socket.
    package var visible: ProcessorLayout {
        ProcessorLayout(sockets: sockets, dies: 1, clusters: dies * clusters, cores: cores, threads: threads)
    }
}
#endif
