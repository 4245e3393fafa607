internal import StratoHost
internal import StratoMemory

extension PFlash {
    /// What is done once the lock is given back.
    struct Effect {
        var isFlushDue = false
        var failure: LinuxError?
    }

    /// The bank without its surroundings.
    struct Core: ~Copyable {
        /// What one write to storage holds at most while erasing.
        private static let erased = [UInt8](repeating: 0xFF, count: 4096)

        private let geometry: FlashGeometry
        private let array: GuestBuffer
        private let storage: (any FlashStorage)?
        private let mapping: any FlashMapping
        private let query: [UInt8]

        private var registers = State()
        private var isMapped = false
        private var isDirty = false
        private var isFlushScheduled = false

        init(
            geometry: FlashGeometry, array: GuestBuffer, storage: (any FlashStorage)?, mapping: any FlashMapping
        ) {
            self.geometry = geometry
            self.array = array
            self.storage = storage
            self.mapping = mapping
            query = Query.table(size: UInt64(array.count), geometry: geometry)
        }

        private var isReadOnly: Bool { storage?.isReadOnly ?? false }

        /// Bytes that the write buffers of all chips hold.
        private var bufferCapacity: Int { geometry.chipCount << Int(Query.writeBufferExponent) }

        // MARK: State

        var state: State { registers }

        func check(_ state: State) throws(StateError) {
            guard state.buffer.count <= bufferCapacity else { throw .invalid("flash write buffer") }
            guard state.bufferSector < UInt64(array.count), state.bufferSector % geometry.sectorSize == 0 else {
                throw .invalid("flash sector")
            }
            guard state.bufferStart <= UInt64(array.count) else { throw .invalid("flash write buffer's place") }
            guard state.bufferRemaining <= state.buffer.count else { throw .invalid("flash write count") }
        }

        mutating func load(_ state: State, _ effect: inout Effect) {
            registers = state
            updateMapping(&effect)
        }

        // MARK: Mapping

        mutating func map() throws(LinuxError) {
            try mapping.setReadable(true)
            isMapped = true
        }

        private mutating func updateMapping(_ effect: inout Effect) {
            let isArray = registers.mode == .readArray
            guard isArray != isMapped else { return }
            do throws(LinuxError) {
                try mapping.setReadable(isArray)
                isMapped = isArray
            } catch {
                // Tried again with the next command. Unmapped, the array still can be read here.
                effect.failure = error
            }
        }

        // MARK: Reading

        func read(_ offset: UInt64, width: Int) -> UInt64 {
            var value: UInt64 = 0
            for index in 0..<width {
                value |= UInt64(byte(at: offset &+ UInt64(index))) << UInt64(8 * index)
            }
            return value
        }

        private func byte(at offset: UInt64) -> UInt8 {
            guard offset < UInt64(array.count) else { return 0 }
            switch registers.mode {
            case .readArray:
                return array.load(UInt8.self, at: Int(offset)) ?? 0
            case .readIdentifier:
                return lane(identifier(offset), offset)
            case .readQuery:
                let word = offset / UInt64(geometry.bankWidth)
                guard word >= Query.firstWord, word - Query.firstWord < UInt64(query.count) else { return 0 }
                return lane(UInt16(query[Int(word - Query.firstWord)]), offset)
            case .readStatus, .program, .erase, .lock, .bufferCount, .bufferData, .bufferConfirm:
                return lane(UInt16(registers.status), offset)
            }
        }

        /// The byte of a chip's word that a byte of the bank is.
        private func lane(_ word: UInt16, _ offset: UInt64) -> UInt8 {
            offset % UInt64(geometry.deviceWidth) == 0 ? UInt8(truncatingIfNeeded: word) : UInt8(truncatingIfNeeded: word >> 8)
        }

        private func identifier(_ offset: UInt64) -> UInt16 {
            switch (offset &- geometry.sectorStart(of: offset)) / UInt64(geometry.bankWidth) {
            case Identifier.manufacturerWord: return Identifier.intel
            case Identifier.deviceWord: return Identifier.device
            case Identifier.lockWord: return isReadOnly ? Identifier.locked : 0
            default: return 0
            }
        }

        // MARK: Commands

        mutating func write(_ value: UInt64, _ offset: UInt64, width: Int, _ effect: inout Effect) {
            guard width > 0, offset < UInt64(array.count), UInt64(width) <= UInt64(array.count) &- offset else { return }
            let command = UInt8(truncatingIfNeeded: value)
            switch registers.mode {
            case .readArray, .readStatus, .readIdentifier, .readQuery:
                begin(command, offset)
            case .program:
                program(value, offset, width: width, &effect)
                finish()
            case .erase:
                if command == Command.confirm {
                    erase(offset, &effect)
                    finish()
                } else {
                    abort(command)
                }
            case .lock:
                // Nothing is ever locked here, nor can it be.
                if command == Command.confirm { finish() } else { abort(command) }
            case .bufferCount:
                takeCount(value)
            case .bufferData:
                takeData(value, offset, width: width)
            case .bufferConfirm:
                if command == Command.confirm {
                    programBuffer(&effect)
                    finish()
                } else {
                    abort(command)
                }
            }
            updateMapping(&effect)
        }

