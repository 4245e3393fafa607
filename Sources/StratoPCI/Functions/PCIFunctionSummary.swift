package import StratoMemory

/// What can be said of a function to people, at one moment.
package struct PCIFunctionSummary: Sendable, Hashable {
    /// One base address register.
    package struct Region: Sendable, Hashable {
        package var index: Int
        package var kind: PCIBaseAddress.Kind
        package var size: UInt64
        /// Nil while the function does not decode it.
        package var address: GuestAddress?
    }

    /// What a bridge forwards.
    package struct Bridge: Sendable, Hashable {
        package var primaryBus: UInt8
        package var secondaryBus: UInt8
        package var subordinateBus: UInt8
        /// Each nil while the guest has closed the window.
        package var ports: GuestRange?
        package var memory: GuestRange?
        package var prefetchable: GuestRange?
    }

    package var identity: PCIIdentity
    /// 0 for none, 1...4 for A...D.
    package var interruptPin: UInt8
    /// What the guest has noted down.
    package var interruptLine: UInt8
    package var regions: [Region]
    package var bridge: Bridge?
}
