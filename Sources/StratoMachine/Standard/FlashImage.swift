internal import StratoDisk
package import StratoHost
package import StratoMemory
internal import StratoPlatform

/// A locked file of the host that a flash bank's contents are kept in.
package final class FlashImage: FlashStorage {
    private let file: LockedImageFile

    /// Opens and locks a file. Nothing is written.
    ///
    /// - Parameters:
    ///   - path: a regular file or a block device.
    ///   - isReadOnly: lets others read it at the same time.
    ///   - logger: told if it could not be locked.
    /// - Throws: `MachineError`.
    package init(path: String, isReadOnly: Bool, logger: Logger) throws(MachineError) {
        file = try building { try LockedImageFile(path: path, isReadOnly: isReadOnly, logger: logger) }
    }

    package var name: String { file.path }
    package var size: UInt64 { file.size }
    package var isReadOnly: Bool { file.isReadOnly }

    package func load(into memory: GuestMemory, at address: GuestAddress, count: Int) throws(LinuxError) {
        try file.load(into: memory, at: address, count: count)
    }

    package func write(_ bytes: Span<UInt8>, at offset: UInt64) throws(LinuxError) {
        try file.write(bytes, at: offset)
    }

    package func synchronize() throws(LinuxError) { try file.synchronize() }
}
