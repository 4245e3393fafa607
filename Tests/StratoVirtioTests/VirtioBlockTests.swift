import Foundation
import StratoHost
import StratoMemory
import Synchronization
import Testing

@testable import StratoDisk
@testable import StratoVirtio

// Request types and results as the specification numbers them (virtio 1.2, 5.2.6).
private let read: UInt32 = 0
private let write: UInt32 = 1
private let flush: UInt32 = 4
private let getID: UInt32 = 8
private let discard: UInt32 = 11
private let writeZeroes: UInt32 = 13
private let ok: UInt8 = 0
private let ioError: UInt8 = 1
private let unsupported: UInt8 = 2

/// A range of a discard or of zeroing.
private func range(_ sector: UInt64, _ count: UInt32, flags: UInt32 = 0) -> [UInt8] {
    let words = [sector, UInt64(count) | UInt64(flags) << 32]
    return words.flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> (UInt64($0) * 8)) } }
}

@Suite("virtio-blk")
struct VirtioBlockTests {
    static let engines: [DiskImageOptions.Engine] = [.synchronous, .threads, .native, .ioUring]

    // MARK: Configuration

    @Test("the configuration space says what the disk is, and reads past it are zeros")
    func configuration() throws {
        let bench = try BlockBench(pattern(1 << 20), queueCount: 2) { $0.passesDiscards = true }
        func field(_ offset: UInt64, _ width: Int) -> UInt64 { bench.transport.read(at: Reg.config + offset, width: width) }
        #expect(field(0, 8) == 2048)
        #expect(field(0, 4) == 2048)
        #expect(field(4, 4) == 0)
        #expect(field(12, 4) == 62)
        #expect(field(20, 4) == 512)
        #expect(field(24, 1) == 3)
        #expect(field(26, 2) == 8)
        #expect(field(32, 1) == 1)
        #expect(field(34, 2) == 2)
        #expect(field(36, 4) == 1 << 22)
        #expect(field(40, 4) == 32)
        #expect(field(48, 4) == 1 << 22)
        #expect(field(52, 4) == 32)
        #expect(field(56, 1) == 1)
        for offset in 60..<256 as Range<UInt64> {
            for width in 1...8 { #expect(field(offset, width) == 0) }
        }
        // Across the end: what is there, then zeros.
        #expect(field(56, 8) == 1)
        #expect(bench.transport.get(Reg.deviceID) == 2)
    }

    @Test("features follow the image: what cannot be written offers nothing that writes")
    func features() throws {
        let common: UInt64 = 1 << 32 | 1 << 29 | 1 << 28 | 1 << 2 | 1 << 6 | 1 << 9 | 1 << 10
        #expect(try BlockBench([]).transport.offered == common | 1 << 11 | 1 << 14)
        #expect(try BlockBench([]) { $0.passesDiscards = true }.transport.offered == common | 1 << 11 | 1 << 13 | 1 << 14)
        #expect(try BlockBench([]) { $0.isReadOnly = true }.transport.offered == common | 1 << 5)
        #expect(try BlockBench([], queueCount: 4).transport.offered == common | 1 << 11 | 1 << 12 | 1 << 14)
    }

    @Test("impossible queue numbers and sizes are refused by name", arguments: [(0, 256), (33, 256), (1, 3), (1, 1), (1, 2048)])
    func options(queueCount: Int, queueSize: Int) throws {
        let error = #expect(throws: VirtioError.self) {
            _ = try BlockBench([], queueCount: queueCount, queueSize: UInt16(queueSize))
        }
        #expect(error?.description.hasPrefix("rootfs: ") == true)
    }

    // MARK: Requests

    @Test("what is written is read back, and the lengths are exact", arguments: engines)
    func readAndWrite(engine: DiskImageOptions.Engine) throws {
        let contents = pattern(1 << 20)
        let bench = try BlockBench(contents, engine: engine)
        try bench.start()
        let first = try bench.request(read, 8, output: 4096)
        #expect(first.status == ok)
        #expect(first.length == 4097)
        #expect(first.data == Array(contents[4096..<8192]))
        let data = pattern(8192, seed: 3)
        let stored = try bench.request(write, 16, input: data)
        #expect(stored.status == ok)
        #expect(stored.length == 1)
        #expect(try Array(bench.file.contents[8192..<16384]) == data)
        #expect(try bench.request(read, 16, output: 8192).data == data)
        #expect(try bench.request(flush).status == ok)
        // No bytes at all are a request like any other.
        let nothing = try bench.request(read, 2048)
        #expect(nothing.status == ok)
        #expect(nothing.length == 1)
    }

