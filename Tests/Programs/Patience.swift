import Foundation

/// The time that is given before a test fails. Emulated machines are slow, and nothing waits longer than it needs.
enum Patience {
    /// From the start of the process to a guest's user space, and for what a guest does there.
    static let guest: TimeInterval = 300
    /// For what the monitor does itself: an answer, an event, its end.
    static let monitor: TimeInterval = 120
    /// For a tool of the host.
    static let tool: TimeInterval = 300
}

/// Why a guest test cannot go on.
struct GuestFailure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}
