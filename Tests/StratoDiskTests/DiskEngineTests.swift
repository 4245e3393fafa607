import CStratoLinux
import Foundation
import Glibc
import StratoHost
import StratoMemory
import Testing

@testable import StratoDisk

/// What is special to engines that hand requests to the kernel, and to requests that are carried out together.
@Suite("Disk engines")
struct DiskEngineTests {
    static let asynchronous: [DiskImageOptions.Engine] = [.threads, .native, .ioUring]
    static let engines: [DiskImageOptions.Engine] = [.synchronous] + asynchronous

    private func open(
        _ path: String, _ engine: DiskImageOptions.Engine, logger: Logger = .silent,
        _ change: (inout DiskImageOptions) -> Void = { _ in }
    ) throws -> DiskImage {
        var options = DiskImageOptions(path: path, isDirect: engine == .native, engine: engine)
        change(&options)
        return try DiskImage(options, logger: logger)
    }

    // MARK: Many at once

    @Test("requests of all sizes and kinds, as many as the queue is deep, each with its own data", arguments: engines)
    func fullQueue(engine: DiskImageOptions.Engine) throws {
        let depth = 256
        let file = try ScratchFile(pattern(4 << 20))
        var expected = pattern(4 << 20)
        let guest = try Guest()
        let queue = try open(file.path, engine).makeQueue(depth: depth, threadLimit: 4, logger: .silent)
        defer { queue.close() }
        queue.prepare(for: guest.memory)
        var state: UInt64 = 88172645463325252
        func random(_ limit: Int) -> Int {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return Int(state % UInt64(limit))
        }
        for round in 0..<6 {
            // Each request has 16 KiB of the disk for itself, in an order of its own: some neighbours are whole.
            var checks: [(index: Int32, place: Int, count: Int)] = []
            var batch: [Int32] = []
            for index in (0..<depth).map({ round % 2 == 0 ? $0 : ($0 * 91) % depth }) {
                let place = index * 16384
                let count = index % 3 == 0 ? 16384 : 512 * (1 + random(32))
                let buffer = try guest.buffer(UInt64(index * 32768), count)
                let kind = random(8)
                queue.fill(Int32(index)) { request in
                    request.offset = UInt64(place)
                    request.isWriteThrough = kind == 7
                    switch kind {
                    case 0: request.operation = .flush
                    case 1...3:
                        request.operation = .read
                        request.segments = [buffer]
                    default:
                        request.operation = .write
                        request.segments = [buffer]
                    }
                }
                if (1...3).contains(kind) {
                    buffer.fill(0)
                    checks.append((Int32(index), place, count))
                } else if kind > 3 {
                    let data = pattern(count, seed: round * 1000 + index)
                    buffer.copy(data.span, to: 0)
                    expected.replaceSubrange(place..<(place + count), with: data)
                }
                batch.append(Int32(index))
            }
            // In batches, as a device submits them.
            for start in stride(from: 0, to: depth, by: 32) {
                _ = queue.submit(Array(batch[start..<(start + 32)]).span)
            }
            #expect(queue.finished == Array(0..<Int32(depth)))
            #expect(batch.allSatisfy { queue.result($0) == 0 })
            for check in checks {
                let buffer = try guest.buffer(UInt64(Int(check.index) * 32768), check.count)
                #expect(buffer.bytes() == Array(expected[check.place..<(check.place + check.count)]))
            }
            #expect(try file.contents == expected)
        }
    }

