import CStratoLinux
import Foundation
import Glibc
import StratoHost
import StratoMemory
import Synchronization
import Testing

@testable import StratoDisk

/// What becomes of requests when the host's file or disk fails. A host without room is in `DiskEngineTests`.
@Suite("Disk faults")
struct DiskFaultTests {
    private func open(_ path: String, _ engine: DiskImageOptions.Engine, isDirect: Bool) throws -> DiskImage {
        try afterForks {
            try DiskImage(DiskImageOptions(path: path, isDirect: isDirect, engine: engine), logger: .silent)
        }
    }

    // MARK: Flushes

    /// Lets an image's descriptor be another file for a while.
    private func with(_ other: Int32, inPlaceOf image: DiskImage, _ body: () throws -> Void) throws {
        let number = image.descriptor.number
        let saved = fcntl(number, F_DUPFD_CLOEXEC, 0)
        try #require(saved >= 0 && dup2(other, number) == number)
        defer {
            #expect(dup2(saved, number) == number)
            close(saved)
        }
        try body()
    }

    @Test(
        "After a flush that failed no other succeeds until the image is opened anew, unless the page cache is bypassed",
        arguments: [DiskImageOptions.Engine.synchronous, .threads], [false, true])
    func failedFlush(engine: DiskImageOptions.Engine, isDirect: Bool) throws {
        let file = try ScratchFile(pattern(65536))
        let guest = try Guest()
        let buffer = try guest.buffer(0, 4096)
        buffer.copy(pattern(4096, seed: 3).span, to: 0)
        do {
            let image = try open(file.path, engine, isDirect: isDirect)
            let queue = try image.makeQueue(depth: 4, threadLimit: 2, logger: .silent)
            defer { queue.close() }
            #expect(queue.run { $0.operation = .flush } == 0)
            // What has no storage cannot be flushed.
            var ends: [Int32] = [-1, -1]
            try #require(pipe(&ends) == 0)
            defer { for end in ends { close(end) } }
            try with(ends[1], inPlaceOf: image) {
                #expect(queue.run { $0.operation = .flush } == EINVAL)
            }
            // Nothing but a flush is any worse for it.
            #expect(queue.write(8192, [buffer]) == 0)
            let other = try image.makeQueue(depth: 4, threadLimit: 2, logger: .silent)
            defer { other.close() }
            for queue in [queue, other] {
                #expect(queue.run { $0.operation = .flush } == (isDirect ? 0 : EINVAL))
                let durable = queue.run { request in
                    request.operation = .write
                    request.isWriteThrough = true
                    request.offset = 16384
                    request.segments = [buffer]
                }
                #expect(durable == (isDirect ? 0 : EINVAL))
            }
            buffer.fill(0)
            #expect(queue.read(8192, [buffer]) == 0)
            #expect(buffer.bytes() == pattern(4096, seed: 3))
        }
        let queue = try open(file.path, engine, isDirect: isDirect).makeQueue(depth: 4, threadLimit: 2, logger: .silent)
        defer { queue.close() }
        #expect(queue.run { $0.operation = .flush } == 0)
    }

    /// A ring whose first flush fails.
    private struct FailingFlush: DiskInterface, ~Copyable {
        static let name = "failing"
        static let completesEarly = true

        private var ring: RingDiskInterface
        private var hasFailed: Bool
        private var failed: [Int32]

        init(_ image: DiskImage, depth: Int, event: EventDescriptor, memory: GuestMemory?) throws(LinuxError) {
            ring = try RingDiskInterface(image, depth: depth, event: event, memory: memory)
            hasFailed = false
            failed = []
        }

        mutating func stage(_ transfer: DiskTransfer) -> Bool {
            guard transfer.kind == .flush, !hasFailed else { return ring.stage(transfer) }
            hasFailed = true
            failed.append(transfer.tag)
            return true
        }

        mutating func submit() { ring.submit() }
        mutating func unstage() -> Int32? { ring.unstage() }
        mutating func next() -> (tag: Int32, result: Int)? { failed.popLast().map { ($0, -Int(EIO)) } ?? ring.next() }
        mutating func close() { ring.close() }
    }

