package import StratoHost
package import StratoMemory
internal import Synchronization

/// A PrimeCell UART (PL011, ARM DDI 0183G) whose line is a character backend of the host.
///
/// The line has no speed: what is written has been sent at once, so that a driver never waits for the transmitter, and one that
/// fills the FIFO on an interrupt needs one access for each byte. Received bytes stay with the host while there is no room for
/// them here.
package final class PL011: BusDevice, CharacterReceiver {
    /// In bytes.
    package static let registerSize: UInt64 = 0x1000

    /// The register below, without a UART around it.
    package static let bootMarkerOffset = Register.bootMarker

    private let interrupt: any InterruptLine
    private let backend: (any CharacterBackend)?
    private let onMarker: (@Sendable (UInt8) -> Void)?
    private let core = Mutex(Core())

    /// - Parameters:
    ///   - interrupt: held asserted while there is a reason. Its level is set with the device's lock held.
    ///   - backend: the other end of the line, attached to at once; nil for a line that ends nowhere.
    ///   - onMarker: called on the virtual CPU's thread with each byte that the guest writes to `bootMarkerOffset`.
    package init(
        interrupt: any InterruptLine, backend: (any CharacterBackend)?, onMarker: (@Sendable (UInt8) -> Void)? = nil
    ) {
        self.interrupt = interrupt
        self.backend = backend
        self.onMarker = onMarker
        backend?.attach(self)
    }

    // MARK: Bus

    /// Registers are 32 bits wide; a part of one is read as such.
    package func read(at offset: UInt64, width: Int) -> UInt64 {
        let (value, hasRoom) = core.withLock { core in
            let result = core.read(offset & ~3)
            interrupt.updateLevel(&core.isAsserted, core.isInterrupting)
            return result
        }
        if hasRoom { backend?.resumeInput() }
        let part = UInt64(value) >> (8 * (offset & 3))
        return width < 2 ? part & 0xFF : part
    }

    /// Only what is written to a register's first byte reaches it.
    package func write(_ value: UInt64, at offset: UInt64, width: Int) {
        guard offset & 3 == 0 else { return }
        if offset == Register.bootMarker {
            onMarker?(UInt8(truncatingIfNeeded: value))
            return
        }
        let consequence = core.withLock { core in
            let consequence = core.write(UInt16(truncatingIfNeeded: value), offset)
            interrupt.updateLevel(&core.isAsserted, core.isInterrupting)
            return consequence
        }
        if consequence.isSent {
            let byte: InlineArray<1, UInt8> = [UInt8(truncatingIfNeeded: value)]
            backend?.write(byte.span)
        }
        if consequence.hasRoom { backend?.resumeInput() }
    }

    // MARK: Line

    package func receivableCount() -> Int {
        core.withLock { $0.room }
    }

    package func receive(_ bytes: Span<UInt8>) {
        core.withLock { core in
            core.receive(bytes)
            interrupt.updateLevel(&core.isAsserted, core.isInterrupting)
        }
    }

    /// The modem lines stay as they are: a guest's login would end with the host's terminal window otherwise.
    package func connectionChanged(isOpen: Bool) {}

    // MARK: State

    /// Puts every register back to its value after reset (table 3-1).
    package func reset() {
        restore(State())
    }

    package func save() -> State {
        core.withLock { $0.state }
    }

    /// Goes on from a saved state.
    package func restore(_ state: State) {
        core.withLock { core in
            core.load(state)
            interrupt.restoreLevel(&core.isAsserted, core.isInterrupting)
        }
        backend?.resumeInput()
    }
}
