import StratoHost
import StratoMemory
import StratoPlatform
import Synchronization

/// Remembers the level that a device has set, and how often it rose.
final class LevelRecorder: InterruptLine {
    private let state = Monitor((isAsserted: false, rises: 0))

    var isAsserted: Bool { state.read { $0.isAsserted } }
    var rises: Int { state.read { $0.rises } }
    var event: EventDescriptor? { nil }

    func pulse() {}

    func setLevel(_ isAsserted: Bool) {
        state.update { state in
            if isAsserted, !state.isAsserted { state.rises += 1 }
            state.isAsserted = isAsserted
        }
    }

    func waitUntilAsserted() {
        state.wait(until: { $0.isAsserted ? () : nil })
    }
}

/// A clock that goes when it is told to, in microseconds.
final class ManualTime: Sendable {
    private let value: Mutex<Int64>

    init(_ microseconds: Int64 = 0) { value = Mutex(microseconds) }

    var now: Int64 {
        get { value.withLock { $0 } }
        set { value.withLock { $0 = newValue } }
    }

    func advance(_ microseconds: Int64) { value.withLock { $0 &+= microseconds } }
}

/// Keeps the lines that were logged.
final class LineCollector: LogSink {
    private let storage = Mutex<[String]>([])

    var lines: [String] { storage.withLock { $0 } }
    func write(_ level: LogLevel, _ message: String) { storage.withLock { $0.append(message) } }
    var logger: Logger { Logger(sink: self, level: .debug) }
}

extension BusDevice {
    func read8(_ offset: UInt64) -> UInt8 { UInt8(truncatingIfNeeded: read(at: offset, width: 1)) }
    func read16(_ offset: UInt64) -> UInt16 { UInt16(truncatingIfNeeded: read(at: offset, width: 2)) }
    func read32(_ offset: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: read(at: offset, width: 4)) }
    func write8(_ value: UInt8, _ offset: UInt64) { write(UInt64(value), at: offset, width: 1) }
    func write16(_ value: UInt16, _ offset: UInt64) { write(UInt64(value), at: offset, width: 2) }
    func write32(_ value: UInt32, _ offset: UInt64) { write(UInt64(value), at: offset, width: 4) }
}