    @Test("the driver may cut header, data and status wherever it likes", arguments: engines)
    func framing(engine: DiskImageOptions.Engine) throws {
        let contents = pattern(65536)
        let bench = try BlockBench(contents, engine: engine)
        try bench.start()
        // The header in pieces, one of them across its two fields; data and status in one.
        for cuts in [[16], [1, 15], [4, 4, 8], [3, 7, 6], Array(repeating: 1, count: 16)] as [[Int]] {
            try bench.putHeader(read, 5)
            var parts: [Part] = []
            var address: UInt64 = 0x40000
            for cut in cuts {
                parts.append(.readable(address, UInt32(cut)))
                address += UInt64(cut)
            }
            parts.append(.writable(0x80000, 513))
            let answer = try bench.run(parts, output: 512)
            #expect(answer.status == ok)
            #expect(answer.length == 513)
            #expect(answer.data == Array(contents[2560..<3072]))
        }
        // Header and data in one piece, and data in pieces of odd sizes.
        try bench.putHeader(write, 7)
        let data = pattern(1024, seed: 8)
        try bench.guest.memory.write(data, at: GuestAddress(0x40010))
        let joined = try bench.run([.readable(0x40000, 1040), .writable(0x80000, 1)], output: 0)
        #expect(joined.status == ok)
        #expect(try Array(bench.file.contents[3584..<4608]) == data)
        try bench.putHeader(write, 20)
        let odd = try bench.run(
            [.readable(0x40000, 17), .readable(0x40011, 700), .readable(0x402CD, 323), .writable(0x80000, 1)], output: 0)
        #expect(odd.status == ok)
        #expect(try Array(bench.file.contents[10240..<11264]) == data)
        try bench.putHeader(read, 20)
        let pieces = try bench.run(
            [.readable(0x40000, 16), .writable(0x80000, 1), .writable(0x80001, 1000), .writable(0x803E9, 24)], output: 1024
        )
        #expect(pieces.status == ok)
        #expect(pieces.data == data)
        #expect(pieces.length == 1025)
    }

    @Test("CVE-2011-1750: requests off the sectors or past the end fail, also where the sum would wrap", arguments: engines)
    func bounds(engine: DiskImageOptions.Engine) throws {
        let contents = pattern(65536)
        let bench = try BlockBench(contents, engine: engine)
        try bench.start()
        for (sector, length) in [
            (0, 511), (0, 1), (0, 513), (128, 512), (127, 1024), (129, 0), (UInt64.max, 512), (.max, 0), (1 << 55, 512),
            ((1 << 55) - 1, 512), (1 << 63, 512), (.max / 512, 512), (.max / 512 + 1, 512),
        ] as [(UInt64, Int)] {
            let answer = try bench.request(read, sector, output: length)
            #expect(answer.status == ioError, "\(sector) \(length)")
            #expect(answer.length == (length == 0 ? 1 : 0))
            // Nothing of the host's is left there.
            #expect(answer.data.allSatisfy { $0 == BlockBench.statusUnwritten })
            #expect(try bench.request(write, sector, input: pattern(length)).status == ioError)
        }
        #expect(try bench.request(read, 128).status == ok)
        #expect(try bench.file.contents == contents)
    }

    @Test("CVE-2021-3545: every byte that the device says it wrote is the disk's, and it writes no other", arguments: engines)
    func definedBytes(engine: DiskImageOptions.Engine) throws {
        // The last sector is not whole.
        let contents = pattern(512 + 188)
        let bench = try BlockBench(contents, engine: engine)
        try bench.start()
        let whole = try bench.request(read, 0, output: 1024)
        #expect(whole.length == 1025)
        #expect(whole.data == contents + [UInt8](repeating: 0, count: 324))
        let past = try bench.request(read, 1, output: 1024)
        #expect(past.length == 0)
        #expect(past.data.allSatisfy { $0 == BlockBench.statusUnwritten })
    }

    @Test(
        "CVE-2021-20255: a request for registers, its own and others', asks for a reset and reaches no device",
        arguments: engines)
    func requestForRegisters(engine: DiskImageOptions.Engine) throws {
        let contents = pattern(65536)
        let bench = try BlockBench(contents, engine: engine)
        for address in [0xF010_0000 + Reg.queueNotify, 0xF010_0000 + Reg.status, 0xFEE0_0000] as [UInt64] {
            for parts in [
                [Part.readable(0x40000, 16), .writable(address, 512), .writable(0x80000, 1)],
                [.readable(address, 16), .writable(0x50000, 512), .writable(0x80000, 1)],
                [.readable(0x40000, 16), .writable(0x50000, 512), .writable(address, 1)],
            ] {
                try bench.start()
                try bench.putHeader(read, 0)
                try bench.queues[0].offer(parts)
                bench.kick()
                try bench.line.wait { bench.transport.status & 64 != 0 }
                #expect(try bench.queues[0].usedIndex == 0)
            }
        }
        try bench.start()
        #expect(try bench.request(read, 1, output: 512).data == Array(contents[512..<1024]))
    }

    @Test("the serial number is 20 bytes, padded or cut, and no more than there is room for", arguments: engines)
    func identifier(engine: DiskImageOptions.Engine) throws {
        func padded(_ text: String) -> [UInt8] {
            Array((Array(text.utf8) + [UInt8](repeating: 0, count: 20)).prefix(20))
        }
        for serial in ["", "disk-1", "exactly-20-bytes-abc", "longer than twenty bytes, by far"] {
            let bench = try BlockBench([], engine: engine, serial: serial)
            try bench.start()
            let answer = try bench.request(getID, output: 20)
            #expect(answer.status == ok)
            #expect(answer.length == 21)
            #expect(answer.data == padded(serial))
            let short = try bench.request(getID, output: 5)
            #expect(short.data == Array(padded(serial).prefix(5)))
            #expect(short.length == 6)
            let long = try bench.request(getID, output: 64)
            #expect(long.length == 20)
            #expect(long.status == ok)
            #expect(Array(long.data[..<20]) == padded(serial))
            #expect(long.data[20...].allSatisfy { $0 == BlockBench.statusUnwritten })
        }
    }

    @Test("CVE-2026-48914: what is not known is unsupported, legacy SCSI commands among it")
    func unknown() throws {
        let contents = pattern(4096)
        let bench = try BlockBench(contents)
        try bench.start()
        for type in [2, 3, 5, 6, 7, 9, 10, 12, 14, 15, 16, 1 << 31, 0x8000_0001, .max] as [UInt32] {
            let answer = try bench.request(type, 0, input: pattern(512), output: 512)
            #expect(answer.status == unsupported, "\(type)")
            #expect(answer.data.allSatisfy { $0 == BlockBench.statusUnwritten })
        }
        // DISCARD was not offered.
        #expect(try bench.request(discard, input: range(0, 1)).status == unsupported)
        #expect(try bench.file.contents == contents)
    }

