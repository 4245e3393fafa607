import Foundation
import StratoHost
import StratoMemory
import Testing

@testable import StratoVirtio

/// Guest memory in two regions with a gap between them, as on a PC.
struct Guest {
    /// The first region is 0..<1 MiB, the second 4 GiB..<4 GiB + 2 MiB.
    static let lowEnd: UInt64 = 1 << 20
    static let highBase: UInt64 = 1 << 32
    static let highEnd: UInt64 = highBase + (2 << 20)

    let memory: GuestMemory

    init() throws {
        let low = try #require(GuestRange(base: GuestAddress(0), size: Guest.lowEnd))
        let high = try #require(GuestRange(base: GuestAddress(Guest.highBase), size: 2 << 20))
        memory = try GuestMemory([low, high])
    }
}

/// A piece of memory that the driver offers in a chain.
struct Part {
    var address: UInt64
    var length: UInt32
    var isWritable: Bool

    static func readable(_ address: UInt64, _ length: UInt32) -> Part {
        Part(address: address, length: length, isWritable: false)
    }

    static func writable(_ address: UInt64, _ length: UInt32) -> Part {
        Part(address: address, length: length, isWritable: true)
    }
}

/// The driver's side of one split queue, as simple as it can be; hostile tests write to the rings themselves.
struct DriverQueue {
    static let next: UInt16 = 1
    static let write: UInt16 = 2
    static let indirect: UInt16 = 4

    let memory: GuestMemory
    let size: UInt16
    let descriptorTable: UInt64
    let availableRing: UInt64
    let usedRing: UInt64

    private(set) var nextDescriptor: UInt16 = 0
    private(set) var availableIndex: UInt16 = 0
    private(set) var seenUsed: UInt16 = 0

    /// Rings of a queue from `base` on: 16-byte aligned.
    init(_ memory: GuestMemory, size: UInt16, base: UInt64 = 0x1000) {
        self.memory = memory
        self.size = size
        descriptorTable = base
        availableRing = base + UInt64(size) * 16
        usedRing = (availableRing + UInt64(size) * 2 + 6 + 15) & ~15
    }

    var configuration: QueueConfiguration {
        QueueConfiguration(
            size: UInt32(size), descriptorTable: descriptorTable, availableRing: availableRing, usedRing: usedRing)
    }

    /// The first address behind the rings, 4 KiB aligned.
    var end: UInt64 { (usedRing + UInt64(size) * 8 + 6 + 4095) & ~4095 }

    func layout(maximumSize: UInt16? = nil) throws -> QueueLayout {
        try QueueLayout(configuration, maximumSize: maximumSize ?? size, in: memory)
    }

    func setDescriptor(
        _ index: UInt16, _ address: UInt64, _ length: UInt32, _ flags: UInt16 = 0, next: UInt16 = 0, table: UInt64? = nil
    ) throws {
        let base = (table ?? descriptorTable) + UInt64(index) * 16
        try memory.store(address, at: GuestAddress(base))
        try memory.store(length, at: GuestAddress(base + 8))
        try memory.store(flags, at: GuestAddress(base + 12))
        try memory.store(next, at: GuestAddress(base + 14))
    }

    mutating func offer(_ head: UInt16) throws {
        try memory.store(head, at: GuestAddress(availableRing + 4 + UInt64(availableIndex % size) * 2))
        availableIndex &+= 1
        try memory.store(availableIndex, at: GuestAddress(availableRing + 2))
    }

    /// Offers a chain of consecutive descriptors; returns its head.
    @discardableResult
    mutating func offer(_ parts: [Part]) throws -> UInt16 {
        let head = nextDescriptor % size
        for (position, part) in parts.enumerated() {
            let index = nextDescriptor % size
            let isLast = position == parts.count - 1
            try setDescriptor(
                index, part.address, part.length,
                (part.isWritable ? DriverQueue.write : 0) | (isLast ? 0 : DriverQueue.next), next: (index + 1) % size)
            nextDescriptor = (nextDescriptor + 1) % size
        }
        try offer(head)
        return head
    }

    /// Offers one indirect descriptor that refers to a table at `table`.
    @discardableResult
    mutating func offerIndirect(_ parts: [Part], table: UInt64) throws -> UInt16 {
        for (position, part) in parts.enumerated() {
            let isLast = position == parts.count - 1
            try setDescriptor(
                UInt16(position), part.address, part.length,
                (part.isWritable ? DriverQueue.write : 0) | (isLast ? 0 : DriverQueue.next), next: UInt16(position + 1),
                table: table)
        }
        let head = nextDescriptor % size
        try setDescriptor(head, table, UInt32(parts.count * 16), DriverQueue.indirect)
        nextDescriptor = (nextDescriptor + 1) % size
        try offer(head)
        return head
    }

