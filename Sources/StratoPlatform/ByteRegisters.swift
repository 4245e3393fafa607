/// A device of registers one byte wide, side by side.
///
/// A wider access is one to each of them in turn, lowest first, as a bus of eight bits splits it.
protocol ByteRegisters {
    func readByte(at offset: UInt64) -> UInt8
    func writeByte(_ value: UInt8, at offset: UInt64)
}

extension ByteRegisters {
    @inline(__always)
    func readBytes(at offset: UInt64, width: Int) -> UInt64 {
        guard width != 1 else { return UInt64(readByte(at: offset)) }
        var value: UInt64 = 0
        for index in 0..<min(max(width, 0), 8) {
            value |= UInt64(readByte(at: offset &+ UInt64(index))) << UInt64(8 * index)
        }
        return value
    }

    @inline(__always)
    func writeBytes(_ value: UInt64, at offset: UInt64, width: Int) {
        for index in 0..<min(max(width, 0), 8) {
            writeByte(UInt8(truncatingIfNeeded: value >> UInt64(8 * index)), at: offset &+ UInt64(index))
        }
    }
}
