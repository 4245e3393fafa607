/// ACPI tables one behind the other, and what in them depends on where they will be: firmware that is given the image chooses the
/// place, a machine that boots without firmware knows it beforehand.
///
/// Until then an address of a table is its offset in the image, and a checksum is zero.
struct ACPITableImage: Sendable, Equatable {
    /// A field that holds a table's address.
    struct Pointer: Sendable, Equatable {
        /// Of the field, in the image.
        let offset: Int

        /// In bytes, 4 or 8.
        let width: Int
    }

    /// A byte that makes a range add up to zero.
    struct Checksum: Sendable, Equatable {
        /// In the image.
        let offset: Int
        let range: Range<Int>
    }

    private(set) var bytes = TableBytes()
    private(set) var tables: [Range<Int>] = []
    private(set) var pointers: [Pointer] = []
    private(set) var checksums: [Checksum] = []

    /// Adds a table behind the others.
    ///
    /// - Parameters:
    ///   - table: in it, an address of a table is the table's offset in the image.
    ///   - alignment: of its offset, in bytes.
    ///   - pointers: fields of the table that hold offsets in the image, which will become addresses.
    ///   - checksums: bytes of the table and what they are computed over; by default, the one of the header that tables share.
    /// - Returns: the offset of the table in the image.
    mutating func add(
        _ table: [UInt8], alignment: Int = 16, pointers: [Pointer] = [], checksums: [Checksum]? = nil
    ) -> Int {
        bytes.append(zeros: (alignment - bytes.count % alignment) % alignment)
        let start = bytes.count
        bytes.append(table)
        tables.append(start..<bytes.count)
        self.pointers += pointers.map { Pointer(offset: start + $0.offset, width: $0.width) }
        let checksums = checksums ?? [Checksum(offset: ACPITable.checksumOffset, range: 0..<table.count)]
        for checksum in checksums {
            let range = (start + checksum.range.lowerBound)..<(start + checksum.range.upperBound)
            bytes.clear(at: start + checksum.offset)
            self.checksums.append(Checksum(offset: start + checksum.offset, range: range))
        }
        return start
    }

    /// The tables at an address, complete.
    ///
    /// - Parameters:
    ///   - base: the address of the first table.
    ///   - target: what the pointers point into; the image itself by default.
    /// - Returns: one block per table.
    func placed(at base: UInt64, pointingInto target: UInt64? = nil) -> [PlacedBytes] {
        var result = bytes
        for pointer in pointers {
            result.add(target ?? base, toIntegerAt: pointer.offset, width: pointer.width)
        }
        for checksum in checksums {
            result.setChecksum(at: checksum.offset, over: checksum.range)
        }
        return tables.map { PlacedBytes(address: base &+ UInt64($0.lowerBound), bytes: Array(result.bytes[$0])) }
    }

    /// Has the loader do the same.
    ///
    /// - Parameters:
    ///   - file: the name by which firmware knows the image.
    ///   - target: the file that the pointers point into.
    ///   - loader: gets the commands.
    func link(_ file: String, pointingInto target: String, by loader: inout TableLoader) {
        for pointer in pointers {
            loader.addPointer(in: file, at: pointer.offset, width: pointer.width, to: target)
        }
        for checksum in checksums {
            loader.addChecksum(in: file, at: checksum.offset, over: checksum.range)
        }
    }
}

extension TableBytes {
    /// Makes a byte zero.
    fileprivate mutating func clear(at offset: Int) {
        guard bytes.indices.contains(offset) else { return }
        bytes[offset] = 0
    }

    /// Adds to a little-endian integer in place, modulo its width in bytes.
    fileprivate mutating func add(_ value: UInt64, toIntegerAt offset: Int, width: Int) {
        let field = offset..<(offset + width)
        guard (1...8).contains(width), offset >= 0, field.upperBound <= bytes.count else { return }
        var sum = bytes[field].reversed().reduce(0) { $0 << 8 | UInt64($1) } &+ value
        for position in field {
            bytes[position] = UInt8(truncatingIfNeeded: sum)
            sum >>= 8
        }
    }
}
