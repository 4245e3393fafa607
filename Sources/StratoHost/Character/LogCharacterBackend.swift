internal import Synchronization

/// Lines of output become lines of the log.
package final class LogCharacterBackend: CharacterBackend {
    private struct State {
        var line: [UInt8] = []
        var dropped: UInt64 = 0
    }

    /// Longer lines are cut into pieces of this many bytes, so that a guest that never ends a line takes no more memory.
    private static let lineLimit = 512
    /// Lines let through in `intervalSeconds`: enough for a kernel to boot, too few to fill a disk unnoticed.
    private static let burst = 2000
    private static let intervalSeconds: Int64 = 10

    private let loop: EventLoop
    private let receiver = ReceiverSlot()
    private let limiter: LogLimiter
    private let state = Mutex(State())

    /// - Parameters:
    ///   - source: begins each line.
    ///   - loop: where the receiver is told that it is connected.
    ///   - logger: gets the lines, as information.
    package init(source: String, loop: EventLoop, logger: Logger) {
        self.loop = loop
        limiter = LogLimiter(
            source: source, logger: logger, burst: LogCharacterBackend.burst,
            intervalSeconds: LogCharacterBackend.intervalSeconds)
    }

    package func attach(_ receiver: any CharacterReceiver) {
        self.receiver.receiver = receiver
        loop.execute { [weak self] in self?.receiver.receiver?.connectionChanged(isOpen: true) }
    }

    package func detach() { receiver.receiver = nil }

    package func write(_ bytes: Span<UInt8>) {
        for index in bytes.indices {
            let byte = bytes[index]
            let line: [UInt8]? = state.withLock { state in
                if byte != UInt8(ascii: "\n") { state.line.append(byte) }
                guard byte == UInt8(ascii: "\n") || state.line.count >= LogCharacterBackend.lineLimit else { return nil }
                defer { state.line.removeAll(keepingCapacity: true) }
                return state.line
            }
            if let line { limiter.log(.info, LogCharacterBackend.text(line)) }
        }
    }

    package func resumeInput() {}
    package var filename: String { "log" }
    package var droppedCount: UInt64 { limiter.suppressedCount }

    package func close() {
        detach()
        let line = state.withLock { state in
            defer { state.line = [] }
            return state.line
        }
        if !line.isEmpty { limiter.log(.info, LogCharacterBackend.text(line)) }
    }

    /// A guest's line must not steer the terminal that the log is read on, nor look like two lines.
    private static func text(_ line: [UInt8]) -> String {
        var text = ""
        var rest = line[...]
        while rest.last == UInt8(ascii: "\r") { rest.removeLast() }
        for scalar in String(decoding: rest, as: UTF8.self).unicodeScalars {
            switch scalar.properties.generalCategory {
            case .control where scalar != "\t", .lineSeparator, .paragraphSeparator, .format:
                text += "\\u{\(String(scalar.value, radix: 16))}"
            default:
                text.unicodeScalars.append(scalar)
            }
        }
        return text
    }
}
