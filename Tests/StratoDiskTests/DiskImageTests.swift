import CStratoLinux
import Foundation
import StratoHost
import StratoMemory
import Synchronization
import Testing

@testable import StratoDisk

/// The ways in which a request can reach the file.
struct Way: Sendable, CustomTestStringConvertible {
    var engine: DiskImageOptions.Engine
    var isDirect: Bool
    var leastAlignment = 1

    static let all = [
        Way(engine: .synchronous, isDirect: false), Way(engine: .threads, isDirect: false),
        Way(engine: .synchronous, isDirect: true), Way(engine: .threads, isDirect: true),
        Way(engine: .synchronous, isDirect: true, leastAlignment: 4096),
        Way(engine: .threads, isDirect: true, leastAlignment: 4096),
        Way(engine: .native, isDirect: true), Way(engine: .native, isDirect: true, leastAlignment: 4096),
        Way(engine: .ioUring, isDirect: false), Way(engine: .ioUring, isDirect: true),
        Way(engine: .ioUring, isDirect: true, leastAlignment: 4096),
    ]

    /// Those that keep several requests in flight.
    static let concurrent = all.filter { $0.engine != .synchronous }

    var testDescription: String { "\(engine), direct=\(isDirect), alignment \(leastAlignment) or more" }

    func open(_ path: String, _ change: (inout DiskImageOptions) -> Void = { _ in }) throws -> DiskImage {
        var options = DiskImageOptions(path: path, isDirect: isDirect, engine: engine)
        change(&options)
        return try DiskImage(options, logger: .silent, leastAlignment: leastAlignment)
    }
}

@Suite("Disk images")
struct DiskImageTests {
    @Test("a guest buffer is laid out as the kernel's iovec")
    func layout() throws {
        let guest = try Guest()
        let buffer = try guest.buffer(8192, 777)
        #expect(MemoryLayout<GuestBuffer>.size == MemoryLayout<iovec>.size)
        #expect(MemoryLayout<GuestBuffer>.stride == MemoryLayout<iovec>.stride)
        let vector = withUnsafeBytes(of: buffer) { $0.load(as: iovec.self) }
        #expect(vector.iov_base == buffer.hostAddress)
        #expect(vector.iov_len == 777)
    }

    @Test("what is written is read back, through segments of every size and alignment", arguments: Way.all)
    func roundTrip(way: Way) throws {
        let file = try ScratchFile([UInt8](repeating: 0xAA, count: 1 << 20))
        let guest = try Guest()
        let image = try way.open(file.path)
        let queue = try image.makeQueue(depth: 4, threadLimit: 2, logger: .silent)
        defer { queue.close() }
        var expected = [UInt8](repeating: 0xAA, count: 1 << 20)
        // Sizes that sum up to whole sectors, cut at odd places.
        for (offset, sizes) in [
            (0, [512]), (512, [1, 511]), (4096, [4096]), (1024, [100, 924, 512]), (8192, [512, 4096, 3584, 8192]),
            (512 * 7, [4096 * 3]), (65536, [3, 65536 - 3]), (131072, Array(repeating: 512, count: 64)),
            (262144, [512 * 781]),
        ] {
            let total = sizes.reduce(0, +)
            let data = pattern(total, seed: offset)
            var segments: [GuestBuffer] = []
            var done = 0
            for (index, size) in sizes.enumerated() {
                let segment = try guest.buffer(UInt64(index * 131_072 + index % 3), size)
                segment.copy(Array(data[done..<(done + size)]).span, to: 0)
                segments.append(segment)
                done += size
            }
            #expect(queue.write(UInt64(offset), segments) == 0)
            // Nothing but what was written has changed.
            expected.replaceSubrange(offset..<(offset + total), with: data)
            #expect(try file.contents == expected, "\(offset) \(sizes)")
            for segment in segments { segment.fill(0) }
            #expect(queue.read(UInt64(offset), segments) == 0)
            #expect(segments.flatMap { $0.bytes() } == data)
        }
    }

    @Test("more segments than one system call takes", arguments: Way.all)
    func manySegments(way: Way) throws {
        let file = try ScratchFile([UInt8](repeating: 0, count: 2 << 20))
        let guest = try Guest()
        let queue = try way.open(file.path).makeQueue(depth: 1, threadLimit: 1, logger: .silent)
        defer { queue.close() }
        let data = pattern(512 * 3000)
        try guest.memory.write(data, at: GuestAddress(4096))
        // Every second sector from behind, so that no two segments are neighbours.
        let order = (0..<3000).map { ($0 * 7) % 3000 }
        let segments = try order.map { try guest.buffer(UInt64(4096 + $0 * 512), 512) }
        #expect(queue.write(0, segments) == 0)
        let expected = order.flatMap { data[($0 * 512)..<($0 * 512 + 512)] }
        #expect(try Array(file.contents[0..<(512 * 3000)]) == expected)
    }

