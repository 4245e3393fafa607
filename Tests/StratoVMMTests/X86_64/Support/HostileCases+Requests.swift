#if arch(x86_64)
extension HostileCase {
    private typealias Flag = RingArea.Flag
    private typealias Request = GuestDisk.Request
    private typealias Answer = GuestDisk.Answer

    private static func request(
        _ name: String, _ status: UInt8, type: UInt32, sector: UInt64 = 0, length: UInt32 = 512, isWrite: Bool = false,
        usedLength: UInt32? = nil
    ) -> HostileCase {
        HostileCase(name, .answered(status, length: usedLength)) {
            $0.request(type, sector: sector, length: length, isWrite: isWrite)
        }
    }

    /// A request of ranges to discard or to zero.
    private static func ranges(
        _ name: String, _ status: UInt8, type: UInt32 = Request.writeZeroes, _ ranges: [(UInt64, UInt32, UInt32)],
        length: UInt32? = nil
    ) -> HostileCase {
        HostileCase(name, .answered(status)) { area in
            area.request(type, length: length ?? UInt32(ranges.count * 16), isWrite: true)
            for (index, range) in ranges.enumerated() {
                area.put(range.0, at: RingArea.data + index * 16)
                area.put(range.1, at: RingArea.data + index * 16 + 8)
                area.put(range.2, at: RingArea.data + index * 16 + 12)
            }
        }
    }

    /// Sectors of the disk of these tests.
    static let sectors: UInt64 = 2048

