/// A file compressed by gzip (RFC 1952), unpacked piece by piece.
///
/// Only its first member counts: what follows, such as a signature, is left alone.
struct GzipReader {
    static let damage = "the gzip file is damaged"

    /// How far back DEFLATE's copies reach (RFC 1951, 3.2.5).
    private static let windowSize = 0x8000

    /// RFC 1952, 2.3.1.
    private enum Header {
        static let magic: [UInt8] = [0x1F, 0x8B]
        static let deflate: UInt8 = 8
        static let size = 10
        static let hasHeaderCheck: UInt8 = 1 << 1
        static let hasExtraField: UInt8 = 1 << 2
        static let hasName: UInt8 = 1 << 3
        static let hasComment: UInt8 = 1 << 4
        static let reserved: UInt8 = 0xE0
    }

    /// RFC 1951, 3.2.5: what symbols 257...285 and distance symbols stand for.
    private static let lengthBases: [Int] = [
        3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258,
    ]
    private static let lengthExtraBits: [Int] = [
        0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
    ]
    private static let distanceBases: [Int] = [
        1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145,
        8193, 12289, 16385, 24577,
    ]
    private static let distanceExtraBits: [Int] = [
        0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13,
    ]

    /// RFC 1951, 3.2.7.
    private static let codeLengthOrder: [Int] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]
    private static let endOfBlock = 256

    private let file: FileWindow

    // Input: bytes that were read from the file, and bits that were taken from them.
    private var bytes: [UInt8] = []
    private var position = 0
    private var fileOffset: UInt64 = 0
    private var bits: UInt64 = 0
    private var bitCount = 0

    // Output: the last bytes that came out, in a ring that is handed on whenever it is full.
    private var window = [UInt8](repeating: 0, count: windowSize)
    private var windowPosition = 0
    private var handedOn: UInt64 = 0
    private var check: UInt32 = 0

    private var literals = HuffmanTable()
    private var distances = HuffmanTable()

    init(_ file: FileWindow) {
        self.file = file
    }

    private var produced: UInt64 { handedOn + UInt64(windowPosition) }

    /// Thrown inside, and caught by `unpack`.
    private enum Stop: Error {
        case damaged
        case enough
        case failed(BootError)
    }

    /// Unpacks the file.
    ///
    /// - Parameters:
    ///   - limit: how many bytes are of interest; what follows is then neither unpacked nor checked. Nil for all.
    ///   - sink: gets the bytes, in order and in pieces of at most 32 KiB.
    /// - Returns: how many bytes the sink was given.
    /// - Throws: `BootError` for a file that is damaged or cut short, and what the sink throws.
    mutating func unpack(
        limit: UInt64? = nil, _ sink: (Span<UInt8>) throws(BootError) -> Void
    ) throws(BootError) -> UInt64 {
        do throws(Stop) {
            try readHeader()
            var isLast = false
            while !isLast {
                isLast = try take(1) == 1
                switch try take(2) {
                case 0: try copyStored(limit, sink)
                case 1:
                    try setFixedCodes()
                    try inflate(limit, sink)
                case 2:
                    try readCodes()
                    try inflate(limit, sink)
                default: throw .damaged
                }
            }
            try handOn(sink)
            dropToByte()
            guard try take(32) == UInt64(check), try take(32) == handedOn & 0xFFFF_FFFF else { throw .damaged }
        } catch {
            switch error {
            case .damaged: throw file.file.error(GzipReader.damage)
            case .failed(let error): throw error
            case .enough: try handOnRest(sink)
            }
        }
        return handedOn
    }

    // MARK: Input

    private mutating func nextByte() throws(Stop) -> UInt8 {
        if position == bytes.count {
            do {
                bytes = try file.bytes(at: fileOffset, count: FileWindow.size)
            } catch {
                throw .failed(error)
            }
            guard !bytes.isEmpty else { throw .damaged }
            fileOffset += UInt64(bytes.count)
            position = 0
        }
        defer { position += 1 }
        return bytes[position]
    }

    /// Makes as many bits available as there are, up to what a symbol with its extra bits needs.
    @inline(__always)
    private mutating func fill() throws(Stop) {
        while bitCount <= 56 {
            if position == bytes.count, fileOffset >= file.file.size { return }
            bits |= UInt64(try nextByte()) << UInt64(bitCount)
            bitCount += 8
        }
    }

    /// The next bits, at most 32, as a number whose lowest bit came first.
    @inline(__always)
    private mutating func take(_ count: Int) throws(Stop) -> UInt64 {
        if bitCount < count { try fill() }
        guard bitCount >= count else { throw .damaged }
        let value = bits & (UInt64(1) << UInt64(count) - 1)
        bits >>= UInt64(count)
        bitCount -= count
        return value
    }

    private mutating func dropToByte() {
        let rest = bitCount & 7
        bits >>= UInt64(rest)
        bitCount -= rest
    }

    private mutating func readHeader() throws(Stop) {
        var header: [UInt8] = []
        for _ in 0..<Header.size { header.append(UInt8(try take(8))) }
        let flags = header[3]
        guard header.starts(with: Header.magic), header[2] == Header.deflate, flags & Header.reserved == 0 else { throw .damaged }
        if flags & Header.hasExtraField != 0 {
            for _ in 0..<(try take(16)) { _ = try take(8) }
        }
        for text in [Header.hasName, Header.hasComment] where flags & text != 0 {
            while try take(8) != 0 {}
        }
        if flags & Header.hasHeaderCheck != 0 { _ = try take(16) }
    }

    // MARK: Codes

    private mutating func setFixedCodes() throws(Stop) {
        // RFC 1951, 3.2.6.
        let lengths: [(UInt8, Int)] = [(8, 144), (9, 112), (7, 24), (8, 8)]
        try set(&literals, lengths.flatMap { [UInt8](repeating: $0.0, count: $0.1) })
        try set(&distances, [UInt8](repeating: 5, count: 32))
    }

    private func set(_ table: inout HuffmanTable, _ lengths: some Sequence<UInt8>) throws(Stop) {
        do {
            try table.set(lengths)
        } catch {
            throw .damaged
        }
    }

    private mutating func readCodes() throws(Stop) {
        let literalCount = Int(try take(5)) + 257
        let distanceCount = Int(try take(5)) + 1
        let codeLengthCount = Int(try take(4)) + 4
        guard literalCount <= 286, distanceCount <= 30 else { throw .damaged }
        var codeLengths = [UInt8](repeating: 0, count: GzipReader.codeLengthOrder.count)
        for symbol in GzipReader.codeLengthOrder.prefix(codeLengthCount) { codeLengths[symbol] = UInt8(try take(3)) }
        var table = HuffmanTable()
        try set(&table, codeLengths)

        var lengths: [UInt8] = []
        let count = literalCount + distanceCount
        while lengths.count < count {
            let symbol = try decode(table)
            switch symbol {
            case 16:
                guard let last = lengths.last else { throw .damaged }
                lengths += [UInt8](repeating: last, count: 3 + Int(try take(2)))
            case 17: lengths += [UInt8](repeating: 0, count: 3 + Int(try take(3)))
            case 18: lengths += [UInt8](repeating: 0, count: 11 + Int(try take(7)))
            default: lengths.append(UInt8(symbol))
            }
        }
        guard lengths.count == count, lengths[GzipReader.endOfBlock] != 0 else { throw .damaged }
        try set(&literals, lengths[..<literalCount])
        try set(&distances, lengths[literalCount...])
    }

    @inline(__always)
    private mutating func decode(_ table: HuffmanTable) throws(Stop) -> Int {
        if bitCount < HuffmanTable.longestCode { try fill() }
        guard let (symbol, length) = table.decode(bits, available: bitCount) else { throw .damaged }
        bits >>= UInt64(length)
        bitCount -= length
        return symbol
    }

    // MARK: Output

    private mutating func copyStored(_ limit: UInt64?, _ sink: (Span<UInt8>) throws(BootError) -> Void) throws(Stop) {
        dropToByte()
        let count = try take(16)
        let complement = try take(16)
        guard count == ~complement & 0xFFFF else { throw .damaged }
        for _ in 0..<count { try put(UInt8(try take(8)), limit, sink) }
    }

    private mutating func inflate(_ limit: UInt64?, _ sink: (Span<UInt8>) throws(BootError) -> Void) throws(Stop) {
        while true {
            let symbol = try decode(literals)
            if symbol < GzipReader.endOfBlock {
                try put(UInt8(symbol), limit, sink)
                continue
            }
            if symbol == GzipReader.endOfBlock { return }
            let position = symbol - GzipReader.endOfBlock - 1
            guard position < GzipReader.lengthBases.count else { throw .damaged }
            let length = GzipReader.lengthBases[position] + Int(try take(GzipReader.lengthExtraBits[position]))
            let distanceSymbol = try decode(distances)
            guard distanceSymbol < GzipReader.distanceBases.count else { throw .damaged }
            let distance =
                GzipReader.distanceBases[distanceSymbol] + Int(try take(GzipReader.distanceExtraBits[distanceSymbol]))
            guard UInt64(distance) <= produced else { throw .damaged }
            var source = (windowPosition - distance) & (GzipReader.windowSize - 1)
            for _ in 0..<length {
                try put(window[source], limit, sink)
                source = (source + 1) & (GzipReader.windowSize - 1)
            }
        }
    }

    @inline(__always)
    private mutating func put(
        _ byte: UInt8, _ limit: UInt64?, _ sink: (Span<UInt8>) throws(BootError) -> Void
    ) throws(Stop) {
        window[windowPosition] = byte
        windowPosition += 1
        if windowPosition == GzipReader.windowSize { try handOn(sink) }
        if let limit, produced >= limit { throw .enough }
    }

    private mutating func handOn(_ sink: (Span<UInt8>) throws(BootError) -> Void) throws(Stop) {
        do {
            try handOnRest(sink)
        } catch {
            throw .failed(error)
        }
    }

    private mutating func handOnRest(_ sink: (Span<UInt8>) throws(BootError) -> Void) throws(BootError) {
        let count = windowPosition
        let sum = check
        try sink(window.span.extracting(0..<count))
        check = CRC32.update(sum, window.span.extracting(0..<count))
        handedOn += UInt64(count)
        windowPosition = 0
    }
}

/// The check sum of gzip (RFC 1952, 8).
enum CRC32 {
    private static let polynomial: UInt32 = 0xEDB8_8320

    private static let table: [UInt32] = (0..<UInt32(256)).map { byte in
        (0..<8).reduce(byte) { value, _ in value & 1 == 0 ? value >> 1 : value >> 1 ^ polynomial }
    }

    /// The sum over what was summed up before and `bytes`; 0 over nothing.
    static func update(_ sum: UInt32, _ bytes: Span<UInt8>) -> UInt32 {
        let table = table
        var value = ~sum
        for index in bytes.indices { value = value >> 8 ^ table[Int((value ^ UInt32(bytes[index])) & 0xFF)] }
        return ~value
    }
}
