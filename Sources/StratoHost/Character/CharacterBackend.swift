internal import Synchronization

/// A guest's device that takes bytes from the host: a serial port, a console's port.
package protocol CharacterReceiver: AnyObject, Sendable {
    /// How many bytes `receive` has room for now. Called on the backend's loop; 0 leaves the host's bytes unread until
    /// `CharacterBackend.resumeInput`.
    func receivableCount() -> Int

    /// Takes bytes from the host, on the backend's loop: at most as many as `receivableCount` answered just before. What has no
    /// room any more, because the device was reset in between, is the receiver's to drop.
    func receive(_ bytes: Span<UInt8>)

    /// Somebody on the host opened or closed the other end. Called on the backend's loop, at first upon `attach`.
    func connectionChanged(isOpen: Bool)
}

/// Where a stream of bytes from and to the guest ends on the host.
///
/// Everything may be called from any thread. Threads that write have SIGPIPE blocked or ignored, as every `HostThread` and
/// `EventLoop` has.
package protocol CharacterBackend: AnyObject, Sendable {
    /// Input goes to this receiver from now on; it is not kept alive.
    func attach(_ receiver: any CharacterReceiver)

    /// Input is not read any more. A call to the receiver that is under way on the loop may still finish.
    func detach()

    /// Sends bytes on their way, and never waits: what the other end does not take is kept, up to a limit, and dropped and
    /// counted beyond it.
    func write(_ bytes: Span<UInt8>)

    /// The receiver has room again. May be called with a lock held that the receiver takes in its own functions.
    func resumeInput()

    /// What it is, as management clients know it: `stdio`, `pty:/dev/pts/3`, `file:/path`, `unix:/path,server`.
    var filename: String { get }

    /// How many bytes of output were dropped because nobody read them.
    var droppedCount: UInt64 { get }

    /// Writes what is left, for as long as the other end takes it (a few seconds at most, half a second if it takes nothing),
    /// and gives everything back: files, sockets, the terminal's settings. What is written afterwards is dropped. Not to be
    /// called with a lock held that the receiver takes.
    func close()
}

/// The receiver of a backend: set and forgotten on any thread.
final class ReceiverSlot: Sendable {
    private struct Reference {
        weak var receiver: (any CharacterReceiver)?
    }

    private let reference = Mutex(Reference())

    var receiver: (any CharacterReceiver)? {
        get { reference.withLock { $0.receiver } }
        set { reference.withLock { $0.receiver = newValue } }
    }

    /// How much of what the host has can be taken now.
    var room: Int { max(0, receiver?.receivableCount() ?? 0) }
}
