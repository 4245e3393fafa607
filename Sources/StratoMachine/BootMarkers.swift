internal import StratoHost
internal import StratoMemory

/// Points of a guest's start that it marks itself, shown in the log with the time since the process began.
///
/// StratoVirt's guests write the numbers to a register: 1 when the kernel starts, 2 when it has reached user space.
final class BootMarkers: BusDevice {
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

    // MARK: A register of its own, where there is no serial port to share one with

    func read(at offset: UInt64, width: Int) -> UInt64 { 0 }

    func write(_ value: UInt64, at offset: UInt64, width: Int) {
        mark(UInt8(truncatingIfNeeded: value))
    }

    /// Called with each byte that the guest writes; others than markers have no meaning.
    func mark(_ value: UInt8) {
        guard let name = BootMarkers.names[value] else { return }
        let wall = MonotonicClock.now.microseconds &- start.microseconds
        let processor = MonotonicClock.processorTime.microseconds
        limiter.log(.info, "\(value), \(name): \(wall) us since exec, \(processor) us of CPU time")
    }
}
