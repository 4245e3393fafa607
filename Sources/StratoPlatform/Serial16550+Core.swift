extension Serial16550 {
    /// What is done once the lock is given back.
    struct Effect {
        var isInterrupted = false
        var hasRoom = false
    }

    /// The chip without its surroundings.
    struct Core: ~Copyable {
        /// The chip's own FIFO (8.4): what a reset of it throws away.
        private static let fifoSize = 16

        /// After so many bytes read while there are more, the interrupt is pulsed again: a driver that gives up in the midst of
        /// a flood, as Linux does after 512 rounds, would wait forever for an edge that it has had already.
        private static let reminderInterval = 256

        private var registers = State()
        // `registers.received` is used in saved states alone.
        private var received = ReceiveBuffer()
        /// The chip's interrupt output, as of the last look.
        private var isInterruptActive = false
        /// Bytes read since the last edge.
        private var readSinceEdge = 0

        // MARK: State

        var state: State {
            var state = registers
            state.received = received.contents
            return state
        }

        mutating func load(_ state: State) {
            registers = state
            registers.received = []
            received.contents = state.received
            isInterruptActive = false
        }

        // MARK: Receiver

        /// How many bytes the host may send. Looped back, the chip does not hear the line (8.7); they wait until it does.
        var room: Int { isLoopedBack ? 0 : received.room }

        private var isLoopedBack: Bool { registers.modemControl & ModemControl.loopback != 0 }

        /// Takes bytes off the line; those there is no room for are lost.
        mutating func receive(_ bytes: Span<UInt8>, _ effect: inout Effect) {
            for index in bytes.indices where room > 0 { received.append(bytes[index]) }
            updateInterrupt(&effect)
        }

        private mutating func readReceiver(_ effect: inout Effect) -> UInt8 {
            guard let byte = received.popFirst() else { return 0 }
            if received.isWorthFilling { effect.hasRoom = true }
            return byte
        }

        // MARK: Registers

        private var isDivisorLatched: Bool { registers.lineControl & LineControl.divisorLatchAccess != 0 }

        mutating func read(_ offset: UInt64, _ effect: inout Effect) -> UInt8 {
            switch offset {
            case Port.data where isDivisorLatched:
                return UInt8(truncatingIfNeeded: registers.divisor)
            case Port.data:
                let byte = readReceiver(&effect)
                readSinceEdge &+= 1
                if readSinceEdge >= Core.reminderInterval { isInterruptActive = false }
                updateInterrupt(&effect)
                return byte
            case Port.interruptEnable where isDivisorLatched:
                return UInt8(truncatingIfNeeded: registers.divisor >> 8)
            case Port.interruptEnable:
                return registers.interruptEnable
            case Port.interruptIdentification:
                return readInterruptIdentification(&effect)
            case Port.lineControl:
                return registers.lineControl
            case Port.modemControl:
                return registers.modemControl
            case Port.lineStatus:
                return readLineStatus(&effect)
            case Port.modemStatus:
                return readModemStatus(&effect)
            case Port.scratch:
                return registers.scratch
            default:
                return 0
            }
        }

        /// Returns true if the byte goes out on the line.
        mutating func write(_ value: UInt8, _ offset: UInt64, _ effect: inout Effect) -> Bool {
            switch offset {
            case Port.data where isDivisorLatched:
                registers.divisor = registers.divisor & 0xFF00 | UInt16(value)
            case Port.data:
                return transmit(value, &effect)
            case Port.interruptEnable where isDivisorLatched:
                registers.divisor = registers.divisor & 0x00FF | UInt16(value) << 8
            case Port.interruptEnable:
                writeInterruptEnable(value, &effect)
            case Port.interruptIdentification:
                writeFIFOControl(value, &effect)
            case Port.lineControl:
                registers.lineControl = value
            case Port.modemControl:
                writeModemControl(value, &effect)
            case Port.scratch:
                registers.scratch = value
            default:
                // LSR and MSR are for reading only (8.3, 8.8).
                break
            }
            return false
        }

        private mutating func transmit(_ value: UInt8, _ effect: inout Effect) -> Bool {
            let isSent = !isLoopedBack
            if !isSent, !received.append(value) { registers.lineErrors |= LineStatus.overrun }
            // Writing acknowledges the last empty transmitter, and it is empty again by now.
            registers.isTransmitterEmptyPending = true
            updateInterrupt(&effect)
            return isSent
        }

        private mutating func writeInterruptEnable(_ value: UInt8, _ effect: inout Effect) {
            let before = registers.interruptEnable
            registers.interruptEnable = value & InterruptEnable.implemented
            let enabled = registers.interruptEnable & ~before
            // The transmitter is always empty, so that asking to be told is answered at once; drivers test for that.
            if enabled & InterruptEnable.transmitterEmpty != 0 { registers.isTransmitterEmptyPending = true }
            // A reason that was left pending while it was masked counts as one that comes up.
            updateInterrupt(&effect)
        }

        private mutating func writeFIFOControl(_ value: UInt8, _ effect: inout Effect) {
            let before = registers.fifoControl
            // Nothing else is taken over without the enable bit (8.4).
            registers.fifoControl = value & FIFOControl.enable != 0 ? value & FIFOControl.stored : 0
            let isSwitched = (before ^ registers.fifoControl) & FIFOControl.enable != 0
            let isReset = value & FIFOControl.enable != 0 && value & FIFOControl.resetReceiver != 0
            if isSwitched || isReset {
                received.discard(Core.fifoSize)
                effect.hasRoom = true
            }
            updateInterrupt(&effect)
        }

        private mutating func writeModemControl(_ value: UInt8, _ effect: inout Effect) {
            let wasLoopedBack = isLoopedBack
            registers.modemControl = value & ModemControl.implemented
            if wasLoopedBack, !isLoopedBack { effect.hasRoom = true }
            setModemLines(isLoopedBack ? Core.loopedBackLines(registers.modemControl) : ModemStatus.connected)
            updateInterrupt(&effect)
        }

        /// The outputs as the inputs see them (8.7).
        private static func loopedBackLines(_ modemControl: UInt8) -> UInt8 {
            var lines: UInt8 = 0
            if modemControl & ModemControl.requestToSend != 0 { lines |= ModemStatus.clearToSend }
            if modemControl & ModemControl.dataTerminalReady != 0 { lines |= ModemStatus.dataSetReady }
            if modemControl & ModemControl.out1 != 0 { lines |= ModemStatus.ring }
            if modemControl & ModemControl.out2 != 0 { lines |= ModemStatus.carrierDetect }
            return lines
        }

        private mutating func setModemLines(_ lines: UInt8) {
            let before = registers.modemStatus & ModemStatus.lines
            let changed = before ^ lines
            var deltas = registers.modemStatus & ModemStatus.deltas
            if changed & ModemStatus.clearToSend != 0 { deltas |= ModemStatus.deltaClearToSend }
            if changed & ModemStatus.dataSetReady != 0 { deltas |= ModemStatus.deltaDataSetReady }
            if changed & before & ModemStatus.ring != 0 { deltas |= ModemStatus.trailingEdgeRing }
            if changed & ModemStatus.carrierDetect != 0 { deltas |= ModemStatus.deltaCarrierDetect }
            registers.modemStatus = lines | deltas
        }

        private mutating func readLineStatus(_ effect: inout Effect) -> UInt8 {
            var value = registers.lineErrors | LineStatus.transmitterHoldingEmpty | LineStatus.transmitterEmpty
            if received.count > 0 { value |= LineStatus.dataReady }
            if registers.lineErrors != 0 {
                registers.lineErrors = 0
                acknowledge(&effect)
            }
            return value
        }

        private mutating func readModemStatus(_ effect: inout Effect) -> UInt8 {
            let value = registers.modemStatus
            if value & ModemStatus.deltas != 0 {
                registers.modemStatus = value & ModemStatus.lines
                acknowledge(&effect)
            }
            return value
        }

        private mutating func readInterruptIdentification(_ effect: inout Effect) -> UInt8 {
            let reason = pendingReason
            let isFIFOEnabled = registers.fifoControl & FIFOControl.enable != 0
            if reason == InterruptIdentification.transmitterEmpty {
                registers.isTransmitterEmptyPending = false
                acknowledge(&effect)
            }
            return reason | (isFIFOEnabled ? InterruptIdentification.fifoEnabled : 0)
        }

        // MARK: Interrupt

        /// What IIR shows (table IV).
        private var pendingReason: UInt8 {
            let enabled = registers.interruptEnable
            if enabled & InterruptEnable.lineStatus != 0, registers.lineErrors != 0 {
                return InterruptIdentification.lineStatus
            }
            if enabled & InterruptEnable.receivedData != 0, received.count > 0 {
                guard registers.fifoControl & FIFOControl.enable != 0 else { return InterruptIdentification.receivedData }
                let trigger = FIFOControl.triggerLevels[Int(registers.fifoControl >> 6)]
                // What is there has come long ago in terms of a line's speed.
                return received.count >= trigger ? InterruptIdentification.receivedData : InterruptIdentification.characterTimeout
            }
            if enabled & InterruptEnable.transmitterEmpty != 0, registers.isTransmitterEmptyPending {
                return InterruptIdentification.transmitterEmpty
            }
            if enabled & InterruptEnable.modemStatus != 0, registers.modemStatus & ModemStatus.deltas != 0 {
                return InterruptIdentification.modemStatus
            }
            return InterruptIdentification.none
        }

        mutating func updateInterrupt(_ effect: inout Effect) {
            let isActive = pendingReason != InterruptIdentification.none
            if isActive, !isInterruptActive {
                effect.isInterrupted = true
                readSinceEdge = 0
            }
            isInterruptActive = isActive
        }

        /// One reason is gone. Another that is left needs an edge of its own: the one before may be all that its driver waits for.
        private mutating func acknowledge(_ effect: inout Effect) {
            isInterruptActive = false
            updateInterrupt(&effect)
        }
    }
}
