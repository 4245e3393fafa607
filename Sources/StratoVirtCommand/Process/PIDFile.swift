internal import Glibc
internal import StratoHost

/// A file with the number of this process, locked for as long as it runs.
///
/// One that a killed process left behind is taken over, so that the same command line starts its machine anew.
final class PIDFile {
    private let path: String
    private let file: OwnedDescriptor

    /// Makes the file, readable by its owner alone.
    ///
    /// - Throws: `CommandLineError` if another process has it, or anything else stands there.
    init(creating path: String) throws(CommandLineError) {
        do throws(LinuxError) {
            file = try HostProcess.openPIDFile(path)
        } catch {
            throw PIDFile.refusal(path, error)
        }
        self.path = path
        do throws(LinuxError) {
            try HostProcess.write("\(getpid())\n", to: file.number)
        } catch {
            // What is half written names no process, or another one; why it could not be written is what is told.
            do { try remove() } catch {}
            throw CommandLineError("-pidfile", "\(Spelling.quoted(path)) cannot be written: \(error.reason)")
        }
    }

    private static func refusal(_ path: String, _ error: LinuxError) -> CommandLineError {
        switch error.code {
        case EBUSY:
            CommandLineError(
                "-pidfile", "\(Spelling.quoted(path)) is in use by a machine that runs; end that one, or name another file")
        case EEXIST:
            CommandLineError(
                "-pidfile", "\(Spelling.quoted(path)) exists; if the process it names has ended, remove it")
        default:
            CommandLineError("-pidfile", "\(error)")
        }
    }

    /// Removes the file. Somebody may have removed it before.
    func remove() throws(LinuxError) {
        try HostProcess.removeFile(path, of: file)
    }
}