    /// Requests of a block device (CVE-2026-48914, CVE-2011-1750).
    static let requests: [HostileCase] = [
        request("a SCSI command", Answer.unsupported, type: Request.scsiCommand),
        request("a SCSI command with output", Answer.unsupported, type: Request.scsiCommandOut, isWrite: true),
        HostileCase("a SCSI command as legacy drivers lay it out", .answered(Answer.unsupported)) { area in
            area.requestHeader(Request.scsiCommand)
            area.descriptor(0, area.header, 16, Flag.next, next: 1)
            // The command, far longer than any, then data, sense and the header of the result.
            area.descriptor(1, 0, 64 << 20, Flag.next, next: 2)
            area.descriptor(2, 0x200_0000, 64 << 20, Flag.next | Flag.write, next: 3)
            area.descriptor(3, area.data, 96, Flag.next | Flag.write, next: 4)
            area.descriptor(4, area.data + 96, 16, Flag.next | Flag.write, next: 5)
            area.descriptor(5, area.status, 1, Flag.write)
            area.makeAvailable([0])
        },
        request("a barrier", Answer.unsupported, type: 0x8000_0000),
        request("an unknown request", Answer.unsupported, type: 99),
        request("a request of type 4294967295", Answer.unsupported, type: .max),
        request("a discard, which was not offered", Answer.unsupported, type: Request.discard, isWrite: true),
        request("a secure erase", Answer.unsupported, type: 14, isWrite: true),
        request("a request for the lifetime", Answer.unsupported, type: 10),

        request("a read of 1 byte", Answer.ioError, type: Request.read, length: 1),
        request("a read of 511 bytes", Answer.ioError, type: Request.read, length: 511),
        request("a read of 513 bytes", Answer.ioError, type: Request.read, length: 513),
        request("a write of 1 byte", Answer.ioError, type: Request.write, length: 1, isWrite: true),
        request("a write of 511 bytes", Answer.ioError, type: Request.write, length: 511, isWrite: true),
        request("a write of 1023 bytes", Answer.ioError, type: Request.write, length: 1023, isWrite: true),
        request("a read of no bytes", Answer.ok, type: Request.read, length: 0, usedLength: 1),
        request("a read of the last sector", Answer.ok, type: Request.read, sector: sectors - 1, usedLength: 513),
        request("a read behind the last sector", Answer.ioError, type: Request.read, sector: sectors),
        request("a read across the last sector", Answer.ioError, type: Request.read, sector: sectors - 1, length: 1024),
        request(
            "a write across the last sector", Answer.ioError, type: Request.write, sector: sectors - 1, length: 1024,
            isWrite: true),
        request("a read of the last sector number", Answer.ioError, type: Request.read, sector: .max),
        request("a read whose byte offset has 65 bits", Answer.ioError, type: Request.read, sector: 1 << 55),
        request("a read whose byte offset is negative", Answer.ioError, type: Request.read, sector: 1 << 54),
        request(
            "a write whose byte offset wraps to the first sector", Answer.ioError, type: Request.write, sector: 1 << 55,
            isWrite: true),
        request("a write whose data only the device may write is one of no bytes", Answer.ok, type: Request.write),
        HostileCase("a flush with data and a sector", .answered(Answer.ok)) { area in
            area.request(Request.flush, sector: .max, length: 512)
        },
        HostileCase("the identifier in 1 byte", .answered(Answer.ok, length: 2)) { area in
            area.request(Request.getIdentifier, length: 1)
        },
        HostileCase("the identifier in no bytes", .answered(Answer.ok, length: 1)) { area in
            area.request(Request.getIdentifier, length: 0)
        },
        HostileCase("the identifier in 128 MiB", .answered(Answer.ok)) { area in
            area.request(Request.getIdentifier, data: 0x200_0000, length: 64 << 20)
        },

        HostileCase("a request without a status", .givenBack(1)) { area in
            area.request(Request.read)
            area.descriptor(1, area.data, 512)
        },
        HostileCase("a request of nothing but a status", .answered(Answer.ioError)) { area in
            area.descriptor(0, area.status, 1, Flag.write)
            area.makeAvailable([0])
        },
        HostileCase("a request of no bytes at all", .givenBack(1)) { area in
            area.descriptor(0, 0, 0)
            area.makeAvailable([0])
        },
        HostileCase("a header of 15 bytes", .answered(Answer.ioError)) { area in
            area.request(Request.read)
            area.descriptor(0, area.header, 15, Flag.next, next: 1)
        },
        HostileCase("a header in pieces of one byte is served", .answered(Answer.ok, length: 513)) { area in
            area.queueSize = 32
            area.requestHeader(Request.read)
            for index in 0..<16 {
                area.descriptor(index, area.header + UInt64(index), 1, Flag.next, next: UInt16(index + 1))
            }
            area.descriptor(16, area.data, 512, Flag.next | Flag.write, next: 17)
            area.descriptor(17, area.status, 1, Flag.write)
            area.makeAvailable([0])
        },
        HostileCase("data and status in pieces of odd lengths are served", .answered(Answer.ok, length: 513)) { area in
            area.requestHeader(Request.read)
            area.descriptor(0, area.header, 16, Flag.next, next: 1)
            area.descriptor(1, area.data, 1, Flag.next | Flag.write, next: 2)
            area.descriptor(2, area.data + 1, 510, Flag.next | Flag.write, next: 3)
            area.descriptor(3, area.data + 511, 1, Flag.next | Flag.write, next: 4)
            area.descriptor(4, area.status, 1, Flag.write)
            area.makeAvailable([0])
        },

        ranges("zeroes of no ranges", Answer.ioError, []),
        ranges("zeroes of a range of 15 bytes", Answer.ioError, [(0, 1, 0)], length: 15),
        ranges("zeroes of a range of 17 bytes", Answer.ioError, [(0, 1, 0)], length: 17),
        ranges("zeroes of more ranges than are allowed", Answer.ioError, Array(repeating: (8, 1, 0), count: 33)),
        ranges("zeroes of more sectors than are allowed", Answer.ioError, [(0, .max, 0)]),
        ranges("zeroes behind the last sector", Answer.ioError, [(sectors, 1, 0)]),
        ranges("zeroes across the last sector", Answer.ioError, [(sectors - 1, 2, 0)]),
        ranges("zeroes at the last sector number", Answer.ioError, [(.max, 1, 0)]),
        ranges("zeroes with unknown flags", Answer.unsupported, [(8, 1, 0xFFFF_FFFE)]),
        ranges("zeroes of a good range and a bad one", Answer.ioError, [(8, 1, 0), (sectors, 1, 0)]),
    ]
}
#endif
