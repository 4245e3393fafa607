/// A prefix code of DEFLATE (RFC 1951, 3.2.2), to be decoded from bits that come lowest first.
struct HuffmanTable {
    /// RFC 1951, 3.2.7.
    static let longestCode = 15

    /// Codes of up to so many bits are found by one look.
    private static let directBits = 10

    /// By the next bits: the symbol in bits 4 and up, the code's length in the lower four; 0 where a longer code begins, or none.
    private var direct = [UInt16](repeating: 0, count: 1 << directBits)

    /// How many codes there are of each length.
    private var counts = [Int](repeating: 0, count: longestCode + 1)

    /// Ordered by their codes.
    private var symbols: [UInt16] = []

    /// Makes the code from the lengths of its symbols' codes, 0 for a symbol that has none.
    ///
    /// - Throws: `KernelFormatError` for lengths that no code has. A code that leaves bits unused is one only if it has a
    ///   single symbol, or none.
    mutating func set(_ lengths: some Sequence<UInt8>) throws(KernelFormatError) {
        let lengths = Array(lengths)
        for position in counts.indices { counts[position] = 0 }
        for length in lengths { counts[Int(length)] += 1 }
        let used = lengths.count - counts[0]
        counts[0] = 0
        var free = 1
        for length in 1...HuffmanTable.longestCode {
            free = free << 1 - counts[length]
            guard free >= 0 else { throw KernelFormatError(GzipReader.damage) }
        }
        guard free == 0 || used == 0 || (used == 1 && counts[1] == 1) else { throw KernelFormatError(GzipReader.damage) }

        var offsets = [Int](repeating: 0, count: HuffmanTable.longestCode + 2)
        for length in 1...HuffmanTable.longestCode { offsets[length + 1] = offsets[length] + counts[length] }
        symbols = [UInt16](repeating: 0, count: used)
        for (symbol, length) in lengths.enumerated() where length > 0 {
            symbols[offsets[Int(length)]] = UInt16(symbol)
            offsets[Int(length)] += 1
        }
        fillDirect()
    }

    private mutating func fillDirect() {
        for position in direct.indices { direct[position] = 0 }
        var code = 0
        var next = 0
        for length in 1...HuffmanTable.directBits {
            for _ in 0..<counts[length] {
                // The code's first bit is its highest, but comes lowest.
                var reversed = 0
                for bit in 0..<length where code >> bit & 1 != 0 { reversed |= 1 << (length - 1 - bit) }
                for position in stride(from: reversed, to: direct.count, by: 1 << length) {
                    direct[position] = symbols[next] << 4 | UInt16(length)
                }
                code += 1
                next += 1
            }
            code <<= 1
        }
    }

    /// The symbol that the next bits stand for, and how many they are; nil if it needs more than `available`, or is none.
    func decode(_ bits: UInt64, available: Int) -> (symbol: Int, length: Int)? {
        let entry = direct[Int(bits & UInt64(direct.count - 1))]
        if entry != 0 {
            let length = Int(entry & 15)
            return length <= available ? (Int(entry >> 4), length) : nil
        }
        var code = 0
        var first = 0
        var index = 0
        for length in 1...HuffmanTable.longestCode {
            guard length <= available else { return nil }
            code |= Int(bits >> UInt64(length - 1) & 1)
            let count = counts[length]
            if code - count < first { return (Int(symbols[index + (code - first)]), length) }
            index += count
            first = (first + count) << 1
            code <<= 1
        }
        return nil
    }
}
