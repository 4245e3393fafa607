import Foundation
import Testing

/// What this process holds of its host.
struct ProcessUsage: Equatable, CustomStringConvertible {
    var descriptors: Int
    var threads: Int
    var mappings: Int
    /// Resident memory that no file is behind, in KiB: the guests' memory of these tests is not in it, as a file holds that.
    var anonymousKiB: Int

    /// Looks at the process, after giving the host what the C library's allocator keeps without need.
    ///
    /// - Parameter threads: how many are expected; up to a time limit it is waited for that there are no more.
    static func measure(expecting threads: Int? = nil) throws -> ProcessUsage {
        if let threads { _ = try OpenResources.wait(forThreads: threads) }
        giveBackFreeMemory()
        let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
        let line = try #require(status.split(separator: "\n").first { $0.hasPrefix("RssAnon:") })
        let anonymous = try #require(
            line.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first.flatMap { Int($0) })
        let maps = try String(contentsOfFile: "/proc/self/maps", encoding: .utf8)
        return ProcessUsage(
            descriptors: try OpenResources.descriptors(), threads: try OpenResources.threads(),
            mappings: maps.split(separator: "\n").count, anonymousKiB: anonymous)
    }

    /// Calls `malloc_trim`, which the C library's module does not show.
    private static func giveBackFreeMemory() {
        guard let symbol = dlsym(nil, "malloc_trim") else { return }
        _ = unsafeBitCast(symbol, to: (@convention(c) (Int) -> Int32).self)(0)
    }

    /// Says what has come to stay since `before`, and records an issue if that is more than chance.
    ///
    /// Descriptors and threads are counted exactly. The allocator makes up to eight arenas a processor when threads meet
    /// in it, each two mappings, and what it has cut into pieces it cannot give back: some room is left for both, far less
    /// than any of a machine's own would take.
    func reportGrowth(since before: ProcessUsage, mappings tolerance: Int = 16, anonymousKiB room: Int = 6 << 10) {
        report("before: \(before); after: \(self)")
        report(descriptors <= before.descriptors, "descriptors were left")
        report(threads <= before.threads, "threads were left")
        guard !Sanitizer.isActive else { return }
        report(mappings <= before.mappings + tolerance, "mappings were left")
        report(anonymousKiB <= before.anonymousKiB + room, "memory was left")
    }

    var description: String {
        "\(descriptors) descriptors, \(threads) threads, \(mappings) mappings, \(anonymousKiB) KiB"
    }
}

/// Says something to the parent of a process that a test was put into, which shows it.
func report(_ text: String) {
    FileHandle.standardError.write(Data("\(text)\n".utf8))
}

/// Records an issue, and says what it is, if something that is expected in a test's own process is not so: of such an issue
/// the parent learns no more than that it is there.
func report(_ isAsExpected: Bool, _ failure: @autoclosure () -> String, _ location: SourceLocation = #_sourceLocation) {
    guard !isAsExpected else { return }
    let failure = failure()
    report("line \(location.line): \(failure)")
    #expect(Bool(false), Comment(rawValue: failure), sourceLocation: location)
}

/// Shows what a process said that a test was put into.
func printReport(of child: ExitTest.Result?) {
    guard let child, !child.standardErrorContent.isEmpty else { return }
    print(String(decoding: child.standardErrorContent, as: UTF8.self), terminator: "")
}
