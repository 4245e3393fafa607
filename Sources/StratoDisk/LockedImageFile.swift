internal import CStratoLinux
internal import Glibc
package import StratoHost
package import StratoMemory

/// An image that is read whole and written in place, a piece at a time and without a queue: what flash is kept in. It is
/// locked as disk images are.
package final class LockedImageFile: Sendable {
    package let path: String

    /// In bytes, when it was opened.
    package let size: UInt64

    package let isReadOnly: Bool

    private let descriptor: OwnedDescriptor

    /// Opens and locks an image. Nothing is written.
    ///
    /// - Parameters:
    ///   - path: a regular file or a block device.
    ///   - isReadOnly: lets others read it at the same time.
    ///   - logger: told if the image could not be locked.
    /// - Throws: `DiskError` for what is missing, in use, or neither file nor block device.
    package init(path: String, isReadOnly: Bool, logger: Logger) throws(DiskError) {
        let image = try DiskImage(
            DiskImageOptions(path: path, isReadOnly: isReadOnly, engine: .synchronous), logger: logger)
        do {
            // The lock belongs to the open file, which both descriptors share.
            descriptor = try image.descriptor.duplicate()
        } catch {
            throw DiskError("image \(path): \(error.reason)")
        }
        self.path = path
        self.isReadOnly = isReadOnly
        size = image.contentSize
    }

    /// Copies the first bytes to guest memory.
    ///
    /// - Throws: `LinuxError`, also where the file ends early.
    package func load(into memory: GuestMemory, at address: GuestAddress, count: Int) throws(LinuxError) {
        try memory.load(from: descriptor, offset: 0, count: count, at: address)
    }

    /// Writes bytes through to the file.
    ///
    /// - Throws: `LinuxError`; some of the bytes may have been written then.
    package func write(_ bytes: Span<UInt8>, at offset: UInt64) throws(LinuxError) {
        var done = 0
        while done < bytes.count {
            guard let position = Int64(exactly: offset &+ UInt64(done)) else {
                throw LinuxError(code: EFBIG, operation: "write \(path)")
            }
            // SAFETY: `done` stays below the span's count.
            let amount = unsafe bytes.withUnsafeBytes { buffer -> Int in
                guard let base = buffer.baseAddress else { return 0 }
                return unsafe csl_pwrite(descriptor.number, base + done, buffer.count - done, position)
            }
            if amount == -Int(EINTR) { continue }
            guard amount >= 0 else {
                throw LinuxError(code: Int32(clamping: 0 - amount), operation: "write \(path)")
            }
            done += amount
        }
    }

    /// Returns when everything written so far outlives the host.
    ///
    /// - Throws: `LinuxError`.
    package func synchronize() throws(LinuxError) {
        try LinuxError.check(csl_fdatasync(descriptor.number), "flush \(path)")
    }
}
