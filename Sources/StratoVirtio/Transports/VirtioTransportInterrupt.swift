/// A transport's interrupt, as the part of a transport that all have sees it. Takes no lock that a device or a transport
/// holds when it calls.
protocol VirtioTransportInterrupt: VirtioInterrupt {
    /// The reasons that the driver has not taken notice of yet.
    var status: UInt32 { get }

    /// The device needs a reset.
    var needsReset: Bool { get }

    /// The driver has set DRIVER_OK: from now on it may be interrupted.
    func driverIsReady()

    func reset()

    func restore(status: UInt32, needsReset: Bool)
}
