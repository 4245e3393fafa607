internal import CStratoLinux
internal import Glibc

/// An `eventfd`: a counter that one side signals and the other waits on, shared by threads and with the kernel.
package final class EventDescriptor: Sendable {
    private let descriptor: OwnedDescriptor

    package init() throws(LinuxError) {
        descriptor = OwnedDescriptor(owning: try LinuxError.check(csl_eventfd(0), "eventfd"))
    }

    /// The descriptor's number, for `epoll`, ioeventfd and irqfd; valid as long as this object lives.
    package var number: Int32 { descriptor.number }

    /// Adds one to the counter. A counter at its limit stays signalled, which is all that a reader can see.
    package func signal() {
        // SAFETY: eight bytes are read from a live variable.
        var one: UInt64 = 1
        _ = unsafe write(descriptor.number, &one, 8)
    }

    /// Waits until the counter is signalled, without taking the count.
    ///
    /// - Parameter milliseconds: at most; -1 for no end.
    package func wait(milliseconds: Int32) {
        _ = csl_poll_within(descriptor.number, Int16(POLLIN), milliseconds)
    }

    /// Takes the count since the last call and sets it to zero; 0 if nothing was signalled.
    @discardableResult
    package func consume() -> UInt64 {
        var count: UInt64 = 0
        // SAFETY: eight bytes are written to a live variable.
        let length = unsafe read(descriptor.number, &count, 8)
        return length == 8 ? count : 0
    }
}
