internal import CStratoLinux
internal import Glibc
internal import StratoHost
internal import Synchronization

/// Where the process's log lines go: a file, or standard error.
///
/// A line is `time: [process][thread]:LEVEL: text`, its time in UTC (RFC 3339); clients look for `:LEVEL: `. Without `-D`, warnings
/// and errors alone are shown, in the form of the command line's own messages. A standard error that nobody reads never
/// stops a thread: what it has no room for is counted and left out.
final class LogFile: LogSink {
    /// Longer lines are cut, so that a line that fits a pipe is written whole (`PIPE_BUF`, pipe(7)).
    private static let longestLine = 4096

    private struct State {
        var leftOut: UInt64 = 0
        var hasFailed = false
    }

    /// Nil for standard error, which is not ours to close.
    private let file: OwnedDescriptor?
    private let descriptor: Int32
    private let isPlain: Bool
    private let process = getpid()
    private let state = Mutex(State())

    /// Opens the destination. To be made after the process has become a daemon, whose number it shows.
    ///
    /// - Throws: `CommandLineError` if the file cannot be written.
    init(_ destination: LogDestination) throws(CommandLineError) {
        switch destination {
        case .warnings, .standardError:
            file = nil
            descriptor = STDERR_FILENO
            isPlain = destination == .warnings
        case .file(let path):
            do {
                let opened = try OwnedDescriptor(
                    opening: path, flags: O_WRONLY | O_CREAT | O_APPEND | O_NOCTTY, mode: 0o600)
                descriptor = opened.number
                file = consume opened
            } catch {
                throw CommandLineError("-D", "\(error)")
            }
            isPlain = false
        }
    }

    /// The number of the file that lines go to, -1 for standard error; valid as long as this object lives.
    var fileNumber: Int32 { descriptor == STDERR_FILENO ? -1 : descriptor }

    func write(_ level: LogLevel, _ message: String) {
        let line = isPlain ? Self.plainLine(level, message) : Self.line(level, message, process: process)
        // One at a time: lines stay whole, and room that was found is still there.
        state.withLock { state in
            if descriptor != STDERR_FILENO {
                if let error = Self.failure(writing: line, to: descriptor), !state.hasFailed {
                    // A full disk would say so with every line: once is enough.
                    state.hasFailed = true
                    Self.writeToStandardError(
                        Self.plainLine(.warn, "the log cannot be written, lines are missing: \(error.reason)"))
                }
                return
            }
            guard HostProcess.isWritable(STDERR_FILENO) else {
                state.leftOut &+= 1
                return
            }
            if state.leftOut > 0 {
                let notice = "\(state.leftOut) lines left out: standard error was not read"
                state.leftOut = 0
                Self.writeToStandardError(
                    isPlain ? Self.plainLine(.warn, notice) : Self.line(.warn, notice, process: process))
                guard HostProcess.isWritable(STDERR_FILENO) else {
                    state.leftOut = 1
                    return
                }
            }
            Self.writeToStandardError(line)
        }
    }

    /// Standard error is the last place to tell anything, so that its own failure is told nowhere.
    static func writeToStandardError(_ text: String) {
        _ = failure(writing: text, to: STDERR_FILENO)
    }

    private static func failure(writing text: String, to descriptor: Int32) -> LinuxError? {
        do {
            try HostProcess.write(text, to: descriptor)
            return nil
        } catch {
            return error
        }
    }

    // MARK: Lines

    static func plainLine(_ level: LogLevel, _ message: String) -> String {
        finished(Array((level == .error ? "stratovirt: " : "stratovirt: warning: ").utf8), message)
    }

    static func line(_ level: LogLevel, _ message: String, process: Int32) -> String {
        var bytes = timestamp(WallClock.microseconds)
        bytes.append(contentsOf: ": [\(process)][\(csl_gettid())]:".utf8)
        bytes.append(contentsOf: level.label.utf8)
        bytes.append(contentsOf: ": ".utf8)
        return finished(bytes, message)
    }

    /// Adds the message without what would break the line or steer a terminal.
    private static func finished(_ head: [UInt8], _ message: String) -> String {
        var bytes = head
        for byte in message.utf8 {
            guard bytes.count < longestLine - 8 else {
                // Never in the middle of a character.
                while let last = bytes.last, last & 0xC0 == 0x80 { bytes.removeLast() }
                if let last = bytes.last, last >= 0xC0 { bytes.removeLast() }
                bytes.append(contentsOf: "...".utf8)
                break
            }
            if byte == 0x09 || byte >= 0x20 && byte != 0x7F {
                bytes.append(byte)
            } else {
                bytes.append(contentsOf: "\\x".utf8)
                bytes.append(hexadecimalDigit(byte >> 4))
                bytes.append(hexadecimalDigit(byte & 15))
            }
        }
        bytes.append(UInt8(ascii: "\n"))
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func hexadecimalDigit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") &+ value : UInt8(ascii: "a") &+ (value &- 10)
    }

    /// `2026-01-31T23:59:59.123456Z`, for times since 1970.
    static func timestamp(_ microseconds: Int64) -> [UInt8] {
        let time = max(0, microseconds)
        let seconds = time / 1_000_000
        let date = civilDate(day: seconds / 86400)
        let second = seconds % 86400
        var bytes: [UInt8] = []
        bytes.reserveCapacity(160)
        append(date.year, digits: 4, to: &bytes)
        bytes.append(UInt8(ascii: "-"))
        append(date.month, digits: 2, to: &bytes)
        bytes.append(UInt8(ascii: "-"))
        append(date.day, digits: 2, to: &bytes)
        bytes.append(UInt8(ascii: "T"))
        append(second / 3600, digits: 2, to: &bytes)
        bytes.append(UInt8(ascii: ":"))
        append(second / 60 % 60, digits: 2, to: &bytes)
        bytes.append(UInt8(ascii: ":"))
        append(second % 60, digits: 2, to: &bytes)
        bytes.append(UInt8(ascii: "."))
        append(time % 1_000_000, digits: 6, to: &bytes)
        bytes.append(UInt8(ascii: "Z"))
        return bytes
    }

    /// The date of a day counted from 1 January 1970, by the Gregorian calendar.
    private static func civilDate(day: Int64) -> (year: Int64, month: Int64, day: Int64) {
        func isLeap(_ year: Int64) -> Bool { year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) }
        // 146 097 days are 400 years; a loop over what remains is short enough.
        var rest = day % 146_097
        var year = 1970 + day / 146_097 * 400
        while rest >= (isLeap(year) ? 366 : 365) {
            rest -= isLeap(year) ? 366 : 365
            year += 1
        }
        var month: Int64 = 1
        for length: Int64 in [31, isLeap(year) ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
            guard rest >= length else { break }
            rest -= length
            month += 1
        }
        return (year, month, rest + 1)
    }

    private static func append(_ number: Int64, digits: Int, to bytes: inout [UInt8]) {
        var divisor: Int64 = 1
        for _ in 1..<digits { divisor *= 10 }
        while divisor > 0 {
            bytes.append(UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: number / divisor % 10))
            divisor /= 10
        }
    }
}

extension LogLevel {
    /// The level of that name in any case, as `STRATOVIRT_LOG_LEVEL` has it.
    init?(name: String) {
        let upper = name.utf8.map { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) ? $0 & 0xDF : $0 }
        guard let level = LogLevel.allCases.first(where: { Array($0.label.utf8) == upper }) else { return nil }
        self = level
    }
}
