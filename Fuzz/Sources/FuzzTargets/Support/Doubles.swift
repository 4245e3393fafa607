internal import StratoHost
internal import StratoMemory
internal import Synchronization

/// Takes interrupts, and has no more to say.
final class SilentLine: InterruptLine {
    func pulse() {}
    func setLevel(_ isAsserted: Bool) {}
    var event: EventDescriptor? { nil }
}

/// Hands out vectors that go nowhere.
final class SilentMessages: MessageInterruptController {
    private final class Line: MessageInterruptLine {
        func route(to message: InterruptMessage?) throws(LinuxError) {}
        func pulse() {}
        var event: EventDescriptor? { nil }
    }

    func makeLine() throws(LinuxError) -> any MessageInterruptLine { Line() }
}

/// The other end of a serial line.
final class FuzzBackend: CharacterBackend {
    private struct Slot {
        weak var receiver: (any CharacterReceiver)?
    }

    private let slot = Mutex(Slot())

    func attach(_ receiver: any CharacterReceiver) { slot.withLock { $0.receiver = receiver } }
    func detach() { slot.withLock { $0.receiver = nil } }
    func write(_ bytes: Span<UInt8>) { expect(bytes.count == 1, "a UART sends byte by byte") }
    func resumeInput() {}
    var filename: String { "fuzz" }
    var droppedCount: UInt64 { 0 }
    func close() {}

    /// Sends what there is room for.
    func send(_ bytes: [UInt8]) {
        guard let receiver = slot.withLock({ $0.receiver }) else { return }
        let room = receiver.receivableCount()
        expect((0...1024).contains(room), "a UART never wants more than its buffer")
        receiver.receive(bytes.span.extracting(first: room))
    }
}

/// A clock that the input moves.
final class FuzzClock: Sendable {
    private let value: Mutex<Int64>

    init(_ microseconds: Int64) { value = Mutex(microseconds) }

    var now: Int64 { value.withLock { $0 } }

    /// Forwards or, as a host's clock may be set, backwards; within a few thousand years around 1970.
    func advance(_ microseconds: Int64) {
        let limit: Int64 = 1 << 56
        value.withLock { $0 = min(max($0 &+ microseconds, -limit), limit) }
    }
}

/// Evaluates log lines, as a log that is shown would.
final class FormattingSink: LogSink {
    func write(_ level: LogLevel, _ message: String) { expect(!message.contains("\n"), "a log line is one line") }

    static let logger = Logger(sink: FormattingSink(), level: .trace)
}

/// A range of guest addresses that is known to be one.
func guestRange(_ base: UInt64, _ size: UInt64) -> GuestRange {
    guard let range = GuestRange(base: GuestAddress(base), size: size) else { fatalError("no range at \(base)") }
    return range
}

/// Guest memory in two regions, as a machine with more than 3 GiB has it.
enum FuzzMemory {
    static let lowSize: UInt64 = 64 << 10
    static let highBase: UInt64 = 1 << 32
    static let highSize: UInt64 = 16 << 10

    static func make() throws -> GuestMemory {
        try GuestMemory([guestRange(0, lowSize), guestRange(highBase, highSize)])
    }

    /// What a guest writes into its own memory: an address of two bytes, a count of one, and that many bytes. The upper half of
    /// the addresses is the second region.
    static func patch(_ memory: GuestMemory, _ input: inout FuzzInput) {
        let place = UInt64(input.number(UInt16.self))
        let address = place < 0x8000 ? place : highBase + (place & 0x7FFF)
        let bytes = input.bytes(Int(input.byte()))
        try? memory.write(bytes, at: GuestAddress(address))
    }

    /// The input that makes `patch` write these bytes.
    static func patchBytes(_ bytes: [UInt8], at address: UInt64) -> [UInt8] {
        let place = address < highBase ? address : 0x8000 | (address - highBase)
        return little(place, 2) + [UInt8(bytes.count)] + bytes
    }
}
