import CStratoLinux
import Foundation
import StratoHost
import StratoMemory
import Testing

@testable import StratoDisk

/// A file in a directory of its own, both gone with the value.
final class ScratchFile {
    let directory: URL
    let path: String

    init(_ contents: [UInt8]) throws {
        directory = FileManager.default.temporaryDirectory.appendingPathComponent("strato-disk-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        path = directory.appendingPathComponent("disk.img").path
        try Data(contents).write(to: URL(fileURLWithPath: path))
    }

    deinit {
        try? FileManager.default.removeItem(at: directory)
    }

    var contents: [UInt8] {
        get throws { [UInt8](try Data(contentsOf: URL(fileURLWithPath: path))) }
    }

    /// Bytes that the file takes up on its file system.
    var allocatedSize: Int {
        var status = stat()
        stat(path, &status)
        return Int(status.st_blocks) * 512
    }
}

/// Odd bytes without a visible order, made once.
private let pool: [UInt8] = {
    var state: UInt64 = 0x9E37_79B9_7F4A_7C15
    return (0..<(4 << 20)).map { _ in
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return UInt8(truncatingIfNeeded: state) | 1
    }
}()

/// Bytes that tell their place and seed, none of them zero.
func pattern(_ count: Int, seed: Int = 0) -> [UInt8] {
    let start = (seed &* 977) & 0xF_FFFF
    return Array(pool[start..<(start + count)])
}

/// Sixteen MiB of guest memory, to take buffers from.
struct Guest {
    let memory: GuestMemory

    init() throws {
        let range = try #require(GuestRange(base: GuestAddress(0), size: 16 << 20))
        memory = try GuestMemory([range])
    }

    func buffer(_ address: UInt64, _ count: Int) throws -> GuestBuffer {
        try #require(memory.buffer(at: GuestAddress(address), count: count))
    }
}

/// A request as a test says it.
struct Draft {
    var operation = DiskOperation.flush
    var offset: UInt64 = 0
    var segments: [GuestBuffer] = []
    var ranges: [DiskRange] = []
    var isWriteThrough = false
}

extension DiskQueue {
    /// Fills a request in.
    func fill(_ index: Int32, _ configure: (inout Draft) -> Void) {
        var draft = Draft()
        configure(&draft)
        requests.with(index) { request in
            request.operation = draft.operation
            request.offset = draft.offset
            request.isWriteThrough = draft.isWriteThrough
            request.removeSegments()
            for segment in draft.segments { request.append(segment) }
            request.removeRanges()
            for range in draft.ranges { request.append(range) }
        }
    }

    /// Submits requests, waits for all of them and answers which were completed, in ascending order.
    func finish(_ indices: [Int32]) -> [Int32] {
        _ = submit(indices.span)
        return finished
    }

    /// Waits for what is in flight and answers which requests were completed, in ascending order.
    var finished: [Int32] {
        drain()
        var done = FixedVector<Int32>(capacity: requests.count)
        takeCompletions(into: &done)
        return (0..<done.count).map { done[$0] }.sorted()
    }

    func result(_ index: Int32) -> Int32 { requests.result(of: index) }

    /// Submits request 0 and answers its result.
    func run(_ configure: (inout Draft) -> Void) -> Int32 {
        fill(0, configure)
        return finish([0]) == [0] ? result(0) : -1
    }

    func read(_ offset: UInt64, _ segments: [GuestBuffer]) -> Int32 {
        run { request in
            request.operation = .read
            request.offset = offset
            request.segments = segments
        }
    }

    func write(_ offset: UInt64, _ segments: [GuestBuffer]) -> Int32 {
        run { request in
            request.operation = .write
            request.offset = offset
            request.segments = segments
        }
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

/// Answers what `body` does, trying again for a while as long as it throws: a process that another test starts holds every
/// descriptor of this one, and the locks with them, from its fork to its exec.
func afterForks<Result>(_ body: () throws -> Result) throws -> Result {
    for _ in 0..<500 {
        if let result = try? body() { return result }
        usleep(10_000)
    }
    return try body()
}
