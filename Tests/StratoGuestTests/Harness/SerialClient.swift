import CStratoLinux
import Foundation
import Glibc

/// Somebody at the other end of a guest's serial port that is not the monitor's own terminal.
final class SerialClient {
    let received: Transcript
    private let descriptor: Int32

    /// Connects to a Unix socket.
    ///
    /// - Throws: `GuestFailure` if nobody answers there.
    convenience init(socket path: String) throws {
        let descriptor = UnixSocket.connect(path)
        guard descriptor >= 0 else { throw GuestFailure("\(path): \(String(cString: strerror(-descriptor)))") }
        self.init(descriptor)
    }

    /// Opens a pseudo terminal as a terminal program does: every byte as it is.
    ///
    /// - Throws: `GuestFailure` if it cannot be opened.
    convenience init(terminal path: String) throws {
        let descriptor = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC)
        var settings = termios()
        guard descriptor >= 0, tcgetattr(descriptor, &settings) == 0 else {
            throw GuestFailure("\(path): \(String(cString: strerror(errno)))")
        }
        cfmakeraw(&settings)
        tcsetattr(descriptor, TCSANOW, &settings)
        self.init(descriptor)
    }

    private init(_ descriptor: Int32) {
        self.descriptor = descriptor
        // The reader closes its own.
        let reading = dup(descriptor)
        _ = fcntl(reading, F_SETFD, FD_CLOEXEC)
        received = Transcript(reading: reading, name: "serial client")
    }

    deinit {
        // Wakes the reader of a socket; that of a terminal ends with the monitor.
        shutdown(descriptor, Int32(SHUT_RDWR))
        close(descriptor)
    }

    /// Types a text and Return.
    func type(_ line: String) throws {
        let bytes = Array((line + "\n").utf8)
        guard write(descriptor, bytes, bytes.count) == bytes.count else {
            throw GuestFailure("\(bytes.count) bytes could not be written: \(String(cString: strerror(errno)))")
        }
    }

    /// Waits for a text of the guest.
    func waitFor(_ text: String, within seconds: TimeInterval = Patience.guest) throws {
        guard received.find(text, within: seconds) else {
            throw GuestFailure("the guest did not say \"\(text)\", but:\n\(received.tail())")
        }
    }
}