        private mutating func begin(_ command: UInt8, _ offset: UInt64) {
            switch command {
            case Command.program, Command.alternateProgram:
                registers.mode = .program
            case Command.erase:
                registers.mode = .erase
            case Command.lockSetup:
                registers.mode = .lock
            case Command.bufferedProgram:
                // Ready tells the driver that a buffer is free, whatever was cleared before.
                registers.status |= Status.ready
                registers.bufferSector = geometry.sectorStart(of: offset)
                registers.mode = .bufferCount
            case Command.clearStatus:
                // Even the ready bit: a status of zero is what OVMF tells flash from ROM and RAM by.
                registers.status = 0
            case Command.readStatus, Command.suspend, Command.confirm:
                // Nothing takes time here: there is nothing to suspend or to resume.
                registers.mode = .readStatus
            case Command.readIdentifier:
                registers.mode = .readIdentifier
            case Command.readQuery:
                registers.mode = .readQuery
            default:
                // 0xFF, and what is no command of this set: drivers of other sets probe with theirs.
                registers.mode = .readArray
            }
        }

        private mutating func finish() {
            registers.status |= Status.ready
            registers.mode = .readStatus
        }

        private mutating func abort(_ command: UInt8) {
            registers.status |= Status.ready | Status.sequenceError
            registers.mode = command == Command.readArray ? .readArray : .readStatus
            registers.buffer = []
            registers.bufferRemaining = 0
        }

        // MARK: Buffered programming

        private mutating func takeCount(_ value: UInt64) {
            let words = geometry.deviceWidth == 1 ? Int(value & 0xFF) + 1 : Int(value & 0xFFFF) + 1
            let bytes = words * geometry.bankWidth
            guard bytes <= bufferCapacity else {
                abort(Command.readStatus)
                return
            }
            // Bytes that are never written stay as they are: programming ones changes nothing.
            registers.buffer = [UInt8](repeating: 0xFF, count: bytes)
            registers.bufferRemaining = bytes
            registers.mode = .bufferData
        }

        private mutating func takeData(_ value: UInt64, _ offset: UInt64, width: Int) {
            let count = registers.buffer.count
            if registers.bufferRemaining == count { registers.bufferStart = offset }
            let start = registers.bufferStart
            let sectorEnd = registers.bufferSector &+ geometry.sectorSize
            guard offset >= start, offset >= registers.bufferSector, offset &+ UInt64(width) <= sectorEnd,
                offset &- start <= UInt64(count), UInt64(width) <= UInt64(count) &- (offset &- start)
            else {
                abort(Command.readStatus)
                return
            }
            let position = Int(offset &- start)
            for index in 0..<width {
                registers.buffer[position + index] = UInt8(truncatingIfNeeded: value >> UInt64(8 * index))
            }
            registers.bufferRemaining = max(0, registers.bufferRemaining - width)
            if registers.bufferRemaining == 0 { registers.mode = .bufferConfirm }
        }

        private mutating func programBuffer(_ effect: inout Effect) {
            var bytes: [UInt8] = []
            swap(&bytes, &registers.buffer)
            guard isWritable(Status.programError) else { return }
            let start = registers.bufferStart
            guard start < UInt64(array.count), UInt64(bytes.count) <= UInt64(array.count) &- start else {
                registers.status |= Status.programError
                return
            }
            for index in bytes.indices {
                bytes[index] &= array.load(UInt8.self, at: Int(start) + index) ?? 0
            }
            change(bytes.span, at: start, Status.programError, &effect)
        }

        // MARK: Contents

        private mutating func isWritable(_ errorBit: UInt8) -> Bool {
            guard isReadOnly else { return true }
            registers.status |= errorBit | Status.blockLocked
            return false
        }

        private mutating func program(_ value: UInt64, _ offset: UInt64, width: Int, _ effect: inout Effect) {
            guard isWritable(Status.programError) else { return }
            var bytes: InlineArray<8, UInt8> = .init(repeating: 0xFF)
            for index in 0..<width {
                let old = array.load(UInt8.self, at: Int(offset) + index) ?? 0
                bytes[index] = old & UInt8(truncatingIfNeeded: value >> UInt64(8 * index))
            }
            change(bytes.span.extracting(first: width), at: offset, Status.programError, &effect)
        }

        private mutating func erase(_ offset: UInt64, _ effect: inout Effect) {
            guard isWritable(Status.eraseError) else { return }
            let start = geometry.sectorStart(of: offset)
            let end = min(start &+ geometry.sectorSize, UInt64(array.count))
            var position = start
            while position < end {
                let amount = Int(min(end &- position, UInt64(Core.erased.count)))
                guard change(Core.erased.span.extracting(first: amount), at: position, Status.eraseError, &effect) else { return }
                position &+= UInt64(amount)
            }
        }

        /// Storage first: the guest never sees what a restart would not find.
        @discardableResult
        private mutating func change(
            _ bytes: Span<UInt8>, at offset: UInt64, _ errorBit: UInt8, _ effect: inout Effect
        ) -> Bool {
            if let storage {
                do throws(LinuxError) {
                    try storage.write(bytes, at: offset)
                } catch {
                    registers.status |= errorBit
                    effect.failure = error
                    return false
                }
                isDirty = true
                if !isFlushScheduled {
                    isFlushScheduled = true
                    effect.isFlushDue = true
                }
            }
            array.copy(bytes, to: Int(offset))
            return true
        }

        mutating func writeBack() throws(LinuxError) {
            guard let storage, !isReadOnly else { return }
            var piece = [UInt8](repeating: 0, count: Core.erased.count)
            var position = 0
            while position < array.count {
                var span = piece.mutableSpan
                let amount = array.copy(from: position, to: &span)
                try storage.write(piece.span.extracting(first: amount), at: UInt64(position))
                isDirty = true
                position += max(amount, 1)
            }
        }

        // MARK: Flushing

        /// True if there is something to flush, which from now on counts as flushed.
        mutating func beginFlush() -> Bool {
            isFlushScheduled = false
            defer { isDirty = false }
            return isDirty
        }

        mutating func flushFailed() {
            isDirty = true
        }
    }
}
