internal import Glibc

/// Bytes on their way out, over whatever kind of stream.
protocol CharacterOutput: AnyObject, Sendable {
    /// Sends bytes on their way without waiting.
    func write(_ bytes: Span<UInt8>)

    /// How many bytes were lost because nobody read them.
    var droppedCount: UInt64 { get }

    /// Flushes what goes without waiting, and closes the stream.
    func close()
}

/// What makes an output, whatever its kind.
struct CharacterOutputContext: Sendable {
    /// How many bytes are kept while nobody reads them.
    static let capacity = 64 << 10

    /// What the output goes to; stands in errors and the log.
    let source: String

    /// Flushes what the other end did not take at once.
    let loop: EventLoop

    /// Told of lost bytes and errors.
    let logger: Logger

    /// Called once, on any thread and with no lock held, when the other end is gone for good.
    let onFailure: @Sendable (LinuxError) -> Void

    /// The output that fits a stream, which is closed with it.
    func makeOutput(_ stream: consuming HostStream) -> any CharacterOutput {
        switch stream.kind {
        case .shared: ThreadedOutput(stream, self)
        case .nonBlocking, .socket, .file: PolledOutput(stream, self)
        }
    }

    func failure(_ result: Int) -> LinuxError {
        LinuxError(code: Int32(clamping: 0 &- result), operation: "write to \(source)")
    }

    /// A full disk may have room again: the bytes are lost, the stream is not.
    static func isPassing(_ result: Int) -> Bool {
        result == -Int(ENOSPC) || result == -Int(EDQUOT)
    }
}
