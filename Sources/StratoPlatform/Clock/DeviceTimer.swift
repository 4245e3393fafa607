internal import StratoHost
internal import Synchronization

/// One timer of a device, which its guest may change as often as it likes: there is never more than one, and the event loop is
/// asked at most once until it has had its turn.
final class DeviceTimer: Sendable {
    /// For what is further away: clocks that somebody sets have to be looked at again.
    private static let longestDelay: Int64 = 600_000

    private let loop: EventLoop
    private let delay: @Sendable () -> Int64?
    private let fire: @Sendable () -> Void
    private let isPlanning = Mutex(false)
    /// Touched on the loop's thread alone.
    private let timer = Mutex<EventLoop.Timer?>(nil)

    /// - Parameters:
    ///   - loop: where everything is called.
    ///   - delay: milliseconds until the device has something to do; nil for never.
    ///   - fire: does it; also called earlier.
    init(loop: EventLoop, delay: @escaping @Sendable () -> Int64?, fire: @escaping @Sendable () -> Void) {
        self.loop = loop
        self.delay = delay
        self.fire = fire
    }

    /// Asks the device again, soon, when it is due.
    func plan() {
        let isFirst = isPlanning.withLock { isPlanning in
            defer { isPlanning = true }
            return !isPlanning
        }
        guard isFirst else { return }
        loop.execute { [weak self] in self?.planNow() }
    }

    private func planNow() {
        isPlanning.withLock { $0 = false }
        let previous = timer.withLock { $0.take() }
        previous?.cancel()
        guard let delay = delay() else { return }
        let milliseconds = Int(min(max(delay, 1), DeviceTimer.longestDelay))
        let next = loop.schedule(afterMilliseconds: milliseconds) { [weak self] in
            self?.fire()
            self?.planNow()
        }
        timer.withLock { $0 = next }
    }

    deinit {
        timer.withLock { $0 }?.cancel()
    }
}
