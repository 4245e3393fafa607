internal import CStratoLinux
internal import Glibc
internal import StratoHost

/// A file in memory, with a path as long as this object lives.
final class FuzzFile: Sendable {
    private let descriptor: OwnedDescriptor

    /// - Throws: `LinuxError`.
    init(_ bytes: [UInt8]) throws(LinuxError) {
        // SAFETY: the string lives for the length of the call.
        descriptor = OwnedDescriptor(owning: try LinuxError.check(unsafe csl_memfd_create("fuzz"), "make a file in memory"))
        try write(bytes)
    }

    var path: String { "/proc/self/fd/\(descriptor.number)" }

    /// In bytes.
    var size: Int { Int(lseek(descriptor.number, 0, SEEK_END)) }

    /// Gives the start of the file these contents.
    ///
    /// - Throws: `LinuxError`.
    func write(_ bytes: [UInt8]) throws(LinuxError) {
        // SAFETY: the array's bytes live for the length of the call.
        let written = unsafe bytes.withUnsafeBytes { unsafe pwrite(descriptor.number, $0.baseAddress, $0.count, 0) }
        guard written == bytes.count else { throw LinuxError(code: errno, operation: "write a file in memory") }
    }
}