    @Test("ranges are zeroed and discarded, and everything wrong about them is refused", arguments: engines)
    func ranges(engine: DiskImageOptions.Engine) throws {
        let contents = pattern(1 << 20)
        let bench = try BlockBench(contents, engine: engine) { $0.passesDiscards = true }
        try bench.start()
        for (type, input, status) in [
            (writeZeroes, [], ioError), (writeZeroes, Array(range(0, 1).prefix(15)), ioError),
            (writeZeroes, range(0, 1) + [0], ioError), (writeZeroes, range(2048, 1), ioError),
            (writeZeroes, range(2047, 2), ioError), (writeZeroes, range(.max, 1), ioError),
            (writeZeroes, range(1 << 55, 1), ioError), (writeZeroes, range(0, .max), ioError),
            (writeZeroes, range(0, 1, flags: 2), unsupported), (writeZeroes, range(0, 1, flags: .max), unsupported),
            (discard, range(0, 1, flags: 1), unsupported), (discard, range(0, 1, flags: 4), unsupported),
            (discard, range(2048, 8), ioError), (discard, [], ioError),
            (writeZeroes, (0..<33).flatMap { range($0, 1) }, ioError), (discard, (0..<33).flatMap { range($0, 1) }, ioError),
            // One that is wrong spoils all.
            (writeZeroes, range(0, 8) + range(2048, 1), ioError),
        ] as [(UInt32, [UInt8], UInt8)] {
            #expect(try bench.request(type, input: input).status == status, "\(type) \(input)")
        }
        #expect(try bench.file.contents == contents)
        var expected = contents
        func zero(_ sectors: Range<Int>) {
            for index in (sectors.lowerBound * 512)..<(sectors.upperBound * 512) { expected[index] = 0 }
        }
        #expect(try bench.request(writeZeroes, input: range(1, 3)).status == ok)
        zero(1..<4)
        #expect(try bench.request(writeZeroes, input: range(100, 8, flags: 1) + range(2047, 1)).status == ok)
        zero(100..<108)
        zero(2047..<2048)
        #expect(try bench.request(discard, input: range(1024, 512) + range(0, 0)).status == ok)
        zero(1024..<1536)
        let answer = try bench.request(writeZeroes, input: (0..<32).flatMap { range(UInt64(200 + $0 * 2), 1) })
        #expect(answer.status == ok)
        #expect(answer.length == 1)
        for index in 0..<32 { zero((200 + index * 2)..<(201 + index * 2)) }
        #expect(try bench.file.contents == expected)
    }

    @Test("a read-only disk is read, and nothing changes it", arguments: engines)
    func readOnly(engine: DiskImageOptions.Engine) throws {
        let contents = pattern(65536)
        let bench = try BlockBench(contents, engine: engine) { $0.isReadOnly = true }
        try bench.start()
        #expect(try bench.request(read, 0, output: 512).data == Array(contents[..<512]))
        #expect(try bench.request(write, 0, input: pattern(512, seed: 1)).status == ioError)
        #expect(try bench.request(flush).status == ok)
        #expect(try bench.request(writeZeroes, input: range(0, 1)).status == unsupported)
        #expect(try bench.request(discard, input: range(0, 1)).status == unsupported)
        bench.transport.write(0, at: Reg.config + 32, width: 1)
        #expect(bench.transport.read(at: Reg.config + 32, width: 1) == 1)
        #expect(try bench.file.contents == contents)
    }

    @Test("chains without a whole header or without a status end, and the queue goes on", arguments: engines)
    func malformed(engine: DiskImageOptions.Engine) throws {
        let contents = pattern(65536)
        let bench = try BlockBench(contents, engine: engine)
        try bench.start()
        try bench.putHeader(write, 0)
        for length in [0, 1, 8, 15] as [UInt32] {
            let answer = try bench.run([.readable(0x40000, length), .writable(0x80000, 1)], output: 0)
            #expect(answer.status == ioError)
        }
        try bench.queues[0].offer([.readable(0x40000, 528)])
        try bench.queues[0].offer([.readable(0x40000, 0)])
        bench.kick()
        #expect(try bench.completions(2).map(\.length) == [0, 0])
        #expect(try bench.request(read, 1, output: 512).data == Array(contents[512..<1024]))
        #expect(bench.transport.status == 15)
        #expect(try bench.file.contents == contents)
    }

    @Test("a file that fails is an I/O error to the guest, and a line or few in the log", arguments: engines)
    func hostError(engine: DiskImageOptions.Engine) throws {
        let bench = try BlockBench(pattern(65536), engine: engine)
        try bench.start()
        #expect(truncate(bench.file.path, 4096) == 0)
        for _ in 0..<200 {
            let answer = try bench.request(read, 64, output: 512)
            #expect(answer.status == ioError)
            #expect(answer.length == 0)
        }
        #expect(bench.lines.all.contains { $0.contains("disk rootfs") && $0.contains(bench.file.path) })
        #expect(bench.lines.all.count < 20)
    }

    // MARK: Durability

