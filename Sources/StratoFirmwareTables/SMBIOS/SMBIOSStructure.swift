/// One structure as it is put together: formatted part, then the strings that it refers to by their number (DSP0134 3.0, 6.1).
struct SMBIOSStructure {
    /// The numbers of structures; each differs from all others (6.1.2).
    typealias Handle = UInt16

    private var formatted = TableBytes()
    private var strings: [String] = []

    /// - Parameters:
    ///   - type: clause 7 has them.
    ///   - length: of the formatted part in bytes, with this header.
    ///   - handle: its own.
    init(type: UInt8, length: UInt8, handle: Handle) {
        formatted.append(type)
        formatted.append(length)
        formatted.append(handle)
    }

    mutating func append<T: FixedWidthInteger & UnsignedInteger>(_ value: T) {
        formatted.append(value)
    }

    mutating func append(_ bytes: [UInt8]) {
        formatted.append(bytes)
    }

    /// A string's number, 0 for one that is not there.
    ///
    /// - Parameters:
    ///   - text: printable ASCII.
    ///   - subject: what messages call it.
    /// - Throws: `FirmwareTableError` if it is too long or not printable ASCII.
    mutating func append(text: String?, _ subject: String) throws(FirmwareTableError) {
        guard let text, !text.isEmpty else {
            formatted.append(UInt8(0))
            return
        }
        guard text.utf8.count <= SMBIOSTable.longestText else {
            throw FirmwareTableError("smbios: \(subject) has \(text.utf8.count) characters, more than \(SMBIOSTable.longestText)")
        }
        // A zero byte would end the string, and two of them the structure.
        guard text.utf8.allSatisfy({ (0x20...0x7E).contains($0) }) else {
            throw FirmwareTableError("smbios: \(subject) has a character that is not printable ASCII")
        }
        let number = strings.firstIndex(of: text) ?? strings.endIndex
        if number == strings.endIndex { strings.append(text) }
        formatted.append(UInt8(clamping: number + 1))
    }

    /// The structure; without strings it ends in two zero bytes all the same (6.1.3).
    func encode() -> [UInt8] {
        assert(formatted.bytes[1] == UInt8(clamping: formatted.count), "a structure of another length than it says")
        var table = formatted
        for string in strings {
            table.append(Array(string.utf8))
            table.append(UInt8(0))
        }
        table.append(zeros: strings.isEmpty ? 2 : 1)
        return table.bytes
    }
}
