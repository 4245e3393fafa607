package import StratoHost

/// A message-signalled interrupt: what a device writes, and where (PCI Local Bus 3.0, 6.8.1).
package struct InterruptMessage: Sendable, Hashable {
    package var address: UInt64
    package var data: UInt32
    /// The requester id that an interrupt translation service (GICv3 ITS) looks up; has no meaning on x86_64.
    package var deviceID: UInt32

    package init(address: UInt64, data: UInt32, deviceID: UInt32 = 0) {
        self.address = address
        self.data = data
        self.deviceID = deviceID
    }
}

/// One vector of a device, which the guest points at a processor and masks.
package protocol MessageInterruptLine: AnyObject, Sendable {
    /// Where the vector's messages go from now on; nil sends them nowhere.
    ///
    /// - Throws: `LinuxError`; the vector then stays where it was.
    func route(to message: InterruptMessage?) throws(LinuxError)

    /// Sends the message, if there is a route.
    func pulse()

    /// An eventfd whose signal is the same as `pulse`; nil where the line has none.
    var event: EventDescriptor? { get }
}

/// Where message-signalled interrupts come from.
package protocol MessageInterruptController: AnyObject, Sendable {
    /// Makes a vector without a route. It is given back when the last reference goes.
    ///
    /// - Throws: `LinuxError` when there are no more.
    func makeLine() throws(LinuxError) -> any MessageInterruptLine
}
