internal import StratoHost

/// Points of a guest's start that it marks itself, shown in the log with the time since the process began.
///
/// StratoVirt's guests write the numbers to a register: 1 when the kernel starts, 2 when it has reached user space.
final class BootMarkers: Sendable {
    private static let names: [UInt8: String] = [1: "guest kernel started", 2: "guest start complete"]

    private let start: MonotonicClock.Instant
    private let limiter: LogLimiter

    /// - Parameters:
    ///   - start: when the process, or the making of the machine, began.
    ///   - logger: where the times go.
    init(start: MonotonicClock.Instant, logger: Logger) {
        self.start = start
        limiter = LogLimiter(source: "boot marker", logger: logger)
    }

    /// Called with each byte that the guest writes; others than markers have no meaning.
    func mark(_ value: UInt8) {
        guard let name = BootMarkers.names[value] else { return }
        let wall = MonotonicClock.now.microseconds &- start.microseconds
        let processor = MonotonicClock.processorTime.microseconds
        limiter.log(.info, "\(value), \(name): \(wall) us since exec, \(processor) us of CPU time")
    }
}
