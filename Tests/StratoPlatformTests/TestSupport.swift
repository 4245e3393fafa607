import StratoHost
import StratoMemory
import Synchronization

/// Counts edges.
final class TestLine: InterruptLine {
    private let pulses = Mutex(0)
    private let levels = Mutex(0)

    func pulse() { pulses.withLock { $0 += 1 } }
    func setLevel(_ isAsserted: Bool) { levels.withLock { $0 += 1 } }
    var event: EventDescriptor? { nil }

    var levelCount: Int { levels.withLock { $0 } }

    /// How many since the last call.
    func take() -> Int {
        pulses.withLock { count in
            defer { count = 0 }
            return count
        }
    }
}

/// Keeps what was written, and plays the host's side.
final class TestBackend: CharacterBackend {
    private struct State {
        var written: [UInt8] = []
        var resumes = 0
        weak var receiver: (any CharacterReceiver)?
    }

    private let state = Mutex(State())

    func attach(_ receiver: any CharacterReceiver) { state.withLock { $0.receiver = receiver } }
    func detach() { state.withLock { $0.receiver = nil } }
    func write(_ bytes: Span<UInt8>) {
        state.withLock { state in
            for index in bytes.indices { state.written.append(bytes[index]) }
        }
    }
    func resumeInput() { state.withLock { $0.resumes += 1 } }
    var filename: String { "test" }
    var droppedCount: UInt64 { 0 }
    func close() {}

    var written: [UInt8] { state.withLock { $0.written } }
    var resumes: Int { state.withLock { $0.resumes } }
    var receiver: (any CharacterReceiver)? { state.withLock { $0.receiver } }

    /// Sends as much as there is room for; returns how much.
    @discardableResult
    func send(_ bytes: [UInt8]) -> Int {
        guard let receiver else { return 0 }
        let room = min(bytes.count, receiver.receivableCount())
        if room > 0 { receiver.receive(Array(bytes.prefix(room)).span) }
        return room
    }
}

/// How often a callback was called.
final class Counter: Sendable {
    private let value = Mutex(0)
    func increment() { value.withLock { $0 += 1 } }
    var count: Int { value.withLock { $0 } }
}

/// The same numbers on every run, so that a failure can be looked at again.
struct SplitMix64: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}

/// Accesses of every width, aligned and not, with any value, inside a device's range and beyond.
func hammer(_ device: any BusDevice, size: UInt64, seed: UInt64) {
    var generator = SplitMix64(seed: seed)
    for _ in 0..<50_000 {
        let width = Int.random(in: 1...8, using: &generator)
        let offset =
            Int.random(in: 0..<20, using: &generator) == 0
            ? UInt64.random(in: .min ... .max, using: &generator) : UInt64.random(in: 0..<size, using: &generator)
        if Bool.random(using: &generator) {
            let mask: UInt64 = width == 8 ? .max : (1 << UInt64(8 * width)) - 1
            device.write(generator.next() & mask, at: offset, width: width)
        } else {
            _ = device.read(at: offset, width: width)
        }
    }
}
