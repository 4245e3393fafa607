import Foundation
import StratoHost
import StratoMemory
import Testing

@testable import StratoDisk
@testable import StratoVirtio

/// A block device behind a transport, served by a loop of its own, with a driver in front of it.
final class BlockBench {
    static let statusUnwritten: UInt8 = 0xEE

    let guest: Guest
    let file: ScratchFile
    let image: DiskImage
    let thread: EventLoopThread
    let device: VirtioBlock
    let line = TestLine()
    let lines = Lines()
    let transport: VirtioMMIOTransport
    var queues: [DriverQueue] = []

    init(
        _ contents: [UInt8], engine: DiskImageOptions.Engine = .synchronous, queueCount: Int = 1, queueSize: UInt16 = 64,
        serial: String = "disk-1", requestsPerSecond: Int? = nil, leastAlignment: Int = 1,
        _ change: (inout DiskImageOptions) -> Void = { _ in }
    ) throws {
        guest = try Guest()
        file = try ScratchFile(contents)
        // The kernel's old interface is asynchronous for direct images alone.
        var options = DiskImageOptions(path: file.path, isDirect: engine == .native, engine: engine)
        change(&options)
        let logger = Logger(sink: lines, level: .warn)
        image = try DiskImage(options, logger: logger, leastAlignment: leastAlignment)
        thread = try EventLoopThread(name: "block-test")
        device = try VirtioBlock(
            VirtioBlock.Options(
                name: "rootfs", serial: serial, queueCount: queueCount, queueSize: queueSize,
                requestsPerSecond: requestsPerSecond), image: image, loop: thread.loop, logger: logger)
        transport = VirtioMMIOTransport(
            device: device, memory: guest.memory, base: GuestAddress(0xF010_0000), interrupt: line, doorbells: nil,
            logger: logger)
    }

    deinit {
        transport.shutDown()
        thread.stop()
    }

    /// How the device's thread is scheduled (sched(7)), as it finds itself; -1 if it does not answer.
    var threadPolicy: Int32 {
        let found = Monitor<Int32?>(nil)
        thread.loop.execute { found.update { $0 = sched_getscheduler(0) } }
        return found.wait(milliseconds: 20_000) { $0 } ?? -1
    }

    /// Starts the device with all queues, and all features unless told otherwise.
    func start(features: UInt64? = nil) throws {
        transport.negotiate(features)
        queues = []
        var base: UInt64 = 0x1000
        for (index, size) in device.queueMaximumSizes.enumerated() {
            let queue = DriverQueue(guest.memory, size: size, base: base)
            // A driver hands over clean rings.
            let empty = [UInt8](repeating: 0, count: Int(queue.end - base))
            try guest.memory.write(empty, at: GuestAddress(base))
            base = queue.end
            transport.setUp(queue, at: UInt32(index))
            queues.append(queue)
        }
        transport.set(Reg.status, 15)
        #expect(transport.status == 15)
    }

    func kick(_ queue: Int = 0) { transport.set(Reg.queueNotify, UInt32(queue)) }

    /// Waits until the device has given back `count` chains of a queue since this was last asked.
    func completions(_ count: Int, queue: Int = 0) throws -> [(head: UInt32, length: UInt32)] {
        var taken: [(head: UInt32, length: UInt32)] = []
        try line.wait {
            taken += try queues[queue].takeUsed()
            return taken.count >= count
        }
        return taken
    }

    /// Puts a request's header into guest memory.
    func putHeader(_ type: UInt32, _ sector: UInt64, at address: UInt64 = 0x40000) throws {
        try guest.memory.store(type, at: GuestAddress(address))
        try guest.memory.store(UInt32(0), at: GuestAddress(address + 4))
        try guest.memory.store(sector, at: GuestAddress(address + 8))
    }

    /// Runs one request by itself: `input` follows the header, at 0x50000; `output` is how many bytes the device may write
    /// before the status, from 0x80000 on. Answers the status, the length that the device said, and the bytes before the
    /// status.
    func request(
        _ type: UInt32, _ sector: UInt64 = 0, input: [UInt8] = [], output: Int = 0, queue: Int = 0
    ) throws -> (status: UInt8, length: UInt32, data: [UInt8]) {
        try putHeader(type, sector)
        try guest.memory.write(input, at: GuestAddress(0x50000))
        try guest.memory.write([UInt8](repeating: BlockBench.statusUnwritten, count: output + 1), at: GuestAddress(0x80000))
        var parts: [Part] = [.readable(0x40000, 16)]
        if !input.isEmpty { parts.append(.readable(0x50000, UInt32(input.count))) }
        if output > 0 { parts.append(.writable(0x80000, UInt32(output))) }
        parts.append(.writable(0x80000 + UInt64(output), 1))
        return try run(parts, output: output, queue: queue)
    }

    func run(_ parts: [Part], output: Int, queue: Int = 0) throws -> (status: UInt8, length: UInt32, data: [UInt8]) {
        let head = try queues[queue].offer(parts)
        kick(queue)
        let used = try completions(1, queue: queue)
        #expect(used.count == 1)
        #expect(used[0].head == UInt32(head))
        let bytes = try guest.memory.read(output + 1, at: GuestAddress(0x80000))
        return (bytes[output], used[0].length, Array(bytes.dropLast()))
    }
}

/// An engine that keeps requests until the test lets them go, in the order that the test wants.
final class HeldDiskQueue: DiskQueue {
    enum DrainStep: String, Sendable {
        case kernel, all
    }

    let requests: DiskRequestTable
    let completionEvent: EventDescriptor?
    private let onDrain: @Sendable (DrainStep) -> Void
    private let lock = NSCondition()
    nonisolated(unsafe) private var held: [Int32] = []
    nonisolated(unsafe) private var completed: [Int32] = []
    nonisolated(unsafe) private var most = 0
    nonisolated(unsafe) private var isDraining = false

    init(depth: Int, onDrain: @escaping @Sendable (DrainStep) -> Void = { _ in }) throws {
        self.onDrain = onDrain
        requests = DiskRequestTable(count: depth)
        completionEvent = try EventDescriptor()
    }

    /// Requests that wait, in the order in which they came.
    var waiting: [Int32] { lock.withLock { held } }

    /// The most requests that ever waited at once.
    var deepest: Int { lock.withLock { most } }

    func prepare(for memory: GuestMemory) {}

    func submit(_ indices: Span<Int32>) -> Bool {
        let added = indices.indices.map { indices[$0] }
        lock.withLock {
            held += added
            most = max(most, held.count)
            lock.broadcast()
        }
        return false
    }

    /// Completes a request that waits.
    func release(_ index: Int32) {
        lock.withLock {
            held.removeAll { $0 == index }
            completed.append(index)
            lock.broadcast()
        }
        completionEvent?.signal()
    }

    func takeCompletions(into indices: inout FixedVector<Int32>) {
        completionEvent?.consume()
        let taken = lock.withLock {
            defer { completed = [] }
            return completed
        }
        indices.append(taken.span)
    }

    func drainKernel() { onDrain(.kernel) }

    func drain() {
        onDrain(.all)
        lock.withLock {
            isDraining = true
            lock.broadcast()
            while !held.isEmpty { lock.wait() }
            isDraining = false
        }
    }

    /// Waits until somebody waits for requests in flight.
    func waitForDrain() {
        lock.withLock {
            while !isDraining { lock.wait() }
        }
    }

    func close() {}
}
