#if arch(arm64)
/// What clients are to be told about this architecture.
enum ExpectedTarget {
    static let name = "aarch64"
    static let standardMachine = "virt"
    static let processorArchitecture = "arm"

    /// The places of a virtual CPU, as text.
    static func properties(socket: Int, die: Int, cluster: Int, core: Int, thread: Int) -> String {
        "{\"socket-id\":\(socket),\"cluster-id\":\(cluster),\"core-id\":\(core),\"thread-id\":\(thread)}"
    }
}
#endif
