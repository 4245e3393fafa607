#if arch(x86_64)
/// What clients are to be told about this architecture.
enum ExpectedTarget {
    static let name = "x86_64"
    static let standardMachine = "q35"
    static let processorArchitecture = "x86"

    /// The places of a virtual CPU, as text.
    static func properties(socket: Int, die: Int, cluster: Int, core: Int, thread: Int) -> String {
        "{\"socket-id\":\(socket),\"die-id\":\(die),\"core-id\":\(core),\"thread-id\":\(thread)}"
    }
}
#endif
