internal import CStratoLinux
internal import StratoHost

/// A process that has left its terminal, and that its first process still waits for.
///
///     first process ──fork──► session leader ──fork──► daemon
///          │                       │ ends                │ starts the machine
///          │◄────────────── one byte, or the end ────────┤
///          ▼ ends with 0, or 1                           ▼ goes on without a terminal
///
/// Until the machine has started, standard error is still that of the first process, so that a start that fails is told.
struct Daemon: ~Copyable {
    private let handshake: Int32

    /// Returns in the daemon alone. To be called while there is one thread: others would not be in the new process.
    init() throws(LinuxError) {
        handshake = try LinuxError.check(csl_daemonize(), "leave the terminal")
    }

    /// Lets the first process end with 0. Standard input, output and error are /dev/null from here on.
    consuming func hasStarted() throws(LinuxError) {
        try LinuxError.check(csl_daemon_started(handshake), "leave the terminal")
    }
}
