package import StratoHost
package import StratoMemory

/// Why a flash bank could not be made.
package struct FlashError: Error, Equatable, Sendable, CustomStringConvertible {
    package let description: String

    init(_ description: String) {
        self.description = description
    }
}

/// What keeps a flash bank's contents: a file, which its owner has locked as any other image.
///
/// Called on virtual CPU threads and on the event loop's, one call at a time except for `synchronize`.
package protocol FlashStorage: AnyObject, Sendable {
    /// What stands in errors and the log: the file's path.
    var name: String { get }

    /// In bytes; does not change.
    var size: UInt64 { get }

    /// True if `write` fails always; does not change.
    var isReadOnly: Bool { get }

    /// Copies the first `count` bytes to guest memory.
    ///
    /// - Throws: `LinuxError`, also where the file ends early.
    func load(into memory: GuestMemory, at address: GuestAddress, count: Int) throws(LinuxError)

    /// Writes bytes through to the file: when it returns they outlive this process, though not yet the host.
    ///
    /// - Throws: `LinuxError`.
    func write(_ bytes: Span<UInt8>, at offset: UInt64) throws(LinuxError)

    /// Returns when everything written so far outlives the host (`fdatasync`).
    ///
    /// - Throws: `LinuxError`.
    func synchronize() throws(LinuxError)
}

/// How the guest reaches a flash bank's contents.
package protocol FlashMapping: AnyObject, Sendable {
    /// True lets the guest read and execute the contents straight from the host's memory, by a slot that is read-only so that
    /// writes come to the device (KVM_MEM_READONLY; Linux, Documentation/virt/kvm/api.rst, 4.35). False takes the slot away,
    /// so that reads come to the device as well.
    ///
    /// Called with the bank's lock held: an implementation must not call back.
    ///
    /// - Throws: `LinuxError`; the mapping then is what it was.
    func setReadable(_ isReadable: Bool) throws(LinuxError)
}