    @Test("The same holds where the kernel flushes by itself, and for what threads do beside it", arguments: [false, true])
    func failedFlushOfKernel(isDirect: Bool) throws {
        let file = try ScratchFile(pattern(65536))
        let image = try open(file.path, .ioUring, isDirect: isDirect)
        let queue = try KernelDiskQueue<FailingFlush>(image, depth: 4, threadLimit: 2, logger: .silent)
        defer { queue.close() }
        #expect(queue.run { $0.operation = .flush } == EIO)
        for _ in 0..<3 { #expect(queue.run { $0.operation = .flush } == (isDirect ? 0 : EIO)) }
        let other = try image.makeQueue(depth: 4, threadLimit: 2, logger: .silent)
        defer { other.close() }
        #expect(other.run { $0.operation = .flush } == (isDirect ? 0 : EIO))
        let zeroed = other.run { request in
            request.operation = .writeZeroes
            request.isWriteThrough = true
            request.ranges = [DiskRange(offset: 0, count: 4096)]
        }
        #expect(zeroed == (isDirect ? 0 : EIO))
    }

    // MARK: Images that are cut

    @Test("A part of a block that was cut off is not written: the rest of the block would be made up")
    func partOfBlock() throws {
        let file = try ScratchFile(pattern(65536))
        let guest = try Guest()
        let image = try afterForks {
            try DiskImage(
                DiskImageOptions(path: file.path, isDirect: true, engine: .synchronous), logger: .silent, leastAlignment: 4096)
        }
        let queue = try image.makeQueue(depth: 1, threadLimit: 1, logger: .silent)
        let sector = try guest.buffer(0, 512)
        sector.copy(pattern(512, seed: 5).span, to: 0)
        for size in [8192, 8192 + 700, 8192 + 1024] {
            #expect(truncate(file.path, size) == 0)
            #expect(queue.write(8192 + 2048, [sector]) == EIO)
            #expect(queue.write(16384, [sector]) == EIO)
            #expect(try file.contents.count == size)
        }
        #expect(queue.write(4096 + 512, [sector]) == 0)
        var expected = Array(pattern(65536)[..<9216])
        expected.replaceSubrange(4608..<5120, with: pattern(512, seed: 5))
        #expect(try file.contents == Array(expected[..<8192]) + (try file.contents)[8192...])
        // A whole block leaves nothing to be made up.
        let block = try guest.buffer(4096, 4096)
        block.copy(pattern(4096, seed: 6).span, to: 0)
        #expect(queue.write(12288, [block]) == 0)
        #expect(try Array(file.contents[12288...]) == pattern(4096, seed: 6))
    }

    /// What no byte of a pattern is, each of which is odd.
    private static let mark: UInt8 = 0xEE

    @Test(
        "Reads from an image that was cut give its bytes as far as it goes and fail behind, alone or merged, wherever it was cut",
        arguments: DiskEngineTests.engines, [false, true])
    func cutImage(engine: DiskImageOptions.Engine, isDirect: Bool) throws {
        // Asynchronous for direct images alone.
        guard isDirect || engine != .native else { return }
        let size = 256 << 10
        let contents = pattern(size)
        let file = try ScratchFile(contents)
        let guest = try Guest()
        let image = try open(file.path, engine, isDirect: isDirect)
        let queue = try image.makeQueue(depth: 32, threadLimit: 3, logger: .silent)
        defer { queue.close() }
        var random = CutGenerator(state: 7)
        let cuts =
            [0, 1, 511, 512, 4096, 8192, 8193, 65536 + 700, size - 1]
            + (0..<8).map { _ in Int.random(in: 0..<size, using: &random) }
        for cut in cuts {
            try Data(contents).write(to: URL(fileURLWithPath: file.path), options: [])
            #expect(truncate(file.path, cut) == 0)
            // Neighbours, so that they are merged, and every third by itself.
            var buffers: [(index: Int32, offset: Int, buffer: GuestBuffer)] = []
            for index in 0..<32 as Range<Int32> {
                let offset = Int(index) * 8192 + (index % 3 == 2 ? 512 : 0)
                let count = index % 3 == 2 ? 4096 : 8192
                let buffer = try guest.buffer(UInt64(index) * 65536, count)
                buffer.fill(DiskFaultTests.mark)
                queue.fill(index) { request in
                    request.operation = .read
                    request.offset = UInt64(offset)
                    request.segments = [buffer]
                }
                buffers.append((index, offset, buffer))
            }
            #expect(queue.finish(Array(0..<32)) == Array(0..<32))
            for (index, offset, buffer) in buffers {
                let found = buffer.bytes()
                let expected = Array(contents[offset..<(offset + found.count)])
                #expect(queue.result(index) == (offset + found.count <= cut ? 0 : EIO), "cut at \(cut), request at \(offset)")
                // Past the end of a file direct I/O may transfer the rest of a block, of which the kernel has made zeros.
                let isPlain = zip(found, expected).allSatisfy { $0 == $1 || $0 == DiskFaultTests.mark || isDirect && $0 == 0 }
                #expect(isPlain, "cut at \(cut): bytes that are not the image's at \(offset)")
                if queue.result(index) == 0 { #expect(found == expected) }
            }
            // Writes make it longer again.
            let last = try guest.buffer(0, 4096)
            last.copy(pattern(4096, seed: 8).span, to: 0)
            #expect(queue.write(UInt64(size - 4096), [last]) == 0)
            #expect(queue.read(UInt64(size - 4096), [last]) == 0)
            #expect(last.bytes() == pattern(4096, seed: 8))
        }
    }

    @Test(
        "An image that is cut and written again while it is read never gives anything but its bytes, zeros, or an error",
        arguments: DiskEngineTests.engines)
    func cutWhileRead(engine: DiskImageOptions.Engine) throws {
        let size = 256 << 10
        let contents = pattern(size)
        let file = try ScratchFile(contents)
        let guest = try Guest()
        let image = try open(file.path, engine, isDirect: engine == .native)
        let queue = try image.makeQueue(depth: 32, threadLimit: 3, logger: .silent)
        defer { queue.close() }
        let cutter = try CutterThread(path: file.path, contents: contents)
        defer { cutter.end() }
        for _ in 0..<60 {
            var buffers: [GuestBuffer] = []
            for index in 0..<32 as Range<Int32> {
                let buffer = try guest.buffer(UInt64(index) * 65536, 8192)
                buffer.fill(DiskFaultTests.mark)
                queue.fill(index) { request in
                    request.operation = .read
                    request.offset = UInt64(index) * 8192
                    request.segments = [buffer]
                }
                buffers.append(buffer)
            }
            #expect(queue.finish(Array(0..<32)) == Array(0..<32))
            for index in 0..<32 {
                #expect([0, EIO].contains(queue.result(Int32(index))))
                let expected = contents[(index * 8192)..<(index * 8192 + 8192)]
                // The kernel itself shows zeros to who reads the last page in the moment of the cut.
                let found = buffers[index].bytes()
                #expect(zip(found, expected).allSatisfy { $0 == $1 || $0 == 0 || $0 == DiskFaultTests.mark })
            }
        }
        #expect(cutter.count > 0)
    }
}

/// A generator with a seed, so that what fails once fails again (xorshift64).
private struct CutGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }
}

/// Cuts a file and fills it up again, over and over, on a thread of its own.
private final class CutterThread: Sendable {
    private final class Progress: Sendable {
        let isOver = Atomic(false)
        let count = Atomic(0)
    }

    private let progress = Progress()
    private let thread: HostThread

    init(path: String, contents: [UInt8]) throws {
        let progress = progress
        thread = try HostThread.start(name: "cutter") {
            let descriptor = Glibc.open(path, O_WRONLY | O_CLOEXEC)
            defer { close(descriptor) }
            var random = CutGenerator(state: 11)
            while !progress.isOver.load(ordering: .relaxed) {
                let cut = Int.random(in: 0..<contents.count, using: &random)
                guard ftruncate(descriptor, cut) == 0 else { return }
                contents.withUnsafeBytes { bytes in
                    _ = pwrite(descriptor, bytes.baseAddress.map { $0 + cut }, bytes.count - cut, cut)
                }
                progress.count.add(1, ordering: .relaxed)
            }
        }
    }

    var count: Int { progress.count.load(ordering: .relaxed) }

    func end() {
        progress.isOver.store(true, ordering: .relaxed)
        thread.join()
    }
}
