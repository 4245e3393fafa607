internal import CStratoLinux
internal import Glibc

/// A connected stream socket that is read and written without ever waiting.
///
/// Descriptors that the peer passes along with bytes are not asked for, and the kernel closes them.
package struct StreamSocket: ~Copyable, Sendable {
    private let descriptor: OwnedDescriptor

    /// Takes ownership of a connected socket.
    package init(_ descriptor: consuming OwnedDescriptor) {
        self.descriptor = descriptor
    }

    /// The descriptor's number, for an event loop; valid as long as this value lives.
    package var number: Int32 { descriptor.number }

    /// Reads what is there, into the first elements of a buffer, which keeps its size.
    ///
    /// - Parameter buffer: at least one element.
    /// - Returns: how many bytes; 0 once the peer sends no more; nil if nothing is there now.
    /// - Throws: `LinuxError`, ECONNRESET where the peer is gone.
    package func receive(into buffer: inout [UInt8]) throws(LinuxError) -> Int? {
        guard !buffer.isEmpty else { return nil }
        // SAFETY: at most the buffer's count is written.
        let result = unsafe buffer.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return -Int(EAGAIN) }
            return unsafe csl_read(descriptor.number, 1, base, buffer.count)
        }
        return try transferred(result, "read from a peer")
    }

    /// Sends as many of the bytes as go at once. A peer that is gone raises no signal.
    ///
    /// - Returns: how many bytes went; nil if none can go now.
    /// - Throws: `LinuxError`, EPIPE or ECONNRESET where the peer is gone.
    package func send(_ bytes: Span<UInt8>) throws(LinuxError) -> Int? {
        guard bytes.count > 0 else { return 0 }
        // SAFETY: the span outlives the call.
        let result = unsafe bytes.withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return 0 }
            return unsafe csl_write(descriptor.number, 1, base, buffer.count)
        }
        return try transferred(result, "write to a peer")
    }

    private func transferred(_ result: Int, _ operation: String) throws(LinuxError) -> Int? {
        if result >= 0 { return result }
        guard result != -Int(EAGAIN) else { return nil }
        throw LinuxError(code: Int32(clamping: 0 &- result), operation: operation)
    }
}
