internal import CStratoLinux
internal import Glibc

/// A file descriptor that has one owner and is closed with it.
package struct OwnedDescriptor: ~Copyable, Sendable {
    /// The descriptor's number, valid as long as this value lives.
    package let number: Int32

    /// Takes ownership of an open descriptor.
    package init(owning number: Int32) {
        self.number = number
    }

    /// Opens a file, always with `O_CLOEXEC`.
    ///
    /// - Throws: `LinuxError` naming the path.
    package init(opening path: String, flags: Int32, mode: UInt32 = 0) throws(LinuxError) {
        // SAFETY: the string lives for the length of the call.
        let result = unsafe csl_open(path, flags, mode)
        self.number = try LinuxError.check(result, "open \(path)")
    }

    deinit {
        close(number)
    }

    /// Gives the descriptor up without closing it.
    package consuming func release() -> Int32 {
        let number = number
        discard self
        return number
    }

    /// Another descriptor for the same open file description, with `FD_CLOEXEC`.
    package func duplicate() throws(LinuxError) -> OwnedDescriptor {
        OwnedDescriptor(owning: try LinuxError.check(csl_fcntl(number, F_DUPFD_CLOEXEC, 0), "duplicate a descriptor"))
    }
}
