/// How much a log line matters, most important first.
package enum LogLevel: Int, Comparable, Sendable, CaseIterable {
    case error, warn, info, debug, trace

    package static func < (left: LogLevel, right: LogLevel) -> Bool { left.rawValue < right.rawValue }

    /// The upper-case word that stands in a log line.
    package var label: String {
        switch self {
        case .error: "ERROR"
        case .warn: "WARN"
        case .info: "INFO"
        case .debug: "DEBUG"
        case .trace: "TRACE"
        }
    }
}

/// Where log lines go. An implementation is called from any thread.
package protocol LogSink: AnyObject, Sendable {
    func write(_ level: LogLevel, _ message: String)
}

/// What a module logs to: a sink that it was given, or nothing.
///
/// Lines that outside data can cause go through a `LogLimiter`, so that a guest cannot fill the host's disk.
package struct Logger: Sendable {
    /// Drops everything.
    package static let silent = Logger(sink: nil, level: .error)

    package let level: LogLevel
    private let sink: (any LogSink)?

    package init(sink: (any LogSink)?, level: LogLevel) {
        self.sink = sink
        self.level = level
    }

    package func log(_ level: LogLevel, _ message: @autoclosure () -> String) {
        guard level <= self.level, let sink else { return }
        sink.write(level, message())
    }

    package func error(_ message: @autoclosure () -> String) { log(.error, message()) }
    package func warn(_ message: @autoclosure () -> String) { log(.warn, message()) }
    package func info(_ message: @autoclosure () -> String) { log(.info, message()) }
    package func debug(_ message: @autoclosure () -> String) { log(.debug, message()) }
}
