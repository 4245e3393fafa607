package import StratoHost

extension PL011 {
    /// Everything that a PL011 remembers.
    package struct State: Equatable, Sendable {
        static let version: UInt32 = 1

        var lowPowerCounter: UInt16 = 0
        var integerDivisor: UInt16 = 0
        var fractionalDivisor: UInt16 = 0
        var lineControl: UInt16 = 0
        var control: UInt16 = Control.initial
        var interruptLevels: UInt16 = InterruptLevels.initial
        var interruptMask: UInt16 = 0
        var rawInterrupts: UInt16 = 0
        var directMemoryAccess: UInt16 = 0
        /// The modem lines as UARTFR shows them.
        var lines: UInt16 = Flags.connected
        var isOverrun = false
        var received: [UInt8] = []

        package init() {}

        /// The state as bytes, a version first.
        package func encoded() -> [UInt8] {
            var encoder = StateEncoder(version: State.version)
            for value in [
                lowPowerCounter, integerDivisor, fractionalDivisor, lineControl, control, interruptLevels, interruptMask,
                rawInterrupts, directMemoryAccess, lines,
            ] {
                encoder.put(value)
            }
            encoder.put(isOverrun)
            encoder.put(received)
            return encoder.bytes
        }

        /// The state that was made into bytes.
        ///
        /// - Throws: `StateError` for anything that `encoded` can't have made.
        package init(decoding bytes: [UInt8]) throws(StateError) {
            var decoder = try StateDecoder(bytes, versions: State.version...State.version)
            lowPowerCounter = try decoder.take()
            integerDivisor = try decoder.take()
            fractionalDivisor = try decoder.take()
            lineControl = try decoder.take()
            control = try decoder.take()
            interruptLevels = try decoder.take()
            interruptMask = try decoder.take()
            rawInterrupts = try decoder.take()
            directMemoryAccess = try decoder.take()
            lines = try decoder.take()
            isOverrun = try decoder.take("overrun state")
            received = try decoder.take("number of received bytes", atMost: ReceiveBuffer.capacity)
            try decoder.finish()
            let checks: [(String, UInt16, UInt16)] = [
                ("UARTILPR", lowPowerCounter, 0xFF), ("UARTFBRD", fractionalDivisor, 0x3F),
                ("UARTLCR_H", lineControl, LineControl.implemented), ("UARTCR", control, Control.implemented),
                ("UARTIFLS", interruptLevels, InterruptLevels.implemented),
                ("UARTIMSC", interruptMask, Interrupts.implemented), ("UARTRIS", rawInterrupts, Interrupts.implemented),
                ("UARTDMACR", directMemoryAccess, DirectMemoryAccess.implemented), ("UARTFR", lines, Flags.lines),
            ]
            for (name, value, allowed) in checks where value & ~allowed != 0 { throw .invalid(name) }
        }
    }
}
