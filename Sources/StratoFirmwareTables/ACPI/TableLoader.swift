/// The script by which firmware places ACPI tables that it gets through fw_cfg (QEMU's BIOS linker and loader, file
/// `etc/table-loader`): commands of 128 bytes, carried out in order.
package struct TableLoader: Sendable, Equatable {
    /// Where firmware is to put a file.
    package enum Zone: UInt8, Sendable {
        case anywhere = 1

        /// 0xF0000...0xFFFFF, where a BIOS's tables are looked for.
        case biosSegment = 2
    }

    static let commandSize = 128

    /// A file's name with the zero byte behind it.
    static let nameSize = 56

    private enum Command {
        static let allocate: UInt32 = 1
        static let addPointer: UInt32 = 2
        static let addChecksum: UInt32 = 3
    }

    private var script = TableBytes()

    /// The file.
    package var bytes: [UInt8] { script.bytes }

    package init() {}

    /// Reads a file into memory; comes before all that work on it.
    package mutating func allocate(_ file: String, alignment: UInt32, zone: Zone) {
        append(Command.allocate) { command in
            TableLoader.append(file, to: &command)
            command.append(alignment)
            command.append(zone.rawValue)
        }
    }

    /// Adds the address of the file `target` to the integer at an offset in `file`.
    package mutating func addPointer(in file: String, at offset: Int, width: Int, to target: String) {
        append(Command.addPointer) { command in
            TableLoader.append(file, to: &command)
            TableLoader.append(target, to: &command)
            command.append(UInt32(clamping: offset))
            command.append(UInt8(clamping: width))
        }
    }

    /// Sets the byte at an offset in `file`, zero so far, so that the bytes of a range add up to zero.
    package mutating func addChecksum(in file: String, at offset: Int, over range: Range<Int>) {
        append(Command.addChecksum) { command in
            TableLoader.append(file, to: &command)
            command.append(UInt32(clamping: offset))
            command.append(UInt32(clamping: range.lowerBound))
            command.append(UInt32(clamping: range.count))
        }
    }

    private mutating func append(_ number: UInt32, _ fill: (inout TableBytes) -> Void) {
        var command = TableBytes()
        command.append(number)
        fill(&command)
        command.append(zeros: TableLoader.commandSize - command.count)
        script.append(command.bytes)
    }

    private static func append(_ file: String, to command: inout TableBytes) {
        assert(file.utf8.count < nameSize, "a file's name has at most 55 bytes: \(file)")
        command.append(text: String(file.prefix(nameSize - 1)), width: nameSize, filler: 0)
    }
}
