internal import Glibc
package import StratoHost
package import StratoMemory

/// A kernel or an initial RAM disk: a file that stays open, so that a reset loads the same one again.
package final class BootFile: Sendable {
    /// The option that named it, for errors: `-kernel`.
    package let option: String

    package let path: String

    /// In bytes, at least 1; what is added to the file later is not seen.
    package let size: UInt64

    fileprivate let descriptor: OwnedDescriptor

    /// Takes an open file.
    ///
    /// - Throws: `BootError` for a file without an end to seek to, and for an empty one.
    package init(option: String, path: String, descriptor: consuming OwnedDescriptor) throws(BootError) {
        let end = lseek(descriptor.number, 0, SEEK_END)
        guard end >= 0 else {
            throw BootError("\(option) \(path): not a regular file")
        }
        guard end > 0 else {
            throw BootError("\(option) \(path): the file is empty")
        }
        self.option = option
        self.path = path
        self.size = UInt64(end)
        self.descriptor = descriptor
    }

    /// Opens a file; a pipe is not waited for.
    ///
    /// - Throws: `BootError`.
    package convenience init(option: String, opening path: String) throws(BootError) {
        let descriptor: OwnedDescriptor
        do {
            descriptor = try OwnedDescriptor(opening: path, flags: O_RDONLY | O_NONBLOCK)
        } catch {
            throw BootError("\(option) \(path): \(error.reason)")
        }
        try self.init(option: option, path: path, descriptor: descriptor)
    }

    /// The error that names this file.
    func error(_ reason: some CustomStringConvertible) -> BootError {
        BootError("\(option) \(path): \(reason)")
    }

    /// Copies a part of the file straight into guest memory.
    ///
    /// - Throws: `BootError` if the part is not in the file, or its place is not guest memory.
    func load(offset: UInt64, count: UInt64, into memory: GuestMemory, at address: UInt64) throws(BootError) {
        guard count > 0 else { return }
        guard offset <= size, count <= size - offset, let amount = Int(exactly: count) else {
            throw error("the file ends early")
        }
        do {
            try memory.load(from: descriptor, offset: offset, count: amount, at: GuestAddress(address))
        } catch {
            throw self.error(error.reason)
        }
    }
}

extension BootFile {
    /// Copies a part of the file straight into guest memory, for a guest that asks for it.
    ///
    /// - Throws: `LinuxError` of the read, with EIO for a file that has become shorter.
    package func read(
        offset: UInt64, count: Int, to address: GuestAddress, in memory: GuestMemory
    ) throws(LinuxError) {
        try memory.load(from: descriptor, offset: offset, count: count, at: address)
    }
}

/// A part of a file at a time, for looking into it: however large the file, no more than the window is in memory.
struct FileWindow {
    static let size = 0x1_0000

    let file: BootFile
    private let memory: GuestMemory

    init(_ file: BootFile) throws(BootError) {
        guard let range = GuestRange(base: GuestAddress(0), size: UInt64(FileWindow.size)) else {
            throw file.error("no memory to read it")
        }
        do {
            memory = try GuestMemory([range])
        } catch {
            throw file.error(error)
        }
        self.file = file
    }

    /// The bytes from `offset` on: `count` of them, less at the end of the file and never more than the window.
    func bytes(at offset: UInt64, count: Int) throws(BootError) -> [UInt8] {
        guard offset < file.size else { return [] }
        let amount = Int(min(UInt64(clamping: count), UInt64(FileWindow.size), file.size - offset))
        try file.load(offset: offset, count: UInt64(amount), into: memory, at: 0)
        do {
            return try memory.read(amount, at: GuestAddress(0))
        } catch {
            throw file.error(error)
        }
    }
}
