import CStratoLinux
import Foundation
import Glibc

/// What a stream has carried so far; any thread may wait for more.
///
/// Waiting moves a cursor behind what was found, so that the next wait looks at later bytes alone.
final class Transcript: @unchecked Sendable {
    private let condition = NSCondition()
    // Guarded by `condition`.
    private var bytes = Data()
    private var cursor = 0
    private var isClosed = false

    /// Reads a descriptor on a thread of its own until it ends, and closes it.
    init(reading descriptor: Int32, name: String) {
        let thread = Thread { [self] in
            var buffer = [UInt8](repeating: 0, count: 65536)
            while true {
                let count = read(descriptor, &buffer, buffer.count)
                if count < 0, errno == EINTR { continue }
                // A pseudo terminal is one file for both ways: whoever writes may have it not wait.
                if count < 0, errno == EAGAIN {
                    var poller = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
                    poll(&poller, 1, -1)
                    continue
                }
                // A pseudo terminal whose other side has gone answers EIO.
                guard count > 0 else { break }
                append(buffer[..<count])
            }
            close(descriptor)
            finish()
        }
        thread.name = name
        thread.start()
    }

    /// For tests of what reads a transcript.
    init(_ text: String) {
        bytes = Data(text.utf8)
        isClosed = true
    }

    private func append(_ more: ArraySlice<UInt8>) {
        condition.withLock {
            bytes.append(contentsOf: more)
            condition.broadcast()
        }
    }

    private func finish() {
        condition.withLock {
            isClosed = true
            condition.broadcast()
        }
    }

    /// Everything so far.
    var text: String { condition.withLock { String(decoding: bytes, as: UTF8.self) } }

    var byteCount: Int { condition.withLock { bytes.count } }

    /// The last lines, for messages.
    func tail(lines count: Int = 40) -> String {
        text.replacingOccurrences(of: "\r", with: "").split(separator: "\n", omittingEmptySubsequences: false)
            .suffix(count).joined(separator: "\n")
    }

    /// Waits for a text behind the cursor, and puts the cursor behind it.
    ///
    /// - Returns: false if the stream ended, or the time was over, before it came.
    func find(_ wanted: String, within seconds: TimeInterval) -> Bool {
        let needle = Data(wanted.utf8)
        var searched = condition.withLock { cursor }
        return wait(within: seconds) {
            let start = max(cursor, searched - needle.count)
            searched = bytes.count
            guard let found = bytes.range(of: needle, in: start..<bytes.count) else { return false }
            cursor = found.upperBound
            return true
        }
    }

    /// Waits until the stream has carried more than `count` bytes.
    func grows(beyond count: Int, within seconds: TimeInterval) -> Bool {
        wait(within: seconds) { bytes.count > count }
    }

    /// Waits for the stream's end.
    func ends(within seconds: TimeInterval) -> Bool {
        condition.withLock {
            let deadline = Date(timeIntervalSinceNow: seconds)
            while !isClosed, condition.wait(until: deadline) {}
            return isClosed
        }
    }

    /// Waits until nothing has come for a while.
    func settles(for silence: TimeInterval, within seconds: TimeInterval) -> Bool {
        let deadline = Date(timeIntervalSinceNow: seconds)
        while Date() < deadline {
            if !grows(beyond: byteCount, within: silence) { return true }
        }
        return false
    }

    private func wait(within seconds: TimeInterval, until isMet: () -> Bool) -> Bool {
        condition.withLock {
            let deadline = Date(timeIntervalSinceNow: seconds)
            while true {
                if isMet() { return true }
                if isClosed { return false }
                // What came together with the deadline still counts.
                if !condition.wait(until: deadline) { return isMet() }
            }
        }
    }
}
