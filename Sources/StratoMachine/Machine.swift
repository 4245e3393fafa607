/// A machine that was built: what its controller can do with it.
///
/// The calls come one at a time, and `start` is the first. `reset` comes only while the machine is held, and `shutDown` is the last.
package protocol Machine: AnyObject, Sendable {
    /// Starts the threads of the virtual CPUs, which wait for `release`.
    ///
    /// - Throws: `MachineError`.
    func start() throws(MachineError)

    /// Lets the devices go on, then the virtual CPUs.
    func release()

    /// Stops the virtual CPUs, then the devices: requests in flight are finished.
    ///
    /// - Returns: false if a virtual CPU did not stop in time; the guest then goes on.
    func hold() -> Bool

    /// Puts the held machine back to its first instruction.
    ///
    /// - Throws: `MachineError`.
    func reset() throws(MachineError)

    /// Tells the guest that its power button was pressed; false if the guest has no such button.
    func pressPowerButton() -> Bool

    /// Ends the virtual CPUs and gives back what the devices have of the host.
    func shutDown()

    /// One line with the registers of each virtual CPU of the held machine.
    func registerSummaries() -> [String]

    /// The kernel's identifiers of the virtual CPUs' threads, in the order of the CPUs.
    var processorThreadIDs: [Int32] { get }
}