    @Test("neighbours are carried out together, others are not", arguments: engines)
    func runs(engine: DiskImageOptions.Engine) throws {
        let file = try ScratchFile(pattern(1 << 20))
        let guest = try Guest()
        let image = try open(file.path, engine)
        let table = DiskRequestTable(count: 64)
        func fill(_ index: Int32, _ operation: DiskOperation, _ offset: Int, _ count: Int, isWriteThrough: Bool = false) throws {
            let buffer = try guest.buffer(UInt64(index) * 65536, count)
            table.with(index) { request in
                request.operation = operation
                request.offset = UInt64(offset)
                request.isWriteThrough = isWriteThrough
                request.removeSegments()
                request.append(buffer)
            }
        }
        func runs(_ batch: [Int32], merges: Bool = true) -> [[Int32]] {
            var result: [[Int32]] = []
            var position = 0
            while position < batch.count {
                let run = table.nextRun(batch.span, &position, merges: merges)
                var members = FixedVector<Int32>(capacity: 64)
                table.appendIndices(ofRun: run.head, to: &members)
                result.append((0..<members.count).map { members[$0] })
                #expect(run.requestCount == members.count)
                #expect(table.with(run.head) { $0.runSegmentCount } == run.segmentCount)
                #expect(table.with(run.head) { $0.runLength } == run.length)
            }
            return result
        }
        try fill(0, .read, 0, 4096)
        try fill(1, .read, 4096, 512)
        try fill(2, .read, 4608, 512)
        try fill(3, .write, 5120, 512)
        try fill(4, .write, 5632, 512)
        try fill(5, .write, 6144, 512, isWriteThrough: true)
        try fill(6, .write, 5632, 512)
        try fill(7, .flush, 6144, 512)
        #expect(runs([0, 1, 2, 3, 4, 5, 6, 7]) == [[0, 1, 2], [3, 4], [5], [6], [7]])
        #expect(runs([0, 1, 2, 3, 4], merges: false) == [[0], [1], [2], [3], [4]])
        #expect(runs([2, 1, 0]) == [[2], [1], [0]])
        #expect(runs([0, 2, 1]) == [[0], [2], [1]])
        // 32 requests are the most.
        for index in 0..<40 as Range<Int32> { try fill(index, .read, Int(index) * 512, 512) }
        #expect(runs(Array(0..<40)) == [Array(0..<32), Array(32..<40)])
        // Places near 2⁶⁴ wrap around to nothing.
        for index in 0..<2 as Range<Int32> {
            try fill(index, .read, 0, 512)
            table.with(index) { $0.offset = index == 0 ? UInt64.max - 511 : 0 }
        }
        #expect(runs([0, 1]) == [[0], [1]])
        // And so many segments that one call would not take them.
        for index in 0..<3 as Range<Int32> {
            try fill(index, .read, Int(index) * 512 * 512, 512)
            let buffer = try guest.buffer(0, 512)
            table.with(index) { request in for _ in 1..<512 { request.append(buffer) } }
        }
        #expect(runs([0, 1, 2]) == [[0, 1], [2]])
        #expect(image.mergesRequests)
    }

    @Test("what is carried out together and fails is told apart: only requests that have a reason to fail do", arguments: engines)
    func partOfRunFails(engine: DiskImageOptions.Engine) throws {
        let file = try ScratchFile(pattern(65536))
        let guest = try Guest()
        let queue = try open(file.path, engine).makeQueue(depth: 8, threadLimit: 2, logger: .silent)
        defer { queue.close() }
        // Behind the fifth request the file has become shorter.
        #expect(truncate(file.path, 5 * 4096) == 0)
        for index in 0..<8 as Range<Int32> {
            let buffer = try guest.buffer(UInt64(index) * 65536, 4096)
            buffer.fill(0)
            queue.fill(index) { request in
                request.operation = .read
                request.offset = UInt64(index) * 4096
                request.segments = [buffer]
            }
        }
        #expect(queue.finish(Array(0..<8)) == Array(0..<8))
        #expect((0..<8).map { queue.result($0) } == [0, 0, 0, 0, 0, EIO, EIO, EIO])
        for index in 0..<5 {
            let found = try guest.buffer(UInt64(index) * 65536, 4096).bytes()
            #expect(found == Array(pattern(65536)[(index * 4096)..<(index * 4096 + 4096)]))
        }
    }

    // MARK: Errors of the host

