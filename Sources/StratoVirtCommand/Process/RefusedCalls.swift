internal import CStratoLinux
internal import StratoHost

/// What becomes of a thread that asks the kernel for more than its filter allows: one line, and the end of the process by
/// SIGSYS. It is the signal's handler that writes the line, so that nothing of the program but that handler has to work.
enum RefusedCalls {
    /// Has refused calls told. To be called before there is a filter, and after everything else that handles signals.
    ///
    /// - Parameter log: gets the line beside standard error, and lives as long as the process.
    /// - Throws: `CommandLineError` if the kernel has no filters.
    static func tell(_ log: LogFile) throws(CommandLineError) {
        do {
            try SystemCallFilter.checkAvailability()
            try LinuxError.check(csl_tell_refused_calls(log.fileNumber), "handle SIGSYS")
        } catch {
            throw CommandLineError(message(error))
        }
    }

    /// What a user can do about filters that are not to be had.
    static func message(_ error: some Error) -> String {
        "\(error); -disable-seccomp runs the machine without filters"
    }
}
