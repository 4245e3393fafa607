internal import CStratoLinux
internal import Glibc

/// A terminal whose settings are remembered, so that they can be given back.
@safe
package final class Terminal: @unchecked Sendable {
    // SAFETY: written by init alone; allocated apart so that `restore` reads it without any bookkeeping of the language.
    private let saved: UnsafeMutablePointer<termios>
    private let descriptor: Int32

    /// Remembers the settings of a terminal; nil if the descriptor is not one.
    ///
    /// - Parameter descriptor: stays the caller's, and stays open as long as this object.
    package init?(descriptor: Int32) {
        var current = termios()
        guard unsafe tcgetattr(descriptor, &current) == 0 else { return nil }
        self.descriptor = descriptor
        unsafe saved = .allocate(capacity: 1)
        unsafe saved.initialize(to: current)
    }

    deinit {
        unsafe saved.deallocate()
    }

    /// True if the terminal listens to this process: reading from and changing it does not stop us.
    package var isForeground: Bool {
        let group = tcgetpgrp(descriptor)
        // A terminal that does not control this session has no foreground for us to be in or out of.
        return group < 0 || group == getpgrp()
    }

    /// Passes every key through, without echo and signals. A new line of output still begins at the left margin.
    ///
    /// Does nothing to a terminal that another job is in the foreground of: its settings are that job's.
    package func makeRaw() throws(LinuxError) {
        guard isForeground else { return }
        // SAFETY: plain structures of live variables.
        var settings = unsafe saved.pointee
        unsafe cfmakeraw(&settings)
        settings.c_oflag |= tcflag_t(OPOST)
        try LinuxError.checkErrno(unsafe tcsetattr(descriptor, TCSANOW, &settings), "set the terminal to raw mode")
    }

    /// Gives the settings back that the terminal had, if they are not the same.
    ///
    /// Calls nothing but what a signal handler may call, allocates nothing and takes no lock; any number of times.
    package func restore() {
        guard isForeground else { return }
        // SAFETY: plain structures of live variables; tcgetattr and tcsetattr are async-signal-safe (POSIX.1-2017, 2.4.3).
        var current = termios()
        guard unsafe tcgetattr(descriptor, &current) == 0 else { return }
        let before = unsafe saved.pointee
        guard
            current.c_iflag != before.c_iflag || current.c_oflag != before.c_oflag || current.c_cflag != before.c_cflag
                || current.c_lflag != before.c_lflag
        else { return }
        unsafe tcsetattr(descriptor, TCSANOW, saved)
    }
}
