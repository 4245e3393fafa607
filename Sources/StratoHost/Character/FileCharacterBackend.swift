internal import Glibc

/// Output only, at the end of a file: made if it is not there, never cut.
package final class FileCharacterBackend: CharacterBackend {
    private let path: String
    private let loop: EventLoop
    private let receiver = ReceiverSlot()
    private let output: any CharacterOutput

    /// - Parameters:
    ///   - path: a file, which is made for its owner alone, or a FIFO that somebody reads.
    ///   - loop: flushes what a FIFO's reader did not take at once.
    ///   - logger: told of lost bytes and errors.
    /// - Throws: `LinuxError` if the file can't be opened.
    package init(path: String, loop: EventLoop, logger: Logger) throws(LinuxError) {
        let flags = O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_NOCTTY
        let stream = try HostStream(opened: OwnedDescriptor(opening: path, flags: flags, mode: 0o600))
        self.path = path
        self.loop = loop
        output = CharacterOutputContext(source: path, loop: loop, logger: logger, onFailure: { _ in }).makeOutput(stream)
    }

    package func attach(_ receiver: any CharacterReceiver) {
        self.receiver.receiver = receiver
        loop.execute { [weak self] in self?.receiver.receiver?.connectionChanged(isOpen: true) }
    }

    package func detach() { receiver.receiver = nil }
    package func write(_ bytes: Span<UInt8>) { output.write(bytes) }
    package func resumeInput() {}
    package var filename: String { "file:\(path)" }
    package var droppedCount: UInt64 { output.droppedCount }

    package func close() {
        detach()
        output.close(isWaiting: true)
    }
}