    @Test("writes are made durable one by one unless the driver can flush and has chosen write-back")
    func cacheModes() throws {
        let guest = try Guest()
        let file = try ScratchFile(pattern(65536))
        let image = try DiskImage(DiskImageOptions(path: file.path, engine: .synchronous), logger: .silent)
        for (features, isWriteback, expected) in [
            ([.blockFlush], true, false), ([.blockFlush], false, true), ([], true, true), ([], false, true),
        ] as [(VirtioFeatures, Bool, Bool)] {
            let disk = try HeldDiskQueue(depth: 8)
            let queue = BlockQueue(
                index: 0, kick: try EventDescriptor(), disk: disk,
                shared: .init(
                    image: image, serial: Array(repeating: 0, count: 20), limiter: LogLimiter(source: "test", logger: .silent)))
            var driver = DriverQueue(guest.memory, size: 8)
            try guest.memory.write([UInt8](repeating: 0, count: 4096), at: GuestAddress(0x1000))
            let interrupt = TestInterrupt()
            queue.activate(
                .init(layout: try driver.layout()),
                VirtioActivation(
                    features: features.union(.version1), memory: guest.memory, queues: [], interrupt: interrupt),
                isWriteback: isWriteback)
            try guest.memory.write([1] + [UInt8](repeating: 0, count: 15), at: GuestAddress(0x40000))
            try driver.offer([.readable(0x40000, 16), .readable(0x50000, 512), .writable(0x80000, 1)])
            queue.process()
            let index = try #require(disk.waiting.first)
            let request = disk.requests.with(index) { ($0.operation, $0.isWriteThrough) }
            #expect(request == (.write, expected))
            disk.release(index)
            queue.complete()
            #expect(interrupt.used == [0])
            queue.deactivate()
        }
    }

    @Test("the driver changes the cache mode by a byte of the configuration space, and a reset changes it back")
    func cacheModeRegister() throws {
        let bench = try BlockBench(pattern(4096))
        bench.transport.write(0, at: Reg.config + 32, width: 1)
        #expect(bench.transport.read(at: Reg.config + 32, width: 1) == 1, "without a driver nothing is written")
        try bench.start()
        for (offset, width) in [(32, 2), (32, 4), (31, 2), (0, 8), (33, 1), (20, 4)] as [(UInt64, Int)] {
            bench.transport.write(0, at: Reg.config + offset, width: width)
        }
        #expect(bench.transport.read(at: Reg.config + 32, width: 1) == 1)
        #expect(bench.transport.read(at: Reg.config, width: 8) == 8)
        bench.transport.write(0, at: Reg.config + 32, width: 1)
        #expect(bench.transport.read(at: Reg.config + 32, width: 1) == 0)
        #expect(try bench.request(write, 0, input: pattern(512, seed: 2)).status == ok)
        let other = try BlockBench(pattern(4096))
        try other.transport.restoreState(bench.transport.saveState())
        #expect(other.transport.read(at: Reg.config + 32, width: 1) == 0)
        bench.transport.set(Reg.status, 0)
        #expect(bench.transport.read(at: Reg.config + 32, width: 1) == 1)
    }

    // MARK: Many at once