    /// Runs `body` in a process that may make files no longer than so many bytes: the disk is full there.
    private static func withFileSizeLimit(_ bytes: UInt64, _ body: () throws -> Void) throws {
        var before = rlimit()
        #expect(getrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &before) == 0)
        signal(SIGXFSZ, SIG_IGN)
        var limit = rlimit(rlim_cur: rlim_t(bytes), rlim_max: before.rlim_max)
        #expect(setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit) == 0)
        defer { setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &before) }
        try body()
    }

    @Test("a write that the host has no room for fails with the host's reason, alone, and the disk goes on", arguments: engines)
    func noRoom(engine: DiskImageOptions.Engine) async throws {
        // In a process of its own: the limit is the whole process's.
        switch engine {
        case .synchronous: await #expect(processExitsWith: .success) { try DiskEngineTests.checkNoRoom(.synchronous) }
        case .threads: await #expect(processExitsWith: .success) { try DiskEngineTests.checkNoRoom(.threads) }
        case .native: await #expect(processExitsWith: .success) { try DiskEngineTests.checkNoRoom(.native) }
        case .ioUring: await #expect(processExitsWith: .success) { try DiskEngineTests.checkNoRoom(.ioUring) }
        }
    }

    private static func checkNoRoom(_ engine: DiskImageOptions.Engine) throws {
        let file = try ScratchFile([UInt8](repeating: 0, count: 1 << 20))
        let guest = try Guest()
        let image = try DiskImage(
            DiskImageOptions(path: file.path, isDirect: engine == .native, engine: engine), logger: .silent)
        let queue = try image.makeQueue(depth: 8, threadLimit: 2, logger: .silent)
        let buffer = try guest.buffer(0, 8192)
        buffer.copy(pattern(8192).span, to: 0)
        var results: [Int32] = []
        try withFileSizeLimit(65536) {
            // Wholly inside the limit, across it, wholly outside, and inside again.
            for offset in [65536 - 8192, 65536 - 4096, 65536, 0] as [UInt64] {
                results.append(queue.write(offset, [buffer]))
            }
            // A run of which the second half is outside.
            for index in 0..<4 as Range<Int32> {
                let part = try guest.buffer(UInt64(index) * 4096, 4096)
                queue.fill(index) { request in
                    request.operation = .write
                    request.offset = 65536 - 8192 + UInt64(index) * 4096
                    request.segments = [part]
                }
            }
            _ = queue.finish([0, 1, 2, 3])
            results += (0..<4).map { queue.result($0) }
        }
        queue.close()
        let found = try Array(file.contents[0..<8192])
        guard results == [0, EFBIG, EFBIG, 0, 0, 0, EFBIG, EFBIG], found == pattern(8192) else {
            print("\(engine): \(results)")
            exit(1)
        }
    }

    @Test("a descriptor that cannot be written makes writes fail, and nothing but writes", arguments: engines)
    func errorsOfTheHost(engine: DiskImageOptions.Engine) throws {
        let file = try ScratchFile(pattern(1 << 20))
        let guest = try Guest()
        let image = try open(file.path, engine)
        let queue = try image.makeQueue(depth: 4, threadLimit: 2, logger: .silent)
        defer { queue.close() }
        let buffer = try guest.buffer(0, 4096)
        #expect(queue.read(0, [buffer]) == 0)
        // The same number, open for reading alone from now on: a kernel that has the file registered knows the old one still.
        let other = Glibc.open(file.path, O_RDONLY | O_CLOEXEC)
        #expect(dup2(other, image.descriptor.number) == image.descriptor.number)
        close(other)
        let expected: Int32 = engine == .ioUring ? 0 : EBADF
        #expect(queue.write(4096, [buffer]) == expected)
        #expect(queue.run { $0.operation = .flush } == 0)
    }

    // MARK: The interfaces

    @Test("where the kernel's interface is not to be had, threads take over, and the log says so once")
    func takeOver() throws {
        struct Missing: DiskInterface, ~Copyable {
            static let name = "missing"
            static let completesEarly = true

            init(_ image: DiskImage, depth: Int, event: EventDescriptor, memory: GuestMemory?) throws(LinuxError) {
                throw LinuxError(code: EPERM, operation: "missing")
            }

            mutating func stage(_ transfer: DiskTransfer) -> Bool { false }
            mutating func submit() {}
            mutating func unstage() -> Int32? { nil }
            mutating func next() -> (tag: Int32, result: Int)? { nil }
            mutating func wait() {}
            mutating func close() {}
        }
        let file = try ScratchFile(pattern(65536))
        let guest = try Guest()
        for isChosen in [true, false] {
            let lines = Lines()
            let logger = Logger(sink: lines, level: .info)
            var options = DiskImageOptions(path: file.path, engine: .ioUring)
            options.isEngineChosen = isChosen
            let image = try afterForks { try DiskImage(options, logger: logger) }
            for _ in 0..<3 {
                let queue = try KernelDiskQueue<Missing>(image, depth: 4, threadLimit: 2, logger: logger)
                queue.prepare(for: guest.memory)
                queue.prepare(for: guest.memory)
                let buffer = try guest.buffer(0, 4096)
                #expect(queue.read(4096, [buffer]) == 0)
                #expect(buffer.bytes() == Array(pattern(65536)[4096..<8192]))
                queue.close()
            }
            #expect(lines.all == ["image \(file.path): threads take over from aio=missing: missing: Operation not permitted"])
        }
    }

    @Test("what the kernel refuses to take is carried out by threads, in whatever step it refuses")
    func refusals() throws {
        /// Takes nothing at all, or every second transfer, or completes with an error that says nothing of the disk.
        struct Moody: DiskInterface, ~Copyable {
            static let name = "moody"
            static let completesEarly = true

            private var ring: RingDiskInterface
            private var count: Int
            private var refused: [Int32]
            private var failed: [Int32]

            /// All that can fail comes first: Swift 6.2's compiler takes it in no other order.
            init(_ image: DiskImage, depth: Int, event: EventDescriptor, memory: GuestMemory?) throws(LinuxError) {
                ring = try RingDiskInterface(image, depth: depth, event: event, memory: memory)
                count = 0
                refused = []
                failed = []
            }

            mutating func stage(_ transfer: DiskTransfer) -> Bool {
                count += 1
                switch count % 4 {
                case 0: return false
                case 1: refused.append(transfer.tag)
                case 2: failed.append(transfer.tag)
                default: return ring.stage(transfer)
                }
                return true
            }

            mutating func submit() { ring.submit() }
            mutating func unstage() -> Int32? { refused.popLast() ?? ring.unstage() }
            mutating func next() -> (tag: Int32, result: Int)? {
                failed.popLast().map { ($0, count % 3 == 0 ? -Int(EAGAIN) : 100) } ?? ring.next()
            }
            mutating func close() { ring.close() }
        }
        let file = try ScratchFile(pattern(1 << 20))
        var expected = pattern(1 << 20)
        let guest = try Guest()
        let image = try DiskImage(DiskImageOptions(path: file.path, engine: .ioUring), logger: .silent)
        let queue = try KernelDiskQueue<Moody>(image, depth: 64, threadLimit: 3, logger: .silent)
        defer { queue.close() }
        for round in 0..<20 {
            for index in 0..<64 as Range<Int32> {
                let place = (Int(index) * 2 + round % 2) * 4096
                let data = pattern(4096, seed: round * 64 + Int(index))
                let buffer = try guest.buffer(UInt64(index) * 4096, 4096)
                buffer.copy(data.span, to: 0)
                expected.replaceSubrange(place..<(place + 4096), with: data)
                queue.fill(index) { request in
                    request.operation = .write
                    request.offset = UInt64(place)
                    request.segments = [buffer]
                }
            }
            #expect(queue.finish(Array(0..<64)) == Array(0..<64))
            #expect((0..<64).allSatisfy { queue.result($0) == 0 })
        }
        #expect(try file.contents == expected)
    }

    @Test("a ring does what the disk needs and nothing else: no other operation, no other file, no other flag")
    func restrictions() throws {
        let file = try ScratchFile(pattern(65536))
        let descriptor = Glibc.open(file.path, O_RDWR | O_CLOEXEC)
        defer { close(descriptor) }
        let event = try EventDescriptor()
        var ring = csl_uring()
        try #require(csl_uring_open(&ring, 8, descriptor, event.number, nil, 0) == 0)
        defer { csl_uring_close(&ring) }
        var buffer = [UInt8](repeating: 0, count: 512)
        /// Completes one submission, changed by `change` before the kernel sees it.
        func result(_ change: (UnsafeMutablePointer<io_uring_sqe>) -> Void) -> Int32 {
            var outcome: Int32 = .min
            buffer.withUnsafeMutableBytes { bytes in
                var vector = iovec(iov_base: bytes.baseAddress, iov_len: bytes.count)
                let place = Int(ring.submission_tail & ring.submission_mask)
                #expect(csl_uring_stage(&ring, 0, &vector, 1, 0, 0, 77) == 1)
                if let entries = ring.submissions?.assumingMemoryBound(to: io_uring_sqe.self) { change(entries + place) }
                #expect(csl_uring_submit(&ring) == 0)
                var tag: UInt64 = 0
                while csl_uring_next(&ring, &tag, &outcome) == 0 { event.wait(milliseconds: 10) }
                #expect(tag == 77)
            }
            return outcome
        }
        #expect(result { _ in } == 512)
        #expect(buffer == Array(pattern(65536)[..<512]))
        for operation in 0..<60 as Range<UInt8> where ![1, 2, 3, 4, 5, 22, 23].contains(operation) {
            let code = result { $0.pointee.opcode = operation }
            #expect(code == -EACCES || code == -EINVAL, "operation \(operation)")
        }
        // A descriptor of the process's own, not the registered file.
        let other = result { entry in
            entry.pointee.flags = 0
            entry.pointee.fd = descriptor
        }
        #expect(other == -EACCES)
        // Another flag, such as one that has a thread do it.
        #expect(result { $0.pointee.flags |= 1 << 4 } == -EACCES)
        #expect(result { _ in } == 512)
    }

    @Test("memory that is there already is registered, and requests inside, across and outside of it work alike")
    func registeredMemory() throws {
        let file = try ScratchFile(pattern(1 << 20))
        var backing = GuestMemory.Backing()
        backing.isPreallocated = true
        let ranges = [(0, 1 << 20), (UInt64(1) << 32, 1 << 20)].compactMap {
            GuestRange(base: GuestAddress($0.0), size: UInt64($0.1))
        }
        let memory = try GuestMemory(ranges, backing: backing)
        let guest = try Guest()
        for isDirect in [false, true] {
            let image = try afterForks {
                try DiskImage(DiskImageOptions(path: file.path, isDirect: isDirect, engine: .ioUring), logger: .silent)
            }
            let queue = try image.makeQueue(depth: 4, threadLimit: 1, logger: .silent)
            queue.prepare(for: memory)
            for address in [0, (1 << 20) - 8192, 1 << 32, (1 << 32) + (1 << 20) - 8192] as [UInt64] {
                let buffer = try #require(memory.buffer(at: GuestAddress(address), count: 8192))
                #expect(queue.read(16384, [buffer]) == 0)
                #expect(try buffer.bytes() == Array(file.contents[16384..<24576]))
                buffer.copy(pattern(8192, seed: Int(address % 1000)).span, to: 0)
                #expect(queue.write(65536, [buffer]) == 0)
                #expect(try Array(file.contents[65536..<73728]) == pattern(8192, seed: Int(address % 1000)))
            }
            let elsewhere = try guest.buffer(0, 4096)
            #expect(queue.read(0, [elsewhere]) == 0)
            #expect(try elsewhere.bytes() == Array(file.contents[..<4096]))
            queue.close()
        }
    }

    @Test("without a thread, what has to be alone waits for nobody whose end only the caller would find")
    func noThreads() async {
        await #expect(processExitsWith: .exitCode(0)) {
            let file = try ScratchFile(pattern(1 << 20))
            let guest = try Guest()
            let image = try DiskImage(
                DiskImageOptions(path: file.path, isDirect: true, engine: .native), logger: .silent, leastAlignment: 4096)
            let queues = try (0..<2).map { _ in try image.makeQueue(depth: 8, threadLimit: 2, logger: .silent) }
            func write(_ queue: Int, _ offset: UInt64, _ count: Int) throws -> Bool {
                let buffer = try guest.buffer(UInt64(queue) * 65536, count)
                buffer.copy(pattern(count, seed: 7 + queue).span, to: 0)
                queues[queue].fill(0) { request in
                    request.operation = .write
                    request.offset = offset
                    request.segments = [buffer]
                }
                return queues[queue].submit([0].span)
            }
            func isDone(_ queue: Int) -> Bool {
                var done = FixedVector<Int32>(capacity: 8)
                queues[queue].takeCompletions(into: &done)
                return done.count == 1
            }
            // The kernel's, until it is found completed; then no thread can be started any more.
            guard try !write(0, 0, 4096), image.gate?.isEnteredShared == true else { _exit(10) }
            // Nobody cleans up after an exit.
            try FileManager.default.removeItem(at: file.directory)
            var limit = rlimit(rlim_cur: 1, rlim_max: 1)
            guard setrlimit(__rlimit_resource_t(__RLIMIT_NPROC.rawValue), &limit) == 0 else { _exit(11) }
            // Nobody's processes are counted, and root's are not.
            if getuid() == 0, setreuid(65534, 65534) != 0 { _exit(12) }
            if (try? HostThread.start(name: "none") {}) != nil { _exit(13) }
            guard try write(1, 8192, 512), isDone(1), queues[1].result(0) == EAGAIN else { _exit(14) }
            while !isDone(0) {}
            guard queues[0].result(0) == 0, image.gate?.isEnteredShared == false else { _exit(15) }
            _ = try write(1, 8192, 512)
            guard isDone(1), queues[1].result(0) == 0 else { _exit(16) }
            var expected = pattern(1 << 20)
            expected.replaceSubrange(0..<4096, with: pattern(4096, seed: 7))
            expected.replaceSubrange(8192..<8704, with: pattern(512, seed: 8))
            let buffer = try guest.buffer(1 << 20, 1 << 20)
            queues[0].fill(0) { request in
                request.operation = .read
                request.offset = 0
                request.segments = [buffer]
            }
            _ = queues[0].finish([0])
            _exit(buffer.bytes() == expected ? 0 : 17)
        }
    }

    @Test(
        "draining waits for what the kernel has, on whatever thread, and completions remain to be taken", arguments: asynchronous)
    func drain(engine: DiskImageOptions.Engine) throws {
        let file = try ScratchFile(pattern(4 << 20))
        let guest = try Guest()
        let queue = try open(file.path, engine).makeQueue(depth: 64, threadLimit: 4, logger: .silent)
        defer { queue.close() }
        for round in 0..<30 {
            for index in 0..<64 as Range<Int32> {
                let buffer = try guest.buffer(UInt64(index) * 65536, 65536)
                queue.fill(index) { request in
                    request.operation = round % 2 == 0 ? .read : .write
                    request.offset = UInt64((index * 37) % 64) * 65536
                    request.segments = [buffer]
                }
            }
            _ = queue.submit(Array(0..<64).span)
            let thread = try HostThread.start(name: "drainer") { queue.drain() }
            thread.join()
            var done = FixedVector<Int32>(capacity: 64)
            queue.takeCompletions(into: &done)
            #expect(done.count == 64)
            #expect((0..<64).allSatisfy { queue.result($0) == 0 })
        }
    }
}