    @Test("CVE-2026-27211: a header of another format, written by the guest, is data like any other", arguments: Way.all)
    func foreignHeader(way: Way) throws {
        let file = try ScratchFile(pattern(1 << 20))
        // A qcow2 header of version 3 whose backing file is named at byte 104 (QEMU, docs/interop/qcow2.txt, "Header").
        var header = [UInt8](repeating: 0, count: 4096)
        header.replaceSubrange(0..<8, with: [0x51, 0x46, 0x49, 0xFB, 0, 0, 0, 3])
        header[15] = 104
        header[19] = 11
        header.replaceSubrange(104..<115, with: Array("/etc/passwd".utf8))
        let guest = try Guest()
        for _ in 0..<2 {
            let image = try way.open(file.path)
            #expect(image.capacity == 1 << 20)
            let queue = try image.makeQueue(depth: 1, threadLimit: 1, logger: .silent)
            defer { queue.close() }
            let sent = try guest.buffer(4096, 4096)
            sent.copy(header.span, to: 0)
            #expect(queue.write(0, [sent]) == 0)
            let received = try guest.buffer(65536, 4096)
            #expect(queue.read(0, [received]) == 0)
            #expect(received.bytes() == header)
        }
        #expect(try Array(file.contents[4096...]) == Array(pattern(1 << 20)[4096...]))
    }

    @Test("a last sector that is not whole reads as filled up with zeros, and becomes whole when written", arguments: Way.all)
    func partialSector(way: Way) throws {
        let file = try ScratchFile(pattern(4096 + 700))
        let guest = try Guest()
        let image = try way.open(file.path)
        #expect(image.capacity == 4096 + 1024)
        let queue = try image.makeQueue(depth: 1, threadLimit: 1, logger: .silent)
        defer { queue.close() }
        let buffer = try guest.buffer(4096, 2048)
        buffer.fill(0xEE)
        #expect(queue.read(4096 - 1024, [buffer]) == 0)
        let expected = Array(pattern(4096 + 700)[3072...]) + [UInt8](repeating: 0, count: 324)
        #expect(buffer.bytes() == expected)
        let last = try guest.buffer(16384, 512)
        last.copy(pattern(512, seed: 9).span, to: 0)
        #expect(queue.write(4096 + 512, [last]) == 0)
        #expect(try file.contents.count == 5120)
        #expect(try Array(file.contents[4608...]) == pattern(512, seed: 9))
        #expect(try Array(file.contents[..<4608]) == Array(pattern(4796)[..<4608]))
        buffer.fill(0)
        #expect(queue.read(3072, [buffer]) == 0)
        #expect(try buffer.bytes() == Array(file.contents[3072...]))
    }

    @Test("requests past the end, off the sectors or near 2⁶⁴ fail, and the file stays as it is", arguments: Way.all)
    func bounds(way: Way) throws {
        let file = try ScratchFile(pattern(8192))
        let guest = try Guest()
        let queue = try way.open(file.path).makeQueue(depth: 1, threadLimit: 1, logger: .silent)
        defer { queue.close() }
        let sector = try guest.buffer(0, 512)
        for offset in [8192, 8192 - 256, 1, UInt64.max, UInt64.max - 511, 1 << 63, UInt64(Int64.max) - 511] as [UInt64] {
            #expect(queue.write(offset, [sector]) == EINVAL, "\(offset)")
            #expect(queue.read(offset, [sector]) == EINVAL, "\(offset)")
            for operation in [DiskOperation.discard, .writeZeroes] {
                let code = queue.run { request in
                    request.operation = operation
                    request.ranges = [DiskRange(offset: offset, count: 512)]
                }
                #expect(code == EINVAL)
            }
        }
        #expect(queue.write(0, [try guest.buffer(0, 100)]) == EINVAL)
        #expect(try file.contents == pattern(8192))
    }

    @Test("a read-only image is read and never changed", arguments: Way.all)
    func readOnly(way: Way) throws {
        let file = try ScratchFile(pattern(8192))
        try FileManager.default.setAttributes([.posixPermissions: 0o400], ofItemAtPath: file.path)
        let guest = try Guest()
        let queue = try way.open(file.path) { $0.isReadOnly = true }.makeQueue(depth: 1, threadLimit: 1, logger: .silent)
        defer { queue.close() }
        let buffer = try guest.buffer(4096, 4096)
        #expect(queue.read(4096, [buffer]) == 0)
        #expect(buffer.bytes() == Array(pattern(8192)[4096...]))
        #expect(queue.write(0, [buffer]) == EROFS)
        for operation in [DiskOperation.discard, .writeZeroes] {
            let code = queue.run { request in
                request.operation = operation
                request.ranges = [DiskRange(offset: 0, count: 4096)]
            }
            #expect(code == EROFS)
        }
        #expect(queue.run { $0.operation = .flush } == 0)
        #expect(try file.contents == pattern(8192))
    }

