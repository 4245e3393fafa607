internal import CStratoLinux

/// Gives the terminal its settings back on every way out, a fatal signal included.
enum TerminalGuard {
    /// Remembers the settings. To be called before anything changes them, and only by a process that will.
    static func arm() {
        _ = csl_arm_terminal_guard()
    }

    /// Gives back what was remembered, if anything was.
    static func restore() {
        csl_restore_terminal()
    }
}
