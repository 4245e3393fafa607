#if arch(x86_64)
/// x86 machine code that is written down byte by byte, with names for the places that jumps go to.
struct MachineCode {
    private(set) var bytes: [UInt8] = []
    private var labels: [String: Int] = [:]
    private var references: [(position: Int, label: String, origin: Origin)] = []

    /// What a 32-bit distance is counted from.
    private enum Origin {
        /// The byte after the distance, as the processor counts.
        case nextByte
        case label(String)
        /// Below the code, which is loaded there: the distance is the address itself.
        case address(Int)
    }

    /// Appends instructions that need no address.
    mutating func emit(_ code: UInt8...) {
        bytes += code
    }

    /// Appends the opcode of an instruction that ends with a distance to a label: a jump, a call, or one of memory
    /// relative to the instruction pointer.
    mutating func emit(_ opcode: UInt8..., to label: String) {
        bytes += opcode
        references.append((bytes.count, label, .nextByte))
        bytes += [0, 0, 0, 0]
    }

    /// Appends the opcode of an instruction that ends with the address of a label, in code that is loaded at `base`.
    mutating func emit(_ opcode: UInt8..., addressOf label: String, loadedAt base: UInt64) {
        bytes += opcode
        references.append((bytes.count, label, .address(-Int(base))))
        bytes += [0, 0, 0, 0]
    }

    /// Appends the distance of a label from another, for a table of jumps.
    mutating func emitDistance(to label: String, from origin: String) {
        references.append((bytes.count, label, .label(origin)))
        bytes += [0, 0, 0, 0]
    }

    /// Names the place that has been reached.
    mutating func label(_ name: String) {
        precondition(labels.updateValue(bytes.count, forKey: name) == nil, "the label \(name) is there twice")
    }

    /// Fills up with zeros to an offset from the start.
    mutating func pad(to offset: Int) {
        precondition(bytes.count <= offset, "the code reaches to \(bytes.count), past \(offset)")
        bytes += [UInt8](repeating: 0, count: offset - bytes.count)
    }

    /// A label's offset from the start.
    func offset(of label: String) -> Int {
        guard let offset = labels[label] else { preconditionFailure("there is no label \(label)") }
        return offset
    }

    /// The bytes with every distance filled in.
    func assembled() -> [UInt8] {
        var result = bytes
        for (position, label, origin) in references {
            let start =
                switch origin {
                case .nextByte: position + 4
                case .label(let name): offset(of: name)
                case .address(let start): start
                }
            // An address may have its highest bit set: code that ends at 4 GiB.
            let distance = UInt32(truncatingIfNeeded: offset(of: label) - start)
            result.replaceSubrange(position..<position + 4, with: distance.littleEndianBytes)
        }
        return result
    }
}

extension FixedWidthInteger {
    /// The bytes of the value, lowest first.
    var littleEndianBytes: [UInt8] {
        (0..<Self.bitWidth / 8).map { UInt8(truncatingIfNeeded: self >> ($0 * 8)) }
    }
}
#endif
