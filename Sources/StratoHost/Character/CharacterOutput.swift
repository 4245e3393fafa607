internal import Glibc

/// Bytes on their way out, over whatever kind of stream.
protocol CharacterOutput: AnyObject, Sendable {
    /// Sends bytes on their way without waiting.
    func write(_ bytes: Span<UInt8>)

    /// How many bytes were lost because nobody read them.
    var droppedCount: UInt64 { get }

    /// Closes the stream.
    ///
    /// - Parameter isWaiting: what is left is written first, for as long as the other end takes it and no longer than
    ///   `CharacterOutputContext.flushMilliseconds`; else only what goes without waiting.
    func close(isWaiting: Bool)
}

/// What makes an output, whatever its kind.
struct CharacterOutputContext: Sendable {
    /// How many bytes are kept while nobody reads them.
    static let capacity = 64 << 10

    /// How long the other end may take nothing before what is left for it at the end is given up.
    static let patienceMilliseconds = 500

    /// How long writing what is left may take in all, however slowly it is read.
    static let flushMilliseconds = 3000

    /// What the output goes to; stands in errors and the log.
    let source: String

    /// Flushes what the other end did not take at once.
    let loop: EventLoop

    /// Told of lost bytes and errors.
    let logger: Logger

    /// What a thread of the output's own enters before it does anything; nil for a thread that may do everything.
    var confinement: ThreadConfinement?

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