    @Test("a full queue of requests, again and again, with one interrupt per batch at most", arguments: engines, [true, false])
    func batches(engine: DiskImageOptions.Engine, hasEventIndex: Bool) throws {
        let bench = try BlockBench([UInt8](repeating: 0, count: 1 << 20), engine: engine, queueSize: 64)
        try bench.start(features: hasEventIndex ? nil : bench.transport.offered & ~(1 << 29))
        var expected = [UInt8](repeating: 0, count: 1 << 20)
        var statuses = 0
        for round in 0..<40 {
            // 21 chains of three descriptors fill the queue.
            for index in 0..<21 {
                let sector = round * 32 + index
                let data = pattern(512, seed: sector)
                expected.replaceSubrange((sector * 512)..<(sector * 512 + 512), with: data)
                let header = 0x40000 + UInt64(index) * 16
                let place = 0x50000 + UInt64(index) * 512
                try bench.putHeader(write, UInt64(sector), at: header)
                try bench.guest.memory.write(data, at: GuestAddress(place))
                try bench.guest.memory.store(BlockBench.statusUnwritten, at: GuestAddress(0x80000 + UInt64(index)))
                try bench.queues[0].offer([
                    .readable(header, 16), .readable(place, 512), .writable(0x80000 + UInt64(index), 1),
                ])
            }
            bench.kick()
            let used = try bench.completions(21)
            #expect(Set(used.map(\.head)).count == 21)
            statuses += try bench.guest.memory.read(21, at: GuestAddress(0x80000)).count { $0 == ok }
            if hasEventIndex { try bench.queues[0].setUsedEvent(bench.queues[0].seenUsed) }
        }
        #expect(statuses == 40 * 21)
        #expect(try bench.file.contents == expected)
        if engine == .synchronous { #expect(bench.line.count <= 40 * 2) }
    }

    @Test("queues are independent, and an answer comes in the queue of its request", arguments: engines)
    func multiQueue(engine: DiskImageOptions.Engine) throws {
        let contents = pattern(1 << 18)
        let bench = try BlockBench(contents, engine: engine, queueCount: 4)
        try bench.start()
        for round in 0..<20 {
            let queue = round % 4
            let answer = try bench.request(read, UInt64(round), output: 1024, queue: queue)
            #expect(answer.data == Array(contents[(round * 512)..<(round * 512 + 1024)]))
            for other in 0..<4 where other != queue { #expect(try bench.queues[other].takeUsed().isEmpty) }
        }
    }

    @Test("a chain through an indirect table is served like any other", arguments: engines)
    func indirect(engine: DiskImageOptions.Engine) throws {
        let contents = pattern(1 << 18)
        let bench = try BlockBench(contents, engine: engine)
        try bench.start()
        try bench.putHeader(read, 3)
        // As many segments as the device says that it takes.
        var parts: [Part] = [.readable(0x40000, 16)]
        for index in 0..<62 { parts.append(.writable(0x80000 + UInt64(61 - index) * 512, 512)) }
        parts.append(.writable(0xC0000, 1))
        try bench.queues[0].offerIndirect(parts, table: 0x60000)
        bench.kick()
        let used = try bench.completions(1)
        #expect(used[0].length == 62 * 512 + 1)
        for index in 0..<62 {
            let sector = try bench.guest.memory.read(512, at: GuestAddress(0x80000 + UInt64(61 - index) * 512))
            #expect(sector == Array(contents[(1536 + index * 512)..<(2048 + index * 512)]))
        }
    }

    @Test("requests that are completed in another order are given back in that order, each with its own result")
    func outOfOrder() throws {
        let held = try HeldBench(depth: 16)
        var heads: [UInt16] = []
        for index in 0..<4 { heads.append(try held.offerRead(index)) }
        held.queue.process()
        #expect(held.disk.waiting.count == 4)
        let order = [2, 0, 3, 1]
        let waiting = held.disk.waiting
        for index in order { held.disk.release(waiting[index]) }
        held.queue.complete()
        let used = try held.driver.takeUsed()
        #expect(used.map(\.head) == order.map { UInt32(heads[$0]) })
        #expect(used.allSatisfy { $0.length == 513 })
        #expect(held.interrupt.used == [0])
        // Their places can be had again.
        let others = try held.takeReads(4)
        #expect(others.count == 4)
        for index in others { held.disk.release(index) }
        held.queue.deactivate()
    }

    @Test("CVE-2016-5403: never more requests are in flight than the queue is long, however often a chain is offered")
    func inFlight() throws {
        let held = try HeldBench(depth: 64, queueSize: 16)
        let head = try held.offerRead(0)
        for _ in 0..<15 { try held.driver.offer(head) }
        held.queue.process()
        #expect(held.disk.waiting.count == 16)
        #expect(held.interrupt.failures == 0)
        for _ in 0..<16 { try held.driver.offer(head) }
        held.queue.process()
        #expect(held.disk.deepest == 16)
        #expect(held.interrupt.failures == 1)
        let used = try held.driver.usedIndex
        for index in held.disk.waiting { held.disk.release(index) }
        held.queue.complete()
        // A queue that broke is not written to any more.
        #expect(try held.driver.usedIndex == used)
        held.queue.deactivate()
    }

    // MARK: Limits

    @Test("no more requests a second are served than the limit, by all queues together; none is lost, and one timer is enough")
    func throttling() throws {
        let limit = 40
        let bench = try BlockBench(pattern(1 << 18), queueCount: 2, queueSize: 64, requestsPerSecond: limit)
        try bench.start()
        for index in 0..<32 as Range<UInt64> { try bench.putHeader(read, index, at: 0x40000 + index * 16) }
        func offer(_ count: Int, _ queue: Int) throws {
            for index in 0..<count {
                try bench.queues[queue].offer([
                    .readable(0x40000 + UInt64(index) * 16, 16), .writable(0x80000, 512), .writable(0x90000, 1),
                ])
            }
            bench.kick(queue)
        }
        let start = DispatchTime.now().uptimeNanoseconds
        var counts = [0, 0]
        // A second's worth may come at once, and the rest as the bucket leaks: 120 requests in two seconds and no less.
        for _ in 0..<4 {
            for queue in 0..<2 { try offer(15, queue) }
            for queue in 0..<2 { counts[queue] += try bench.completions(15, queue: queue).count }
            // A driver that kicks all the time gets nothing more.
            for _ in 0..<100 { bench.kick(0) }
        }
        #expect(counts == [60, 60])
        #expect(DispatchTime.now().uptimeNanoseconds - start >= 1_990_000_000)
        // What waits for the bucket holds up neither a pause nor a reset.
        for queue in 0..<2 { try offer(20, queue) }
        bench.device.pause()
        bench.device.resume()
        bench.transport.set(Reg.status, 0)
        #expect(bench.transport.status == 0)
    }

    // MARK: Reset

    @Test("CVE-2026-45782: a reset waits for what is in flight, gives nothing of it back, and later completions find nothing")
    func resetInFlight() throws {
        let held = try HeldBench(depth: 16)
        let waiting = try held.takeReads(5)
        #expect(waiting.count == 5)
        let disk = held.disk
        let released = DispatchSemaphore(value: 0)
        let thread = Thread {
            for index in waiting { disk.release(index) }
            released.signal()
        }
        thread.start()
        held.queue.deactivate()
        #expect(disk.waiting.isEmpty)
        released.wait()
        held.queue.complete()
        held.queue.process()
        #expect(try held.driver.usedIndex == 0)
        #expect(held.interrupt.used.isEmpty)
    }

    @Test("resets in the middle of traffic never hang, and the device works after each", arguments: engines)
    func resetUnderLoad(engine: DiskImageOptions.Engine) throws {
        let contents = pattern(1 << 20)
        let bench = try BlockBench(contents, engine: engine)
        for round in 0..<150 {
            try bench.start()
            for index in 0..<21 {
                let header = 0x40000 + UInt64(index) * 16
                try bench.putHeader(read, UInt64(index), at: header)
                try bench.queues[0].offer([
                    .readable(header, 16), .writable(0x80000 + UInt64(index) * 512, 512),
                    .writable(0xC0000 + UInt64(index), 1),
                ])
            }
            bench.kick()
            if round % 3 == 0 { _ = try bench.completions(1) }
            bench.transport.set(Reg.status, 0)
            let before = try bench.queues[0].usedIndex
            let memory = try bench.guest.memory.read(21 * 512, at: GuestAddress(0x80000))
            #expect(bench.transport.status == 0)
            if round % 10 == 0 {
                // Nothing comes after a reset: neither data nor an index.
                usleep(2000)
                #expect(try bench.queues[0].usedIndex == before)
                #expect(try bench.guest.memory.read(21 * 512, at: GuestAddress(0x80000)) == memory)
            }
        }
        try bench.start()
        #expect(try bench.request(read, 9, output: 512).data == Array(contents[4608..<5120]))
    }

    @Test("a queue that waits for what is in flight does not keep the loop from the others")
    func drainBesideOthers() throws {
        let held = try HeldBench(depth: 16)
        let waiting = try held.takeReads(3)
        #expect(waiting.count == 3)
        let queue = held.queue
        let ending = try HostThread.start(name: "reset") { queue.deactivate() }
        held.disk.waitForDrain()
        // What the loop does for this queue meanwhile comes to nothing, and is over at once; then it has come to another queue,
        // on which it depends that this one's requests are completed.
        try held.offerRead(3)
        queue.process()
        queue.complete()
        #expect(held.disk.waiting == waiting)
        for index in waiting { held.disk.release(index) }
        ending.join()
        #expect(try held.driver.usedIndex == 0)
    }

    @Test("the kernel's part of all queues is waited for before any thread is", arguments: [true, false])
    func drainOrder(isPause: Bool) throws {
        let order = Mutex<[String]>([])
        let benches = try (0..<3).map { index in
            try HeldBench(depth: 16) { step in order.withLock { $0.append("\(step) \(index)") } }
        }
        let queues = benches.map(\.queue)
        isPause ? BlockQueue.pause(queues) : BlockQueue.deactivate(queues)
        #expect(order.withLock { $0 } == ["kernel 0", "kernel 1", "kernel 2", "all 0", "all 1", "all 2"])
    }

    /// What ends while requests are in flight.
    enum Ending: Sendable, CaseIterable {
        case pause, reset, queue, shutDown
    }

    @Test(
        "with reads and writes of two queues in flight, some of which change only a part of a block, every end comes",
        arguments: engines, Ending.allCases)
    func endInFlight(engine: DiskImageOptions.Engine, ending: Ending) throws {
        let isDirect = engine != .synchronous
        for round in 0..<(ending == .shutDown ? 10 : 40) {
            let bench = try BlockBench(
                pattern(1 << 20), engine: engine, queueCount: 2, leastAlignment: isDirect ? 4096 : 1
            ) { $0.isDirect = isDirect }
            for _ in 0..<4 {
                try bench.start()
                for index in 0..<UInt64(48) {
                    // Whole blocks go to the kernel from queue 1, and parts of blocks to a thread from queue 0.
                    let queue = index % 3 == 0 ? 0 : 1
                    let count = UInt32(queue == 0 ? 512 : 4096)
                    let isWrite = index % 4 != 3
                    let header = 0x40000 + index * 16
                    try bench.putHeader(isWrite ? write : read, index * 8, at: header)
                    let data = 0x80000 + index * 4096
                    try bench.queues[queue].offer([
                        .readable(header, 16), isWrite ? .readable(data, count) : .writable(data, count),
                        .writable(0xC0000 + index, 1),
                    ])
                }
                bench.kick(round % 2)
                bench.kick(1 - round % 2)
                if round % 3 == 0 { _ = try bench.completions(1, queue: 1) }
                switch ending {
                case .pause:
                    bench.device.pause()
                    let positions = bench.device.queuePositions.compactMap(\.self)
                    #expect(positions.count == 2)
                    #expect(positions.allSatisfy { $0.nextAvailable == $0.nextUsed })
                    bench.device.resume()
                    bench.transport.set(Reg.status, 0)
                case .reset:
                    bench.transport.set(Reg.status, 0)
                case .queue:
                    bench.device.stopQueue(0)
                    bench.device.stopQueue(1)
                    bench.transport.set(Reg.status, 0)
                case .shutDown:
                    bench.transport.shutDown()
                }
                let used = try bench.queues.indices.map { try bench.queues[$0].usedIndex }
                let memory = try bench.guest.memory.read(48 * 4096, at: GuestAddress(0x80000))
                if round % 8 == 0 { usleep(2000) }
                let usedLater = try bench.queues.indices.map { try bench.queues[$0].usedIndex }
                #expect(usedLater == used)
                #expect(try bench.guest.memory.read(48 * 4096, at: GuestAddress(0x80000)) == memory)
                if ending == .shutDown { break }
            }
        }
    }

    @Test("a paused device takes nothing, and goes on where it was", arguments: engines)
    func pause(engine: DiskImageOptions.Engine) throws {
        let contents = pattern(1 << 18)
        let bench = try BlockBench(contents, engine: engine)
        try bench.start()
        _ = try bench.request(read, 0, output: 512)
        bench.device.pause()
        try bench.putHeader(read, 6)
        try bench.queues[0].offer([.readable(0x40000, 16), .writable(0x80000, 512), .writable(0x80200, 1)])
        bench.kick()
        usleep(20_000)
        #expect(try bench.queues[0].takeUsed().isEmpty)
        #expect(bench.device.queuePositions == [QueuePosition(nextAvailable: 1, nextUsed: 1)])
        bench.device.resume()
        #expect(try bench.completions(1).count == 1)
        #expect(try bench.guest.memory.read(512, at: GuestAddress(0x80000)) == Array(contents[3072..<3584]))
    }

    @Test("a device restored in the middle of its work serves what was offered before, without another kick", arguments: engines)
    func restore(engine: DiskImageOptions.Engine) throws {
        let contents = pattern(1 << 18)
        let bench = try BlockBench(contents, engine: engine)
        try bench.start()
        for sector in 0..<70 as Range<UInt64> { _ = try bench.request(read, sector, output: 512) }
        bench.device.pause()
        try bench.putHeader(read, 6)
        try bench.queues[0].offer([.readable(0x40000, 16), .writable(0x80000, 512), .writable(0x80200, 1)])
        let state = try VirtioTransportState(decoding: bench.transport.saveState().encoded())
        let other = try BlockBench(contents, engine: engine)
        // The guest's memory moves with it.
        for base in [0, Guest.highBase] {
            let size = base == 0 ? 1 << 20 : 2 << 20
            try other.guest.memory.write(bench.guest.memory.read(size, at: GuestAddress(base)), at: GuestAddress(base))
        }
        try other.transport.restoreState(state)
        try other.line.wait { try other.guest.memory.load(UInt16.self, at: GuestAddress(bench.queues[0].usedRing + 2)) == 71 }
        #expect(try other.guest.memory.read(512, at: GuestAddress(0x80000)) == Array(contents[3072..<3584]))
        #expect(try bench.queues[0].takeUsed().isEmpty)
    }

    // MARK: Hostile guests

    @Test("a broken queue asks for a reset with an interrupt, and the device works again after one", arguments: engines)
    func needsReset(engine: DiskImageOptions.Engine) throws {
        let contents = pattern(65536)
        let bench = try BlockBench(contents, engine: engine)
        for _ in 0..<30 {
            try bench.start()
            _ = try bench.request(read, 0, output: 512)
            try bench.queues[0].setAvailableIndex(5000)
            bench.kick()
            try bench.line.wait { bench.transport.status & 64 != 0 }
            #expect(bench.transport.get(Reg.interruptStatus) & 2 != 0)
            bench.kick()
            try bench.guest.memory.store(UInt16(1), at: GuestAddress(bench.queues[0].availableRing + 2))
            bench.kick()
        }
        try bench.start()
        #expect(try bench.request(read, 1, output: 512).data == Array(contents[512..<1024]))
        #expect(bench.lines.all.count < 20)
    }

    @Test("thousands of random chains change nothing that they may not, and never stop the process", arguments: engines)
    func randomChains(engine: DiskImageOptions.Engine) throws {
        var random = SeededGenerator(engine == .threads ? 5 : 6)
        let bench = try BlockBench(pattern(65536), engine: engine) { $0.passesDiscards = true }
        let types: [UInt32] = [0, 0, 1, 1, 4, 8, 11, 13, 2, 7, .max]
        let sectors: [UInt64] = [0, 1, 100, 127, 128, 1 << 55, .max]
        // 0x40000...0x7FFFF can be anything; 0x80000 and up is where the device may write.
        let inputs: [UInt64] = [0x40000, 0x40008, 0x50000, 0xFFFF0, Guest.highEnd - 16, 0x8000_0000, .max]
        let lengths: [UInt32] = [0, 1, 8, 15, 16, 17, 512, 528, 4096, 65536, .max]
        var resets = 0
        for _ in 0..<3000 {
            if bench.transport.status != 15 {
                resets += 1
                try bench.start()
            }
            for address in stride(from: 0x40000, to: 0x40100, by: 16) as StrideTo<UInt64> {
                try bench.putHeader(
                    types.randomElement(using: &random) ?? 0, sectors.randomElement(using: &random) ?? 0, at: address)
            }
            let table = bench.queues[0].descriptorTable
            for index in 0..<64 as Range<UInt16> {
                var flags = UInt16.random(in: 0...3, using: &random)
                if UInt8.random(in: 0..<16, using: &random) == 0 { flags = 4 }
                var address = flags == 4 ? table : inputs[Int.random(in: 0..<3, using: &random)]
                var length: UInt32 = [16, 16, 512, 1024, 1][Int.random(in: 0..<5, using: &random)]
                if UInt8.random(in: 0..<30, using: &random) == 0 {
                    address = inputs.randomElement(using: &random) ?? 0
                    length = lengths.randomElement(using: &random) ?? 0
                }
                try bench.queues[0].setDescriptor(
                    index, flags & 2 != 0 ? 0x80000 + (address & 0xFFFF) : address, length, flags,
                    next: UInt16.random(in: index...min(index + 4, 63), using: &random))
            }
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                try bench.queues[0].offer(UInt16.random(in: 0..<64, using: &random))
            }
            bench.kick()
            _ = bench.transport.get(Reg.interruptStatus)
            if UInt8.random(in: 0..<20, using: &random) == 0 { bench.transport.set(Reg.status, 0) }
        }
        #expect(resets > 10)
        try bench.start()
        #expect(try bench.request(getID, output: 20).status == ok)
        #expect(try bench.file.contents.count == 65536)
        #expect(bench.lines.all.count < 200)
    }

    // MARK: Endings

    @Test("a hundred devices made and ended leave no descriptor and no thread behind", arguments: engines)
    func lifeCycle(engine: DiskImageOptions.Engine) throws {
        func descriptors(of path: String) throws -> Int {
            try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").filter {
                (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)")) == path
            }.count
        }
        let file = try ScratchFile(pattern(65536))
        let thread = try EventLoopThread(name: "life-test")
        defer { thread.stop() }
        let guest = try Guest()
        weak var last: VirtioBlock?
        for _ in 0..<100 {
            let image = try afterForks {
                try DiskImage(DiskImageOptions(path: file.path, isDirect: engine == .native, engine: engine), logger: .silent)
            }
            let device = try VirtioBlock(.init(name: "d", queueCount: 4), image: image, loop: thread.loop, logger: .silent)
            let line = TestLine()
            let transport = VirtioMMIOTransport(
                device: device, memory: guest.memory, base: GuestAddress(0), interrupt: line, doorbells: nil, logger: .silent)
            try guest.memory.write([UInt8](repeating: 0, count: 16384), at: GuestAddress(0x1000))
            var driver = DriverQueue(guest.memory, size: 16)
            transport.negotiate()
            transport.setUp(driver)
            transport.set(Reg.status, 15)
            try guest.memory.write([UInt8](repeating: 0, count: 16), at: GuestAddress(0x40000))
            try driver.offer([.readable(0x40000, 16), .writable(0x80000, 512), .writable(0x80200, 1)])
            transport.set(Reg.queueNotify, 0)
            try line.wait { try driver.usedIndex == 1 }
            transport.shutDown()
            last = device
        }
        #expect(last == nil)
        // The last thread of a pool may still be on its way out.
        for _ in 0..<1000 where try descriptors(of: file.path) > 0 { usleep(10_000) }
        #expect(try descriptors(of: file.path) == 0)
    }

