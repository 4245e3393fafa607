internal import Synchronization

/// The way of a guest's request from a device to whoever decides what becomes of it.
///
/// Devices are made before the virtual CPUs that their requests hold, so that the way is closed later. Of several requests
/// only the first is passed on until the machine was reset: processors that ask at the same time ask once.
final class RequestLink: Sendable {
    private struct State {
        var target: (@Sendable (GuestRequest) -> Void)?
        var isPending = false
    }

    private let state = Mutex(State())

    /// Closes the way: a request holds the virtual CPUs before its consequence is decided elsewhere.
    func connect(to group: ProcessorGroup, _ onRequest: @escaping @Sendable (GuestRequest) -> Void) {
        state.withLock { state in
            state.target = { [weak group] request in
                group?.requestHold()
                onRequest(request)
            }
        }
    }

    func send(_ request: GuestRequest) {
        let target = state.withLock { state -> (@Sendable (GuestRequest) -> Void)? in
            guard !state.isPending, let target = state.target else { return nil }
            state.isPending = true
            return target
        }
        target?(request)
    }

    /// Lets the next request through.
    func reset() {
        state.withLock { $0.isPending = false }
    }
}
