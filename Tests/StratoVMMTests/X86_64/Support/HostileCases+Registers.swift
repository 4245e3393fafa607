#if arch(x86_64)
extension HostileCase {
    private static let patterns: [UInt64] = [0, .max, 0x5555_5555_5555_5555, 0x8000_0000_8000_0001]
    private static let widths = [1, 2, 4, 8]

    /// Reads or writes at every address of a device, at every width, and across its end.
    private static func sweep(
        _ program: inout GuestProgram, at base: UInt64, size: UInt64, writing values: [UInt64] = []
    ) {
        // Accesses that begin before the device and inside of it, of which the last end behind it.
        let start = base - 8
        let count = Int(size) + 16
        for width in widths {
            program.sweepRead(start, count: count, width: width)
            for value in values { program.sweepWrite(value, to: start, count: count, width: width) }
        }
    }

    /// Accesses that no driver makes (Cloud Hypervisor #8405, #8506: panics by the width of an access).
    static let registers: [HostileCase] = [
        HostileCase(
            "every register is read at every width and alignment, also across the end", .answered(0, length: 513),
            steps: { program, _ in
                sweep(&program, at: GuestDisk.base, size: GuestDisk.Register.end)
                program.notifyDisk()
            },
            prepare: { $0.request(GuestDisk.Request.read) }),
        HostileCase(
            "every register is written at every width and alignment, also across the end", .anything,
            steps: { program, _ in
                sweep(&program, at: GuestDisk.base, size: GuestDisk.Register.end, writing: patterns)
            },
            prepare: { $0.request(GuestDisk.Request.read) }),
        HostileCase(
            "every register of a device that is not started is written",
            start: { program, _ in
                program.resetDisk()
                sweep(&program, at: GuestDisk.base, size: GuestDisk.Register.end, writing: patterns)
            }),
        HostileCase(
            "the registers of slots without a device",
            steps: { program, _ in
                for slot in 1..<UInt64(11) {
                    for width in widths {
                        program.sweepRead(GuestDisk.base + slot * GuestDisk.Register.end, count: 16, width: width)
                        program.sweepWrite(.max, to: GuestDisk.base + slot * GuestDisk.Register.end, count: 16, width: width)
                    }
                }
            }),
        HostileCase(
            "the event device's register at every width and alignment",
            steps: { program, _ in
                sweep(&program, at: 0xF000_0000, size: 4, writing: patterns)
            }),
        HostileCase(
            "addresses where there is nothing",
            steps: { program, _ in
                for address in [0xC000_0000, 0xD000_0FF8, 0xEFFF_FFF8, 0xF000_0FFD, 0xFFFF_FFF0] as [UInt64] {
                    for width in widths where address + 8 <= 1 << 32 {
                        program.sweepRead(address, count: 4, width: width)
                        program.sweepWrite(.max, to: address, count: 4, width: width)
                    }
                }
            }),
        HostileCase(
            "the ports of the board at every width and alignment",
            steps: { program, _ in
                for (first, last) in [(0x5D, 0x68), (0x3F4, 0x403), (0xCE5, 0xCEE), (0xCF5, 0xD00)] {
                    for width in [1, 2, 4] {
                        for port in first...last {
                            _ = program.portRead(UInt16(port), width: width)
                            // Ones would be a sleep or a reset; this sets bits in every register and means neither.
                            program.portWrite(0x4141_4141, to: UInt16(port), width: width)
                        }
                    }
                }
            }),
    ]

    static let all = chains + rings + requests + registers + random
}
#endif
