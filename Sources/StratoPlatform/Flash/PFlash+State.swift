package import StratoHost

extension PFlash {
    /// What a bank remembers besides its contents.
    package struct State: Equatable, Sendable {
        static let version: UInt32 = 1

        /// What reads show, and what the next write means.
        enum Mode: UInt8, CaseIterable {
            case readArray, readStatus, readIdentifier, readQuery
            /// The next write is the data.
            case program
            /// The next write confirms.
            case erase, lock
            /// Buffered programming: the next write is the count, data, or confirms.
            case bufferCount, bufferData, bufferConfirm
        }

        var mode = Mode.readArray
        var status: UInt8 = Status.ready
        /// Start of the sector that the buffer is for.
        var bufferSector: UInt64 = 0
        /// Where the buffer's first byte goes.
        var bufferStart: UInt64 = 0
        /// Bytes of data that have yet to come.
        var bufferRemaining = 0
        var buffer: [UInt8] = []

        package init() {}

        /// The state as bytes, a version first.
        package func encoded() -> [UInt8] {
            var encoder = StateEncoder(version: State.version)
            encoder.put(mode.rawValue)
            encoder.put(status)
            encoder.put(bufferSector)
            encoder.put(bufferStart)
            encoder.put(UInt32(truncatingIfNeeded: bufferRemaining))
            encoder.put(buffer)
            return encoder.bytes
        }

        /// The state that was made into bytes.
        ///
        /// - Throws: `StateError` for anything that `encoded` can't have made.
        package init(decoding bytes: [UInt8]) throws(StateError) {
            var decoder = try StateDecoder(bytes, versions: State.version...State.version)
            guard let mode = Mode(rawValue: try decoder.take()) else { throw .invalid("flash mode") }
            self.mode = mode
            status = try decoder.take()
            bufferSector = try decoder.take()
            bufferStart = try decoder.take()
            bufferRemaining = Int(try decoder.take(UInt32.self))
            buffer = try decoder.take("flash write buffer", atMost: 8 << Int(Query.writeBufferExponent))
            try decoder.finish()
            guard status & ~Status.implemented == 0 else { throw .invalid("flash status") }
            guard bufferRemaining <= buffer.count else { throw .invalid("flash write count") }
            switch mode {
            case .bufferData: guard bufferRemaining > 0 else { throw .invalid("flash write count") }
            case .bufferConfirm: guard bufferRemaining == 0, !buffer.isEmpty else { throw .invalid("flash write buffer") }
            default: break
            }
        }
    }
}
