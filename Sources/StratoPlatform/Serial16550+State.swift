package import StratoHost

extension Serial16550 {
    /// Everything that a 16550A remembers.
    package struct State: Equatable, Sendable {
        static let version: UInt32 = 1

        var interruptEnable: UInt8 = 0
        var fifoControl: UInt8 = 0
        var lineControl: UInt8 = 0
        var modemControl: UInt8 = 0
        /// The error bits alone; the rest follows from the other fields.
        var lineErrors: UInt8 = 0
        var modemStatus: UInt8 = ModemStatus.connected
        var scratch: UInt8 = 0
        /// 9600 baud of the usual 1.8432 MHz (PC16550D, table III).
        var divisor: UInt16 = 12
        /// The transmitter has become empty, and nobody has acknowledged that yet.
        var isTransmitterEmptyPending = false
        var received: [UInt8] = []

        package init() {}

        /// The state as bytes, a version first.
        package func encoded() -> [UInt8] {
            var encoder = StateEncoder(version: State.version)
            encoder.put(interruptEnable)
            encoder.put(fifoControl)
            encoder.put(lineControl)
            encoder.put(modemControl)
            encoder.put(lineErrors)
            encoder.put(modemStatus)
            encoder.put(scratch)
            encoder.put(divisor)
            encoder.put(isTransmitterEmptyPending)
            encoder.put(received)
            return encoder.bytes
        }

        /// The state that was made into bytes.
        ///
        /// - Throws: `StateError` for anything that `encoded` can't have made.
        package init(decoding bytes: [UInt8]) throws(StateError) {
            var decoder = try StateDecoder(bytes, versions: State.version...State.version)
            interruptEnable = try decoder.take()
            fifoControl = try decoder.take()
            lineControl = try decoder.take()
            modemControl = try decoder.take()
            lineErrors = try decoder.take()
            modemStatus = try decoder.take()
            scratch = try decoder.take()
            divisor = try decoder.take()
            isTransmitterEmptyPending = try decoder.take("transmitter state")
            received = try decoder.take("number of received bytes", atMost: ReceiveBuffer.capacity)
            try decoder.finish()
            guard interruptEnable & ~InterruptEnable.implemented == 0 else { throw .invalid("IER") }
            guard fifoControl & ~FIFOControl.stored == 0 else { throw .invalid("FCR") }
            guard modemControl & ~ModemControl.implemented == 0 else { throw .invalid("MCR") }
            guard lineErrors & ~LineStatus.errors == 0 else { throw .invalid("LSR") }
        }
    }
}
