package import StratoHost

extension CMOSClock {
    /// Everything that the clock and its memory remember.
    package struct State: Equatable, Sendable {
        static let version: UInt32 = 1

        /// Bytes in each of the two banks.
        static let bankSize = 128

        /// More than all the years that the registers can hold, in microseconds.
        static let offsetLimit: Int64 = 20_000 * 366 * 86400 * 1_000_000

        var index: UInt8 = 0
        var extendedIndex: UInt8 = 0
        var registers: [UInt8]
        var extended = [UInt8](repeating: 0, count: bankSize)
        /// What the guest's time is ahead of the host's, in microseconds.
        var offset: Int64 = 0
        /// The guest's time up to which the flags are right, in microseconds since 1970.
        var checked: Int64 = 0

        package init() {
            registers = [UInt8](repeating: 0, count: State.bankSize)
            registers[Register.a] = RegisterA.initial
            registers[Register.b] = RegisterB.is24Hour
        }

        /// The state as bytes, a version first.
        package func encoded() -> [UInt8] {
            var encoder = StateEncoder(version: State.version)
            encoder.put(index)
            encoder.put(extendedIndex)
            encoder.put(registers)
            encoder.put(extended)
            encoder.put(UInt64(bitPattern: offset))
            encoder.put(UInt64(bitPattern: checked))
            return encoder.bytes
        }

        /// The state that was made into bytes.
        ///
        /// - Throws: `StateError` for anything that `encoded` can't have made.
        package init(decoding bytes: [UInt8]) throws(StateError) {
            var decoder = try StateDecoder(bytes, versions: State.version...State.version)
            index = try decoder.take()
            extendedIndex = try decoder.take()
            registers = try decoder.take("size of the clock's memory", atMost: State.bankSize)
            extended = try decoder.take("size of the clock's memory", atMost: State.bankSize)
            offset = Int64(bitPattern: try decoder.take(UInt64.self))
            checked = Int64(bitPattern: try decoder.take(UInt64.self))
            try decoder.finish()
            guard index < State.bankSize, extendedIndex < State.bankSize else { throw .invalid("clock index") }
            guard registers.count == State.bankSize, extended.count == State.bankSize else {
                throw .invalid("size of the clock's memory")
            }
            guard registers[Register.a] & RegisterA.updateInProgress == 0 else { throw .invalid("clock register A") }
            guard registers[Register.c] & ~RegisterC.implemented == 0 else { throw .invalid("clock register C") }
            guard offset.magnitude <= State.offsetLimit.magnitude, checked.magnitude <= State.offsetLimit.magnitude else {
                throw .invalid("clock time")
            }
        }
    }
}