    @Test("Its thread is tried late, stays so while many requests come together, and is woken at once when they no longer do")
    func moderation() throws {
        let bench = try BlockBench(pattern(65536))
        try bench.start()
        func readTogether(_ count: Int) throws {
            for index in 0..<UInt64(count) {
                try bench.putHeader(0, index, at: 0x40000 + index * 16)
                try bench.queues[0].offer([
                    .readable(0x40000 + index * 16, 16), .writable(0x80000 + index * 1024, 512),
                    .writable(0x80200 + index * 1024, 1),
                ])
            }
            bench.kick()
            #expect(try bench.completions(count).count == count)
        }
        let usual: Int32 = 0
        let batch: Int32 = 3
        #expect(bench.threadPolicy == usual)
        for _ in 0..<64 where bench.threadPolicy == usual { try readTogether(1) }
        #expect(bench.threadPolicy == batch)
        for _ in 0..<40 { try readTogether(8) }
        #expect(bench.threadPolicy == batch)
        for _ in 0..<16 { try readTogether(1) }
        #expect(bench.threadPolicy == usual)
    }

    @Test("Its thread is not left late by a device that is silent, or gone", arguments: [true, false])
    func silence(isGone: Bool) throws {
        let bench = try BlockBench(pattern(65536))
        try bench.start()
        for index in 0..<64 where bench.threadPolicy == 0 { _ = try bench.request(read, UInt64(index), output: 512) }
        #expect(bench.threadPolicy == 3)
        if isGone { bench.transport.shutDown() }
        for _ in 0..<1000 where bench.threadPolicy != 0 { usleep(10_000) }
        #expect(bench.threadPolicy == 0)
    }
}

