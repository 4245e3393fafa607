extension PL011 {
    /// The chip without its surroundings.
    struct Core: ~Copyable {
        /// What the chip's own FIFO holds.
        private static let fifoSize = 32

        private var registers = State()
        // `registers.received` is used in saved states alone.
        private var received = ReceiveBuffer()
        /// The level that the interrupt line was last set to.
        var isAsserted = false

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
        }

        // MARK: Receiver

        /// How many bytes the host may send. Looped back, the chip does not hear the line (3.3.8); they wait until it does.
        var room: Int { isLoopedBack ? 0 : received.room }

        private var isLoopedBack: Bool { registers.control & Control.loopback != 0 }

        private var hasFIFOs: Bool { registers.lineControl & LineControl.enableFIFOs != 0 }

        /// Takes bytes off the line; those there is no room for are lost.
        mutating func receive(_ bytes: Span<UInt8>) {
            for index in bytes.indices where room > 0 { received.append(bytes[index]) }
            updateReceiverInterrupts()
        }

        /// - Returns: the byte with its status, and whether it is worth to ask the host for more.
        private mutating func readReceiver() -> (UInt16, hasRoom: Bool) {
            guard let byte = received.popFirst() else { return (0, false) }
            var value = UInt16(byte)
            if registers.isOverrun { value |= ReceiveStatus.overrun << ReceiveStatus.dataShift }
            updateReceiverInterrupts()
            return (value, received.isWorthFilling)
        }

        /// Receive: as many bytes as were asked for. Receive timeout: less, and no more are coming; what is there has come long
        /// ago in terms of a line's speed (2.8.2, 2.8.4).
        private mutating func updateReceiverInterrupts() {
            let select = Int(registers.interruptLevels >> InterruptLevels.receiveShift & 7)
            let level = hasFIFOs ? InterruptLevels.receive[select] : 1
            set(Interrupts.receive, received.count >= level)
            set(Interrupts.receiveTimeout, received.count > 0)
        }

        private mutating func set(_ interrupt: UInt16, _ isRaised: Bool) {
            if isRaised {
                registers.rawInterrupts |= interrupt
            } else {
                registers.rawInterrupts &= ~interrupt
            }
        }

        var isInterrupting: Bool { registers.rawInterrupts & registers.interruptMask != 0 }

        // MARK: Registers

        /// - Returns: the register's value, and whether it is worth to ask the host for more.
        mutating func read(_ register: UInt64) -> (UInt16, hasRoom: Bool) {
            switch register {
            case Register.data: return readReceiver()
            case Register.receiveStatus: return (registers.isOverrun ? ReceiveStatus.overrun : 0, false)
            case Register.flags: return (flags, false)
            case Register.lowPowerCounter: return (registers.lowPowerCounter, false)
            case Register.integerDivisor: return (registers.integerDivisor, false)
            case Register.fractionalDivisor: return (registers.fractionalDivisor, false)
            case Register.lineControl: return (registers.lineControl, false)
            case Register.control: return (registers.control, false)
            case Register.interruptLevels: return (registers.interruptLevels, false)
            case Register.interruptMask: return (registers.interruptMask, false)
            case Register.rawInterrupts: return (registers.rawInterrupts, false)
            case Register.maskedInterrupts: return (registers.rawInterrupts & registers.interruptMask, false)
            case Register.directMemoryAccess: return (registers.directMemoryAccess, false)
            case Register.identification..<PL011.registerSize:
                return (UInt16(PL011.identification[Int(register &- Register.identification) / 4]), false)
            default: return (0, false)
            }
        }

        /// The transmitter is always empty, and never busy.
        private var flags: UInt16 {
            var flags = registers.lines | Flags.transmitterEmpty
            if received.count == 0 { flags |= Flags.receiverEmpty }
            if received.count >= (hasFIFOs ? Core.fifoSize : 1) { flags |= Flags.receiverFull }
            return flags
        }

        /// What a write has to be followed by.
        struct Consequence {
            var isSent = false
            var hasRoom = false
        }

        mutating func write(_ value: UInt16, _ register: UInt64) -> Consequence {
            switch register {
            case Register.data:
                return Consequence(isSent: transmit(UInt8(truncatingIfNeeded: value)))
            case Register.receiveStatus: registers.isOverrun = false
            case Register.lowPowerCounter: registers.lowPowerCounter = value & 0xFF
            case Register.integerDivisor: registers.integerDivisor = value
            case Register.fractionalDivisor: registers.fractionalDivisor = value & 0x3F
            case Register.lineControl:
                registers.lineControl = value & LineControl.implemented
                updateReceiverInterrupts()
            case Register.control: return Consequence(hasRoom: writeControl(value))
            case Register.interruptLevels:
                registers.interruptLevels = value & InterruptLevels.implemented
                updateReceiverInterrupts()
            case Register.interruptMask: registers.interruptMask = value & Interrupts.implemented
            case Register.interruptClear: registers.rawInterrupts &= ~value
            case Register.directMemoryAccess: registers.directMemoryAccess = value & DirectMemoryAccess.implemented
            default: break
            }
            return Consequence()
        }

        /// What is written goes out also while the transmitter is off: early consoles rely on firmware to have it switched on.
        ///
        /// - Returns: true if the byte goes out on the line.
        private mutating func transmit(_ byte: UInt8) -> Bool {
            // It has left the FIFO before the next instruction, so that the level is passed each time (2.8.3).
            registers.rawInterrupts |= Interrupts.transmit
            guard isLoopedBack else { return true }
            if !received.append(byte) {
                registers.isOverrun = true
                registers.rawInterrupts |= Interrupts.overrun
            }
            updateReceiverInterrupts()
            return false
        }

        /// - Returns: whether the host can send again.
        private mutating func writeControl(_ value: UInt16) -> Bool {
            let wasLoopedBack = isLoopedBack
            registers.control = value & Control.implemented
            let lines = isLoopedBack ? Core.loopedBackLines(registers.control) : Flags.connected
            let changed = registers.lines ^ lines
            registers.lines = lines
            let pairs: [(UInt16, UInt16)] = [
                (Flags.ring, Interrupts.ring), (Flags.clearToSend, Interrupts.clearToSend),
                (Flags.dataCarrierDetect, Interrupts.dataCarrierDetect), (Flags.dataSetReady, Interrupts.dataSetReady),
            ]
            for (line, interrupt) in pairs where changed & line != 0 { registers.rawInterrupts |= interrupt }
            return wasLoopedBack && !isLoopedBack
        }

        /// The outputs as the inputs see them (3.3.8, LBE).
        private static func loopedBackLines(_ control: UInt16) -> UInt16 {
            var lines: UInt16 = 0
            if control & Control.requestToSend != 0 { lines |= Flags.clearToSend }
            if control & Control.dataTransmitReady != 0 { lines |= Flags.dataSetReady }
            if control & Control.out1 != 0 { lines |= Flags.dataCarrierDetect }
            if control & Control.out2 != 0 { lines |= Flags.ring }
            return lines
        }
    }
}
