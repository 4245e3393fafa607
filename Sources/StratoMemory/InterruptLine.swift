package import StratoHost

/// An interrupt as a device sees it.
package protocol InterruptLine: AnyObject, Sendable {
    /// Raises an edge: one interrupt, whatever the line's level was.
    func pulse()

    /// Holds a level-triggered line asserted, or releases it.
    func setLevel(_ isAsserted: Bool)

    /// An eventfd whose signal is the same as `pulse`, so that another process or the kernel can raise the interrupt; nil
    /// where the line has none.
    var event: EventDescriptor? { get }
}

/// Where a device's doorbell is bound to an eventfd, so that a guest's notification does not leave the kernel.
package protocol DoorbellRegistry: AnyObject, Sendable {
    /// Signals `event` when the guest writes `match` (any value if nil), `width` bytes wide, at `address`.
    ///
    /// - Throws: `LinuxError`.
    func bind(_ event: EventDescriptor, at address: GuestAddress, width: Int, match: UInt64?) throws(LinuxError)

    /// Undoes `bind` with the same arguments.
    func unbind(_ event: EventDescriptor, at address: GuestAddress, width: Int, match: UInt64?)
}
