import Foundation
import Glibc
import StratoDisk
import StratoHost
import StratoMemory
import Testing

@testable import StratoVirtio

/// What a guest and the log are told when the host's file fails.
@Suite("Block device faults")
struct BlockFaultTests {
    private enum Request {
        static let read: UInt32 = 0
        static let write: UInt32 = 1
        static let flush: UInt32 = 4
    }

    private enum Status {
        static let ok: UInt8 = 0
        static let ioError: UInt8 = 1
    }

    private static let engines: [DiskImageOptions.Engine] = [.synchronous, .threads, .native, .ioUring]

    /// How long files may become in the process of a test: what the host has room for.
    private static let room = 64 << 10

    private static func limitFiles() -> Bool {
        signal(SIGXFSZ, SIG_IGN)
        var limit = rlimit()
        let kind = __rlimit_resource_t(RLIMIT_FSIZE.rawValue)
        guard getrlimit(kind, &limit) == 0 else { return false }
        limit.rlim_cur = rlim_t(room)
        return setrlimit(kind, &limit) == 0
    }

    /// Ends the test's own process unless all is as it should be; its parent shows the line.
    private static func require(_ isAsExpected: Bool, _ text: @autoclosure () -> String) {
        guard !isAsExpected else { return }
        FileHandle.standardError.write(Data("\(text())\n".utf8))
        _exit(1)
    }

    @Test(
        "A write that the host has no room for is an I/O error to the guest; what was flushed is there, what follows is served",
        arguments: engines)
    func noRoom(engine: DiskImageOptions.Engine) async {
        // In a process of its own, as the limit is the whole process's.
        switch engine {
        case .synchronous: await #expect(processExitsWith: .success) { try BlockFaultTests.checkNoRoom(.synchronous) }
        case .threads: await #expect(processExitsWith: .success) { try BlockFaultTests.checkNoRoom(.threads) }
        case .native: await #expect(processExitsWith: .success) { try BlockFaultTests.checkNoRoom(.native) }
        case .ioUring: await #expect(processExitsWith: .success) { try BlockFaultTests.checkNoRoom(.ioUring) }
        }
    }

    private static func checkNoRoom(_ engine: DiskImageOptions.Engine) throws {
        let bench = try BlockBench([UInt8](repeating: 0, count: 1 << 20), engine: engine)
        try bench.start()
        require(limitFiles(), "no limit")
        let kept = pattern(4096)
        require(try bench.request(Request.write, 8, input: kept).status == Status.ok, "a write inside")
        require(try bench.request(Request.flush).status == Status.ok, "a flush")
        for number in 0..<100 {
            let sector = UInt64(room / 512 + number * 8)
            let answer = try bench.request(Request.write, sector, input: pattern(4096))
            require(answer.status == Status.ioError, "write \(number) outside: \(answer.status)")
        }
        require(try bench.request(Request.read, 8, output: 4096).data == kept, "what was flushed before")
        require(try bench.request(Request.write, 16, input: kept).status == Status.ok, "a write after")
        require(try bench.request(Request.flush).status == Status.ok, "a flush after")
        let contents = try bench.file.contents
        require(Array(contents[4096..<12288]) == kept + kept && contents[12288...].allSatisfy { $0 == 0 }, "the file")
        // As many as are let through in one interval, or in two.
        let lines = bench.lines.all
        require((1...11).contains(lines.count), "\(lines.count) lines")
        for line in lines where !line.contains("similar lines left out") {
            require(
                line.hasPrefix("disk rootfs: write at byte ") && line.contains(bench.file.path)
                    && line.hasSuffix("File too large"), line)
        }
    }

    @Test("Of a batch of reads from an image that was cut those alone fail that reach behind its end", arguments: engines)
    func cutImage(engine: DiskImageOptions.Engine) throws {
        let contents = pattern(256 << 10)
        let bench = try BlockBench(contents, engine: engine)
        try bench.start()
        #expect(truncate(bench.file.path, 5 * 4096 + 100) == 0)
        var heads: [UInt32: Int] = [:]
        for index in 0..<16 {
            let header = UInt64(0x40000 + index * 16)
            try bench.putHeader(Request.read, UInt64(index * 8), at: header)
            let data = UInt64(0x80000 + index * 8192)
            try bench.guest.memory.write([UInt8](repeating: 0xEE, count: 4097), at: GuestAddress(data))
            let head = try bench.queues[0].offer([
                .readable(header, 16), .writable(data, 4096), .writable(data + 4096, 1),
            ])
            heads[UInt32(head)] = index
        }
        bench.kick()
        for (head, length) in try bench.completions(16) {
            let index = try #require(heads[head])
            let found = try bench.guest.memory.read(4097, at: GuestAddress(UInt64(0x80000 + index * 8192)))
            let isInside = index < 5
            #expect(found[4096] == (isInside ? Status.ok : Status.ioError), "request \(index)")
            #expect(length == (isInside ? 4097 : 0), "request \(index)")
            if isInside { #expect(Array(found[..<4096]) == Array(contents[(index * 4096)..<(index * 4096 + 4096)])) }
        }
        // The device goes on, and what is written is there again.
        #expect(try bench.request(Request.write, 80, input: pattern(4096)).status == Status.ok)
        #expect(try bench.request(Request.read, 80, output: 4096).data == pattern(4096))
        #expect(try bench.request(Request.flush).status == Status.ok)
    }
}