    @Test("a file that became shorter gives an error, not zeros")
    func truncated() throws {
        let file = try ScratchFile(pattern(1 << 16))
        let guest = try Guest()
        let image = try DiskImage(DiskImageOptions(path: file.path, engine: .synchronous), logger: .silent)
        let queue = try image.makeQueue(depth: 1, threadLimit: 1, logger: .silent)
        #expect(truncate(file.path, 4096) == 0)
        #expect(queue.read(0, [try guest.buffer(0, 8192)]) == EIO)
        #expect(queue.read(4096, [try guest.buffer(0, 512)]) == EIO)
    }

    @Test("zeroed ranges read as zeros to the byte, with and without giving space back", arguments: Way.all, [false, true])
    func writeZeroes(way: Way, unmap: Bool) throws {
        let file = try ScratchFile(pattern(1 << 20))
        let image = try way.open(file.path) { $0.passesDiscards = true }
        let queue = try image.makeQueue(depth: 1, threadLimit: 1, logger: .silent)
        defer { queue.close() }
        let ranges = [
            DiskRange(offset: 512, count: 512, mayUnmap: unmap), DiskRange(offset: 65536, count: 262144, mayUnmap: unmap),
            DiskRange(offset: (1 << 20) - 512, count: 512, mayUnmap: unmap), DiskRange(offset: 0, count: 0),
        ]
        let code = queue.run { request in
            request.operation = .writeZeroes
            request.ranges = ranges
        }
        #expect(code == 0)
        var expected = pattern(1 << 20)
        for range in ranges {
            for index in 0..<Int(range.count) { expected[Int(range.offset) + index] = 0 }
        }
        #expect(try file.contents == expected)
    }

    @Test("where the host can zero nothing, zeros are written", arguments: Way.all)
    func writeZeroesByHand(way: Way) throws {
        let file = try ScratchFile(pattern(1 << 20))
        let image = try way.open(file.path)
        image.canZeroRanges.store(false, ordering: .relaxed)
        image.canPunchHoles.store(false, ordering: .relaxed)
        let queue = try image.makeQueue(depth: 1, threadLimit: 1, logger: .silent)
        defer { queue.close() }
        let code = queue.run { request in
            request.operation = .writeZeroes
            request.ranges = [DiskRange(offset: 1536, count: 600 * 1024), DiskRange(offset: 1_048_064, count: 512)]
        }
        #expect(code == 0)
        var expected = pattern(1 << 20)
        for index in 1536..<(1536 + 600 * 1024) { expected[index] = 0 }
        for index in 1_048_064..<(1 << 20) { expected[index] = 0 }
        #expect(try file.contents == expected)
    }

    @Test("a discard gives space back if it is passed on, and changes nothing if not", arguments: Way.all, [true, false])
    func discard(way: Way, passes: Bool) throws {
        let file = try ScratchFile(pattern(1 << 20))
        let queue = try way.open(file.path) { $0.passesDiscards = passes }.makeQueue(depth: 1, threadLimit: 1, logger: .silent)
        defer { queue.close() }
        #expect(queue.run { $0.operation = .flush } == 0)
        let before = file.allocatedSize
        let code = queue.run { request in
            request.operation = .discard
            request.ranges = [DiskRange(offset: 0, count: 524288)]
        }
        #expect(code == 0)
        if passes {
            #expect(file.allocatedSize <= before - 524288)
            #expect(try file.contents[0..<524288].allSatisfy { $0 == 0 })
        } else {
            #expect(try file.contents == pattern(1 << 20))
        }
    }

    @Test("detected zeros take no space, and everything else is written as it is", arguments: Way.all)
    func zeroDetection(way: Way) throws {
        let file = try ScratchFile(pattern(1 << 20))
        let guest = try Guest()
        let image = try way.open(file.path) { options in
            options.passesDiscards = true
            options.zeroDetection = .unmap
        }
        let queue = try image.makeQueue(depth: 1, threadLimit: 1, logger: .silent)
        defer { queue.close() }
        #expect(queue.run { $0.operation = .flush } == 0)
        let before = file.allocatedSize
        let zeros = try guest.buffer(0, 262144)
        #expect(queue.write(65536, [zeros]) == 0)
        #expect(file.allocatedSize <= before - 262144)
        #expect(zeros.store(UInt8(1), at: 262143))
        #expect(queue.write(524288, [zeros]) == 0)
        var expected = pattern(1 << 20)
        for index in 0..<262144 {
            expected[65536 + index] = 0
            expected[524288 + index] = 0
        }
        expected[524288 + 262143] = 1
        #expect(try file.contents == expected)
    }

