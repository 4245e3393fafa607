internal import CStratoLinux
internal import Glibc
internal import StratoHost

/// The program: everything that it does is done by what it calls.
@main
enum Main {
    static func main() {
        let startTime = MonotonicClock.now
        HostProcess.shareHeap()
        // Without the library's exit handlers: other threads may still run, and nothing is buffered.
        _exit(status(CommandLine.arguments.dropFirst(), startTime))
    }
}

private func status(_ arguments: ArraySlice<String>, _ startTime: MonotonicClock.Instant) -> Int32 {
    defer { TerminalGuard.restore() }
    guard csl_complete_standard_descriptors() == 0 else { return 1 }
    do {
        let commandLine = try CommandLineParser.parse(Array(arguments))
        switch commandLine.action {
        case .print(let text):
            return printed(text)
        case .run:
            try commandLine.check()
            return try MachineProcess.run(commandLine, startTime)
        }
    } catch {
        TerminalGuard.restore()
        LogFile.writeToStandardError(LogFile.plainLine(.error, error.description))
        return 1
    }
}

private func printed(_ text: String) -> Int32 {
    do {
        try HostProcess.write(text, to: STDOUT_FILENO)
        return 0
    } catch {
        // A reader that has enough, such as `head`, is no failure worth a line.
        return error.code == EPIPE ? 0 : 1
    }
}
