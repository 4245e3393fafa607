internal import StratoHost
internal import StratoMemory

/// What is asked of the kernel for a run of requests.
@safe
struct DiskTransfer {
    enum Kind {
        case read, write, flush
    }

    let kind: Kind
    let offset: UInt64
    /// A write is durable before it is completed.
    let isDurable: Bool
    /// Comes back with the completion.
    let tag: Int32
    // SAFETY: set by the queue, as it says.
    /// `iovec`s, nil for a flush. They stay where they are until the transfer was submitted, and what they point to until it
    /// is completed.
    var vectors: UnsafeRawPointer?
    var vectorCount = 0

    init(_ kind: Kind, offset: UInt64 = 0, isDurable: Bool = false, tag: Int32) {
        self.kind = kind
        self.offset = offset
        self.isDurable = isDurable
        self.tag = tag
    }
}

/// One of the kernel's interfaces for asynchronous I/O: transfers are staged, handed over together, and completed in any order.
///
/// Used by one thread at a time.
protocol DiskInterface: ~Copyable {
    /// What the command line calls it.
    static var name: String { get }

    /// Whether completions may be there as soon as a transfer was submitted, and looking for them costs nothing.
    static var completesEarly: Bool { get }

    /// - Parameters:
    ///   - image: what all transfers are for.
    ///   - depth: the most transfers that are in flight at once.
    ///   - event: signalled with completions.
    ///   - memory: what vectors point into, to be kept in the host's memory for the kernel; nil for what is not there yet.
    /// - Throws: `LinuxError` if the host does not have it, or does not permit it.
    init(_ image: DiskImage, depth: Int, event: EventDescriptor, memory: GuestMemory?) throws(LinuxError)

    /// Stages a transfer; false if there is no room until those before it were submitted.
    mutating func stage(_ transfer: DiskTransfer) -> Bool

    /// Hands over what is staged. What the kernel does not take remains, for `unstage`.
    mutating func submit()

    /// Takes a transfer back that the kernel did not take; nil if there is none.
    mutating func unstage() -> Int32?

    /// Takes a completion: its tag, and how many bytes were transferred or a negative errno.
    mutating func next() -> (tag: Int32, result: Int)?

    /// Gives everything back to the kernel. Nothing is in flight. The last call.
    mutating func close()
}