    mutating func setAvailableIndex(_ value: UInt16) throws {
        availableIndex = value
        try memory.store(value, at: GuestAddress(availableRing + 2))
    }

    /// Both indices start from here, as on a queue in the middle of its life.
    mutating func start(at index: UInt16) throws {
        try setAvailableIndex(index)
        seenUsed = index
        try memory.store(index, at: GuestAddress(usedRing + 2))
    }

    var usedIndex: UInt16 {
        get throws { try memory.load(UInt16.self, at: GuestAddress(usedRing + 2)) }
    }

    /// What the device gave back since the last call.
    mutating func takeUsed() throws -> [(head: UInt32, length: UInt32)] {
        var taken: [(head: UInt32, length: UInt32)] = []
        let index = try usedIndex
        while seenUsed != index {
            let entry = usedRing + 4 + UInt64(seenUsed % size) * 8
            taken.append(
                (
                    try memory.load(UInt32.self, at: GuestAddress(entry)),
                    try memory.load(UInt32.self, at: GuestAddress(entry + 4))
                ))
            seenUsed &+= 1
        }
        return taken
    }

    func setAvailableFlags(_ value: UInt16) throws { try memory.store(value, at: GuestAddress(availableRing)) }

    func setUsedEvent(_ value: UInt16) throws {
        try memory.store(value, at: GuestAddress(availableRing + 4 + UInt64(size) * 2))
    }

    var usedFlags: UInt16 {
        get throws { try memory.load(UInt16.self, at: GuestAddress(usedRing)) }
    }

    var availableEvent: UInt16 {
        get throws { try memory.load(UInt16.self, at: GuestAddress(usedRing + 4 + UInt64(size) * 8)) }
    }
}

/// Numbers that are the same in every run.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) {
        state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
    }

    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state &* 0x2545_F491_4F6C_DD1D
    }
}

/// An interrupt that counts, and can be waited for.
final class TestLine: InterruptLine {
    private let condition = NSCondition()
    nonisolated(unsafe) private var pulses = 0

    var count: Int { condition.withLock { pulses } }

    func pulse() {
        condition.withLock {
            pulses += 1
            condition.broadcast()
        }
    }

    func setLevel(_ isAsserted: Bool) {}

    var event: EventDescriptor? { nil }

    /// Waits until `isDone` holds, which is asked after each interrupt.
    func wait(until isDone: () throws -> Bool) throws {
        let end = Date(timeIntervalSinceNow: 60)
        condition.lock()
        defer { condition.unlock() }
        while try !isDone() {
            // Interrupts may be suppressed: look again from time to time.
            _ = condition.wait(until: Date(timeIntervalSinceNow: 0.02))
            try #require(Date() < end, "the device never answered")
        }
    }
}

/// Doorbells that only remember.
final class TestDoorbells: DoorbellRegistry {
    struct Binding: Equatable {
        var event: Int32
        var address: UInt64
        var width: Int
        var match: UInt64?
    }

    private let lock = NSLock()
    nonisolated(unsafe) private var stored: [Binding] = []
    private let isRefusing: Bool

    init(isRefusing: Bool = false) {
        self.isRefusing = isRefusing
    }

    var bindings: [Binding] { lock.withLock { stored } }

    func bind(_ event: EventDescriptor, at address: GuestAddress, width: Int, match: UInt64?) throws(LinuxError) {
        if isRefusing { throw LinuxError(code: ENOSPC, operation: "bind") }
        lock.withLock { stored.append(Binding(event: event.number, address: address.value, width: width, match: match)) }
    }

    func unbind(_ event: EventDescriptor, at address: GuestAddress, width: Int, match: UInt64?) {
        let binding = Binding(event: event.number, address: address.value, width: width, match: match)
        lock.withLock { stored.removeAll { $0 == binding } }
    }
}

/// Collects log lines.
final class Lines: LogSink {
    private let lock = NSLock()
    nonisolated(unsafe) private var stored: [String] = []

    func write(_ level: LogLevel, _ message: String) {
        lock.withLock { stored.append(message) }
    }

    var all: [String] { lock.withLock { stored } }
}
