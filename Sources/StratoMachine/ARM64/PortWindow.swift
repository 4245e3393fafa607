#if arch(arm64)
internal import StratoMemory
internal import Synchronization

/// Ports as a processor without port instructions reaches them: in memory.
final class PortWindow: BusDevice {
    /// Drivers of functions that have port ranges are few; those that would be slowed down by a lock are none.
    private let view: Mutex<BusView>

    init(_ ports: Bus) {
        view = Mutex(ports.makeView())
    }

    func read(at offset: UInt64, width: Int) -> UInt64 {
        view.withLock { $0.read(offset, width: width) } ?? .max
    }

    func write(_ value: UInt64, at offset: UInt64, width: Int) {
        _ = view.withLock { $0.write(value, to: offset, width: width) }
    }
}
#endif
