package import StratoHost
package import StratoMemory
internal import Synchronization

/// A 16550A UART (PC16550D) whose line is a character backend of the host.
///
/// The line has no speed: what is written has been sent at once, so that a driver never waits for the transmitter. Received
/// bytes stay with the host while there is no room for them here. The interrupt is an edge: it is pulsed when a reason for
/// it comes up while there was none, and again where one is left after another was acknowledged.
package final class Serial16550: BusDevice, CharacterReceiver, ByteRegisters {
    /// In ports.
    package static let registerCount: UInt64 = 8

    private let interrupt: any InterruptLine
    private let backend: (any CharacterBackend)?
    private let onScratchWrite: (@Sendable (UInt8) -> Void)?
    private let core: Mutex<Core>

    /// - Parameters:
    ///   - interrupt: pulsed; its level is never set.
    ///   - backend: the other end of the line, attached to at once; nil for a line that ends nowhere.
    ///   - onScratchWrite: called on the virtual CPU's thread with each byte that the guest writes to the scratch register.
    package init(
        interrupt: any InterruptLine, backend: (any CharacterBackend)?, onScratchWrite: (@Sendable (UInt8) -> Void)? = nil
    ) {
        self.interrupt = interrupt
        self.backend = backend
        self.onScratchWrite = onScratchWrite
        core = Mutex(Core())
        backend?.attach(self)
    }

    // MARK: Bus

    package func read(at offset: UInt64, width: Int) -> UInt64 { readBytes(at: offset, width: width) }

    package func write(_ value: UInt64, at offset: UInt64, width: Int) { writeBytes(value, at: offset, width: width) }

    func readByte(at offset: UInt64) -> UInt8 {
        let (value, effect) = core.withLock { core in
            var effect = Effect()
            let value = core.read(offset, &effect)
            return (value, effect)
        }
        perform(effect)
        return value
    }

    func writeByte(_ value: UInt8, at offset: UInt64) {
        let (effect, isSent) = core.withLock { core in
            var effect = Effect()
            let isSent = core.write(value, offset, &effect)
            return (effect, isSent)
        }
        if isSent {
            let byte: InlineArray<1, UInt8> = [value]
            backend?.write(byte.span)
        }
        if offset == Port.scratch { onScratchWrite?(value) }
        perform(effect)
    }

    private func perform(_ effect: Effect) {
        if effect.isInterrupted { interrupt.pulse() }
        if effect.hasRoom { backend?.resumeInput() }
    }

    // MARK: Line

    package func receivableCount() -> Int {
        core.withLock { $0.room }
    }

    package func receive(_ bytes: Span<UInt8>) {
        let effect = core.withLock { core in
            var effect = Effect()
            core.receive(bytes, &effect)
            return effect
        }
        perform(effect)
    }

    /// The modem lines stay as they are: a guest's login would end with the host's terminal window otherwise.
    package func connectionChanged(isOpen: Bool) {}

    // MARK: State

    /// Puts every register back to what it is after the master reset (table III).
    package func reset() {
        restore(State())
    }

    package func save() -> State {
        core.withLock { $0.state }
    }

    /// Goes on from a saved state; an interrupt that was pending is raised again.
    package func restore(_ state: State) {
        let effect = core.withLock { core in
            core.load(state)
            var effect = Effect(hasRoom: true)
            core.updateInterrupt(&effect)
            return effect
        }
        perform(effect)
    }
}
