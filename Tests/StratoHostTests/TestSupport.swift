import Foundation
import Synchronization
import Testing

@testable import StratoHost

/// Waits until a condition holds; a condition that never comes to hold is a failed test, not a stuck one.
func eventually(
    within seconds: Double = 20, sourceLocation: SourceLocation = #_sourceLocation, _ condition: () -> Bool
) {
    let deadline = Date(timeIntervalSinceNow: seconds)
    while !condition() {
        guard Date() < deadline else {
            Issue.record("the condition did not come to hold", sourceLocation: sourceLocation)
            return
        }
        usleep(500)
    }
}

/// Runs a body on a thread as the monitor's are: with every signal blocked.
func onHostThread(_ body: @escaping @Sendable () -> Void) throws {
    try HostThread.start(name: "test", body).join()
}

/// Values put together by several threads.
final class Collector<Element: Sendable>: Sendable {
    private let storage = Mutex<[Element]>([])

    func append(_ element: Element) { storage.withLock { $0.append(element) } }
    var elements: [Element] { storage.withLock { $0 } }
    var count: Int { storage.withLock { $0.count } }
}

/// A directory that goes with the test.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("strato-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }

    func file(_ name: String) -> String { "\(path)/\(name)" }
}

/// A pipe whose ends are closed with it.
final class TestPipe: @unchecked Sendable {
    private(set) var reader: Int32
    private(set) var writer: Int32

    init() {
        var ends: [Int32] = [-1, -1]
        #expect(pipe(&ends) == 0)
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        reader = ends[0]
        writer = ends[1]
    }

    deinit {
        closeReader()
        closeWriter()
    }

    func closeReader() {
        if reader >= 0 { close(reader) }
        reader = -1
    }

    func closeWriter() {
        if writer >= 0 { close(writer) }
        writer = -1
    }
}

/// Reads what is there now.
func readAvailable(_ descriptor: Int32, limit: Int = 1 << 20) -> [UInt8] {
    var result: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4096)
    while result.count < limit {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&entry, 1, 0) == 1, entry.revents & Int16(POLLIN) != 0 else { break }
        let amount = read(descriptor, &chunk, min(chunk.count, limit - result.count))
        guard amount > 0 else { break }
        result += chunk[..<amount]
    }
    return result
}

/// Writes everything, waiting where it must.
func writeAll(_ descriptor: Int32, _ bytes: [UInt8]) {
    var done = 0
    while done < bytes.count {
        let amount = bytes[done...].withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        guard amount > 0 else { return }
        done += amount
    }
}

/// Keeps log lines.
final class CollectingSink: LogSink {
    let lines = Collector<String>()
    func write(_ level: LogLevel, _ message: String) { lines.append("\(level.label) \(message)") }
}

/// A receiver with as much room as the test gives it.
final class TestReceiver: CharacterReceiver {
    private struct State {
        var room: Int
        var bytes: [UInt8] = []
        var connections: [Bool] = []
        var overruns = 0
    }

    private let state: Mutex<State>

    init(room: Int = .max) {
        state = Mutex(State(room: room))
    }

    func receivableCount() -> Int { state.withLock { $0.room } }

    func receive(_ bytes: Span<UInt8>) {
        state.withLock { state in
            if bytes.count > state.room { state.overruns += 1 }
            for index in bytes.indices { state.bytes.append(bytes[index]) }
            if state.room != .max { state.room -= min(state.room, bytes.count) }
        }
    }

    func connectionChanged(isOpen: Bool) { state.withLock { $0.connections.append(isOpen) } }

    func give(_ room: Int) { state.withLock { $0.room = room } }
    var bytes: [UInt8] { state.withLock { $0.bytes } }
    var text: String { String(decoding: bytes, as: UTF8.self) }
    var connections: [Bool] { state.withLock { $0.connections } }
    var overruns: Int { state.withLock { $0.overruns } }
}
