package import StratoHost
package import StratoMemory

/// An item's bytes where they are too many to be held: a kernel, an initial RAM disk.
package protocol FirmwareSource: AnyObject, Sendable {
    /// In bytes; does not change.
    var size: UInt32 { get }

    /// Copies bytes to guest memory. The caller has made sure that they are inside of both.
    ///
    /// - Throws: `LinuxError`; what was copied by then is undefined.
    func read(at offset: UInt32, count: Int, to address: GuestAddress, in memory: GuestMemory) throws(LinuxError)
}

/// A part of a file of the host as an item's bytes.
package final class FirmwareFile: FirmwareSource {
    package let size: UInt32

    private let descriptor: OwnedDescriptor
    private let start: UInt64

    /// - Parameters:
    ///   - descriptor: open for reading; its offset is not used.
    ///   - offset: where the item begins in the file, in bytes.
    ///   - size: of the item, in bytes.
    package init(_ descriptor: consuming OwnedDescriptor, offset: UInt64, size: UInt32) {
        self.descriptor = descriptor
        start = offset
        self.size = size
    }

    package func read(at offset: UInt32, count: Int, to address: GuestAddress, in memory: GuestMemory) throws(LinuxError) {
        let (position, overflow) = start.addingReportingOverflow(UInt64(offset))
        // What can't be added is past the end of every file, and is refused as such.
        try memory.load(from: descriptor, offset: overflow ? .max : position, count: count, at: address)
    }
}
