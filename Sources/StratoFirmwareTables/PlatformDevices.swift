/// A 16550 at an ISA port.
package struct SerialPortDescription: Sendable, Equatable {
    package var port: UInt16

    /// The global system interrupt, edge-triggered and active high.
    package var interrupt: UInt32

    package init(port: UInt16 = 0x3F8, interrupt: UInt32 = 4) {
        self.port = port
        self.interrupt = interrupt
    }
}

/// The generic event device: a register that says which events are pending, and its interrupt.
package struct EventDeviceDescription: Sendable, Equatable {
    /// Set in the event register when the power button was pressed.
    package static let powerButtonBit: UInt32 = 1 << 0

    /// In bytes.
    package static let registerSize: UInt32 = 4

    package var base: UInt32

    /// The global system interrupt, edge-triggered and active high.
    package var interrupt: UInt32

    package init(base: UInt32, interrupt: UInt32) {
        self.base = base
        self.interrupt = interrupt
    }
}