    @Test(
        "writes of neighbouring sectors at once lose nothing, though each changes only a part of a block",
        arguments: [DiskImageOptions.Engine.threads, .native, .ioUring])
    func neighbours(engine: DiskImageOptions.Engine) throws {
        let file = try ScratchFile([UInt8](repeating: 0xFF, count: 1 << 20))
        let guest = try Guest()
        let way = Way(engine: engine, isDirect: true, leastAlignment: 4096)
        let image = try way.open(file.path)
        let queue = try image.makeQueue(depth: 256, threadLimit: 8, logger: .silent)
        defer { queue.close() }
        var expected = [UInt8](repeating: 0xFF, count: 1 << 20)
        for round in 0..<8 {
            // 256 sectors beside each other in 32 blocks, some of them whole blocks' worth at once.
            var batch: [Int32] = []
            for index in 0..<256 {
                let sector = round * 256 + (index * 37) % 256
                let data = pattern(512, seed: round * 1000 + sector)
                let buffer = try guest.buffer(UInt64(index * 4096), 512)
                buffer.copy(data.span, to: 0)
                expected.replaceSubrange((sector * 512)..<(sector * 512 + 512), with: data)
                queue.fill(Int32(index)) { request in
                    request.operation = .write
                    request.offset = UInt64(sector * 512)
                    request.segments = [buffer]
                }
                batch.append(Int32(index))
            }
            #expect(queue.finish(batch) == batch)
            #expect(batch.allSatisfy { queue.result($0) == 0 })
        }
        #expect(try file.contents == expected)
    }

    @Test("what cannot be a disk is refused by name, at once")
    func refusals() throws {
        func message(_ path: String, _ change: (inout DiskImageOptions) -> Void = { _ in }) -> String {
            var options = DiskImageOptions(path: path)
            change(&options)
            do {
                _ = try DiskImage(options, logger: .silent)
                return "opened"
            } catch {
                return "\(error)"
            }
        }
        let file = try ScratchFile([])
        let fifo = file.directory.appendingPathComponent("fifo").path
        #expect(mkfifo(fifo, 0o600) == 0)
        #expect(message("/nonexistent/disk") == "image /nonexistent/disk: No such file or directory")
        #expect(message(fifo) == "image \(fifo) is neither a regular file nor a block device")
        #expect(message("/dev/null") == "image /dev/null is neither a regular file nor a block device")
        #expect(message("/dev/null") { $0.isReadOnly = true }.contains("neither a regular file"))
        #expect(message(file.directory.path).contains("Is a directory"))
        #expect(message(file.directory.path) { $0.isReadOnly = true }.contains("neither a regular file"))
        #expect(message(fifo) { $0.isReadOnly = true }.contains("neither a regular file"))
    }

    @Test("an empty file is a disk of no sectors")
    func empty() throws {
        let file = try ScratchFile([])
        let image = try DiskImage(DiskImageOptions(path: file.path, engine: .synchronous), logger: .silent)
        #expect(image.capacity == 0)
        let guest = try Guest()
        let queue = try image.makeQueue(depth: 1, threadLimit: 1, logger: .silent)
        #expect(queue.read(0, [try guest.buffer(0, 512)]) == EINVAL)
    }

    @Test(
        "a queue ends its threads, and an image its descriptor, a hundred times over",
        arguments: [DiskImageOptions.Engine.threads, .native, .ioUring])
    func nothingIsLeft(engine: DiskImageOptions.Engine) throws {
        let file = try ScratchFile(pattern(65536))
        let guest = try Guest()
        func count(_ directory: String) throws -> Int { try FileManager.default.contentsOfDirectory(atPath: directory).count }
        func cycle() throws {
            let image = try afterForks {
                try DiskImage(DiskImageOptions(path: file.path, isDirect: engine == .native, engine: engine), logger: .silent)
            }
            let queue = try image.makeQueue(depth: 16, threadLimit: 4, logger: .silent)
            for index in 0..<16 {
                let buffer = try guest.buffer(UInt64(index * 512), 512)
                queue.fill(Int32(index)) { request in
                    request.operation = .read
                    request.offset = UInt64(index * 512)
                    request.segments = [buffer]
                }
            }
            _ = queue.submit(Array(0..<16).span)
            queue.close()
        }
        try cycle()
        for _ in 0..<100 { try cycle() }
        let names = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").compactMap {
            try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)")
        }
        #expect(!names.contains(file.path))
        // Other tests run beside this one: a hundred left over would stand out all the same.
        #expect(try count("/proc/self/task") < 100)
    }
}
