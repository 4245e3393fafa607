import Foundation
import StratoHost
import StratoMemory

@testable import StratoPCI

/// Registers that remember what was written, and where the guest reached them.
final class TestRegisters: BusDevice {
    let name: String
    private let lock = NSLock()
    nonisolated(unsafe) private var bytes: [UInt64: UInt8] = [:]
    nonisolated(unsafe) private var moves: [UInt64?] = []

    init(_ name: String = "registers") {
        self.name = name
    }

    func read(at offset: UInt64, width: Int) -> UInt64 {
        lock.withLock {
            (0..<width).reduce(0) { $0 | UInt64(bytes[offset + UInt64($1)] ?? 0) << UInt64(8 * $1) }
        }
    }

    func write(_ value: UInt64, at offset: UInt64, width: Int) {
        lock.withLock {
            for index in 0..<width {
                bytes[offset + UInt64(index)] = UInt8(truncatingIfNeeded: value >> UInt64(8 * index))
            }
        }
    }

    func noteMove(_ address: GuestAddress?) { lock.withLock { moves.append(address?.value) } }

    /// The addresses that the map told of, in order.
    var places: [UInt64?] { lock.withLock { moves } }
}

/// A level-triggered line that remembers each change.
final class TestLine: InterruptLine {
    private let lock = NSLock()
    nonisolated(unsafe) private var changes: [Bool] = []

    var levels: [Bool] { lock.withLock { changes } }
    var level: Bool { levels.last ?? false }

    func pulse() {}
    func setLevel(_ isAsserted: Bool) { lock.withLock { changes.append(isAsserted) } }
    var event: EventDescriptor? { nil }
}

/// Message-signalled interrupts that are written down.
final class TestMessages: MessageInterruptController {
    private let lock = NSLock()
    nonisolated(unsafe) private var messages: [InterruptMessage] = []
    nonisolated(unsafe) private var routeCount = 0
    nonisolated(unsafe) private var living = 0
    nonisolated(unsafe) private var isRefusingLines = false
    nonisolated(unsafe) private var isRefusingRoutes = false

    /// What was sent, in order.
    var sent: [InterruptMessage] { lock.withLock { messages } }
    /// How often a vector was pointed somewhere.
    var routes: Int { lock.withLock { routeCount } }
    /// Vectors that have not been given back.
    var lines: Int { lock.withLock { living } }

    func refuse(lines: Bool = false, routes: Bool = false) {
        lock.withLock {
            isRefusingLines = lines
            isRefusingRoutes = routes
        }
    }

    /// What was sent since this was last asked.
    func take() -> [InterruptMessage] {
        lock.withLock {
            defer { messages = [] }
            return messages
        }
    }

    func makeLine() throws(LinuxError) -> any MessageInterruptLine {
        let isRefused = lock.withLock { isRefusingLines }
        if isRefused { throw LinuxError(code: ENOSPC, operation: "make a vector") }
        lock.withLock { living += 1 }
        return Line(self)
    }

    private final class Line: MessageInterruptLine {
        private let owner: TestMessages
        nonisolated(unsafe) private var target: InterruptMessage?

        init(_ owner: TestMessages) { self.owner = owner }
        deinit { owner.lock.withLock { owner.living -= 1 } }

        func route(to message: InterruptMessage?) throws(LinuxError) {
            let isRefused = owner.lock.withLock { owner.isRefusingRoutes }
            if isRefused { throw LinuxError(code: EINVAL, operation: "route a vector") }
            owner.lock.withLock {
                target = message
                owner.routeCount += 1
            }
        }

        func pulse() {
            owner.lock.withLock { if let target { owner.messages.append(target) } }
        }

        var event: EventDescriptor? { nil }
    }
}

/// Collects log lines.
final class Lines: LogSink {
    private let lock = NSLock()
    nonisolated(unsafe) private var stored: [String] = []

    func write(_ level: LogLevel, _ message: String) { lock.withLock { stored.append(message) } }

    var all: [String] { lock.withLock { stored } }
}

/// Numbers that are the same in every run.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = (seed &+ 1) &* 0x9E37_79B9_7F4A_7C15 | 1 }

    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state &* 0x2545_F491_4F6C_DD1D
    }
}

/// A function of whatever base addresses, MSI-X and capabilities a test wants.
final class TestFunction: PCIFunction {
    let core: PCIFunctionCore
    let isMultifunction: Bool
    let registers: [TestRegisters]
    let msix: MSIX?
    private let lock = NSLock()
    nonisolated(unsafe) private var noted: [String] = []

    static let vendor: UInt16 = 0xDEAD

    init(
        _ name: String, device: UInt16 = 0xBEEF, size: PCIConfigurationSpace.Size = .conventional,
        ranges: [(index: Int, kind: PCIBaseAddress.Kind, size: UInt64)] = [], vectors: Int = 0, vectorRegister: Int = 1,
        messages: TestMessages = TestMessages(), hasPower: Bool = false, pin: UInt8 = 1, isMultifunction: Bool = false,
        logger: Logger = .silent
    ) throws {
        var space = PCIConfigurationSpace(
            device: PCIIdentity(
                vendor: TestFunction.vendor, device: device, classCode: 0xFF_00_00, subsystemVendor: 1, subsystem: 2),
            size: size, isMultifunction: isMultifunction)
        registers = ranges.map { TestRegisters("\(name) \($0.index)") }
        var bases = zip(ranges, registers).map { range, device in
            PCIBaseAddress(range.index, range.kind, size: range.size, device: device, onMove: { device.noteMove($0) })
        }
        var table: (MSIX, Int)?
        if vectors > 0 {
            let msix = try MSIX(name, vectorCount: vectors, controller: messages, logger: logger)
            table = (msix, try space.addMSIX(msix, baseAddress: vectorRegister))
            bases.append(PCIBaseAddress(vectorRegister, .memory32(isPrefetchable: false), size: msix.size, device: msix))
        }
        let power = hasPower ? try space.addPowerManagement() : nil
        core = try PCIFunctionCore(
            name, space, baseAddresses: bases, msix: table, powerManagement: power, pin: PCIInterruptPin(pin))
        msix = table?.0
        self.isMultifunction = isMultifunction
    }

    /// The calls of the life cycle, in order.
    var calls: [String] { lock.withLock { noted } }
    private func note(_ call: String) { lock.withLock { noted.append(call) } }

    var name: String { core.name }
    func readConfiguration(at offset: Int, width: Int) -> UInt64 { core.read(at: offset, width: width) }
    func writeConfiguration(_ value: UInt64, at offset: Int, width: Int) { core.write(value, at: offset, width: width) }
    func attach(_ attachment: PCIAttachment) {
        note("attach")
        core.attach(attachment)
    }
    func detach() {
        note("detach")
        core.detach()
    }
    func reset() {
        note("reset")
        core.reset()
    }
    func pause() { note("pause") }
    func resume() { note("resume") }
    func shutDown() { note("shutDown") }
    var summary: PCIFunctionSummary { core.summary }
    func saveState() -> [UInt8] { core.saveState() }
    func restoreState(_ bytes: [UInt8]) throws(PCIError) { try core.restoreState(bytes) }
}
