internal import Glibc
internal import StratoHost

/// A file with the number of this process, for as long as it runs.
struct PIDFile {
    private let path: String

    /// Makes the file, readable by its owner alone.
    ///
    /// - Throws: `CommandLineError` if it exists already: it may be that of a process that runs.
    init(creating path: String) throws(CommandLineError) {
        self.path = path
        do {
            try PIDFile.write(to: path)
        } catch {
            guard error.code == EEXIST else { throw CommandLineError("-pidfile", "\(error)") }
            throw CommandLineError(
                "-pidfile", "\(Spelling.quoted(path)) exists; if the process it names has ended, remove it")
        }
    }

    private static func write(to path: String) throws(LinuxError) {
        let file = try OwnedDescriptor(opening: path, flags: O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600)
        do {
            try HostProcess.write("\(getpid())\n", to: file.number)
        } catch {
            // What is half written names no process, or another one; why it could not be written is what is told.
            do { try HostProcess.removeFile(path) } catch {}
            throw error
        }
    }

    /// Removes the file. Somebody may have removed it before.
    func remove() throws(LinuxError) {
        do {
            try HostProcess.removeFile(path)
        } catch {
            guard error.code == ENOENT else { throw error }
        }
    }
}
