#if arch(x86_64)
import Foundation
import StratoHost
import StratoMemory
import Synchronization
import Testing

@testable import StratoVMM

/// Keeps what is logged.
final class CollectingSink: LogSink {
    private let lines = Mutex<[(level: LogLevel, message: String)]>([])

    func write(_ level: LogLevel, _ message: String) {
        lines.withLock { $0.append((level, message)) }
    }

    var messages: [String] { lines.withLock { $0.map(\.message) } }
    func messages(at level: LogLevel) -> [String] { lines.withLock { $0.filter { $0.level == level }.map(\.message) } }
}

/// A machine with its control loop, whose memory the test can see: it is a file that both have mapped.
final class ControlledMachine: Sendable {
    /// What a machine has unless its configuration is adjusted.
    static let memorySize = MemorySize.mebibytes(128)

    let scratch: Scratch
    let controller: MachineController
    let log: CollectingSink
    private let thread: EventLoopThread
    private let history = Monitor<[MachineEvent]>([])

    /// - Parameters:
    ///   - kernel: written to a file of its own.
    ///   - adjust: adds to a configuration that has the kernel and the memory.
    convenience init(
        _ kernel: TinyKernel = TinyKernel(), as format: TinyKernel.Format = .raw,
        adjust: (inout VirtualMachineConfiguration, Scratch) throws -> Void = { _, _ in }
    ) throws {
        let scratch = try Scratch()
        try kernel.write(to: scratch.file("kernel"), as: format)
        var configuration = VirtualMachineConfiguration()
        configuration.bootLoader = LinuxBootLoader(kernel: scratch.file("kernel"))
        configuration.memory = MemoryConfiguration(size: ControlledMachine.memorySize)
        configuration.memory.path = scratch.file("memory")
        configuration.memory.isShared = true
        try adjust(&configuration, scratch)
        try configuration.validate()
        try self.init(unchecked: configuration, scratch)
    }

    /// A machine of a configuration that was not checked; it logs everything down to debug lines.
    init(unchecked configuration: VirtualMachineConfiguration, _ scratch: Scratch) throws {
        self.scratch = scratch
        log = CollectingSink()
        thread = try EventLoopThread(name: "control")
        controller = MachineController(
            configuration, loop: thread.loop, logger: Logger(sink: log, level: .debug))
        let history = history
        controller.observe { event in history.update { $0.append(event) } }
    }

    deinit {
        end()
    }

    /// Ends the machine, if it has not ended, and waits for that.
    func end() {
        controller.shutDown(.hostSignal)
        // What was handed to the loop before its end is still done.
        thread.stop()
    }

    var events: [MachineEvent] { history.read { $0 } }

    /// Waits for an event that has come or will come; false if it does not come in time.
    @discardableResult
    func wait(for event: MachineEvent, seconds: Int = 60) -> Bool {
        history.wait(milliseconds: seconds * 1000) { $0.contains(event) ? true : nil } ?? false
    }

    /// Waits for the machine's end; nil if it goes on for too long.
    func waitForEnd(seconds: Int = 60) -> ShutdownReason? {
        history.wait(milliseconds: seconds * 1000) { events in
            for case .shutdown(let reason) in events { return reason }
            return nil
        }
    }

    /// Runs the machine to its end.
    func run(seconds: Int = 60) throws -> ShutdownReason? {
        try controller.start()
        return waitForEnd(seconds: seconds)
    }

    /// The guest's first 128 MiB, from the machine's making on.
    func memory() throws -> GuestMemory {
        var backing = GuestMemory.Backing()
        backing.path = scratch.file("memory")
        backing.isShared = true
        let range = try #require(GuestRange(base: GuestAddress(0), size: ControlledMachine.memorySize.bytes))
        return try GuestMemory([range], backing: backing)
    }

    /// What a guest has read.
    func value(of result: GuestProgram.Result) throws -> UInt64 {
        try memory().load(UInt64.self, at: GuestAddress(result.address))
    }
}
#endif