/// An interrupt that only remembers.
private final class TestInterrupt: VirtioInterrupt {
    private let lock = NSLock()
    nonisolated(unsafe) private var storedUsed: [Int] = []
    nonisolated(unsafe) private var storedFailures = 0

    var used: [Int] { lock.withLock { storedUsed } }
    var failures: Int { lock.withLock { storedFailures } }

    func queueUsed(_ index: Int) { lock.withLock { storedUsed.append(index) } }
    func configurationChanged() {}
    func deviceNeedsReset() { lock.withLock { storedFailures += 1 } }
}

/// A queue of a block device whose engine does nothing until the test says so.
private final class HeldBench {
    let guest: Guest
    let file: ScratchFile
    let disk: HeldDiskQueue
    let queue: BlockQueue
    let interrupt = TestInterrupt()
    var driver: DriverQueue

    init(
        depth: Int, queueSize: UInt16 = 16, onDrain: @escaping @Sendable (HeldDiskQueue.DrainStep) -> Void = { _ in }
    ) throws {
        guest = try Guest()
        file = try ScratchFile(pattern(65536))
        disk = try HeldDiskQueue(depth: depth, onDrain: onDrain)
        let image = try DiskImage(DiskImageOptions(path: file.path, engine: .synchronous), logger: .silent)
        queue = BlockQueue(
            index: 0, kick: try EventDescriptor(), disk: disk,
            shared: .init(
                image: image, serial: Array(repeating: 0, count: 20), limiter: LogLimiter(source: "test", logger: .silent)))
        driver = DriverQueue(guest.memory, size: queueSize)
        queue.activate(
            .init(layout: try driver.layout()),
            VirtioActivation(
                features: [.version1, .blockFlush], memory: guest.memory, queues: [], interrupt: interrupt),
            isWriteback: true)
        try guest.memory.write([UInt8](repeating: 0, count: 16), at: GuestAddress(0x40000))
    }

    /// Offers reads and has the queue take them.
    ///
    /// - Returns: the requests that wait then.
    func takeReads(_ count: Int) throws -> [Int32] {
        for index in 0..<count { try offerRead(index) }
        queue.process()
        return disk.waiting
    }

    @discardableResult
    func offerRead(_ index: Int) throws -> UInt16 {
        try driver.offer([
            .readable(0x40000, 16), .writable(0x80000 + UInt64(index) * 512, 512), .writable(0xC0000 + UInt64(index), 1),
        ])
    }
}
