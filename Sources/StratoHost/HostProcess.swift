internal import CStratoLinux
internal import Glibc

/// What an executable needs of its process and C cannot give Swift without pointers.
package enum HostProcess {
    /// Makes all threads allocate from one heap. For an executable to call before there is a second thread.
    package static func shareHeap() {
        csl_share_heap()
    }

    /// The value of an environment variable, nil if it is not set. To be read before there is a second thread.
    package static func environment(_ name: String) -> String? {
        // SAFETY: the string that getenv returns lives until the environment is changed, and is copied at once.
        guard let value = unsafe getenv(name) else { return nil }
        return unsafe String(cString: value)
    }

    /// Lets go of code and stack that only the program's start needed; what is used again comes back as it is used. For an
    /// executable to call on its first thread, once it has started.
    package static func releaseStartMemory() {
        csl_release_start_memory()
    }

    /// Writes a text whole, waiting where the other side is slow.
    ///
    /// - Throws: `LinuxError`; the text may be written in part then.
    package static func write(_ text: String, to descriptor: Int32) throws(LinuxError) {
        var text = text
        // SAFETY: no more is read of the buffer than its length.
        let code: Int32 = text.withUTF8 { bytes in
            var rest = unsafe bytes[...]
            while let base = unsafe UnsafeBufferPointer(rebasing: rest).baseAddress, unsafe !rest.isEmpty {
                let length = unsafe csl_write(descriptor, 0, base, rest.count)
                if length == -Int(EAGAIN) {
                    waitUntilWritable(descriptor)
                } else if length < 0 {
                    return Int32(clamping: 0 &- length)
                } else {
                    unsafe rest = rest.dropFirst(length)
                }
            }
            return 0
        }
        guard code == 0 else { throw LinuxError(code: code, operation: "write") }
    }

    /// True if a line of up to 4096 bytes (`PIPE_BUF` of Linux) can be written to a pipe or terminal without waiting.
    package static func isWritable(_ descriptor: Int32) -> Bool {
        csl_poll_now(descriptor, Int16(POLLOUT)) > 0
    }

    private static func waitUntilWritable(_ descriptor: Int32) {
        var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        // SAFETY: one live structure is passed.
        _ = unsafe poll(&entry, 1, -1)
    }

    /// Makes a file for this process's number, or takes one over whose process has ended. It is empty, and belongs to this process
    /// for as long as the descriptor is open.
    ///
    /// - Throws: `LinuxError`, EBUSY for the file of a process that runs, EEXIST for anything else that stands there.
    package static func openPIDFile(_ path: String) throws(LinuxError) -> OwnedDescriptor {
        // SAFETY: the string lives for the length of the call.
        OwnedDescriptor(owning: try LinuxError.check(unsafe csl_open_pid_file(path), "open \(path)"))
    }

    /// Removes a file's name.
    package static func removeFile(_ path: String) throws(LinuxError) {
        // SAFETY: the string lives for the length of the call.
        try LinuxError.checkErrno(unsafe unlinkat(AT_FDCWD, path, 0), "remove \(path)")
    }

    /// Removes the name of an open file, unless it is gone or another file's by now.
    package static func removeFile(_ path: String, of file: borrowing OwnedDescriptor) throws(LinuxError) {
        // SAFETY: as above.
        try LinuxError.check(unsafe csl_remove_open_file(path, file.number), "remove \(path)")
    }
}
