#if arch(x86_64)
import StratoVMM

extension HostileCase {
    private typealias Flag = RingArea.Flag

    /// Where the guest's RAM ends.
    private static let memoryEnd = ControlledMachine.memorySize.bytes

    /// A read of one sector whose data goes to an address.
    private static func read(into address: UInt64, length: UInt32 = 512) -> @Sendable (inout RingArea) -> Void {
        { $0.request(GuestDisk.Request.read, data: address, length: length) }
    }

    /// An indirect descriptor that refers to a table.
    private static func indirect(
        _ address: UInt64? = nil, length: UInt32, flags: UInt16 = Flag.indirect,
        _ fill: @escaping @Sendable (inout RingArea) -> Void = { _ in }
    ) -> @Sendable (inout RingArea) -> Void {
        { area in
            area.requestHeader(GuestDisk.Request.read)
            area.descriptor(0, address ?? area.indirect, length, flags, next: 1)
            area.descriptor(1, area.status, 1, Flag.write)
            area.makeAvailable([0])
            fill(&area)
        }
    }

    /// A whole request in the indirect table.
    private static func indirectRequest(_ area: inout RingArea) {
        area.indirectDescriptor(0, area.header, 16, Flag.next, next: 1)
        area.indirectDescriptor(1, area.data, 512, Flag.next | Flag.write, next: 2)
        area.indirectDescriptor(2, area.status, 1, Flag.write)
    }

    /// Chains of descriptors (CVE-2019-18960, CVE-2011-2212, CVE-2021-20255).
    static let chains: [HostileCase] = [
        HostileCase("two descriptors that refer to each other", .needsReset) { area in
            area.request(GuestDisk.Request.read)
            area.descriptor(1, area.data, 512, Flag.next | Flag.write, next: 0)
            area.descriptor(0, area.header, 16, Flag.next | Flag.write, next: 1)
        },
        HostileCase("a descriptor that refers to itself", .needsReset) { area in
            area.request(GuestDisk.Request.read)
            area.descriptor(1, area.data, 512, Flag.next | Flag.write, next: 1)
        },
        HostileCase("a loop of descriptors without bytes", .needsReset) { area in
            area.request(GuestDisk.Request.read)
            area.descriptor(1, 0, 0, Flag.next, next: 1)
        },
        HostileCase("the next descriptor is the first behind the table", .needsReset) { area in
            area.request(GuestDisk.Request.read)
            area.descriptor(1, area.data, 512, Flag.next | Flag.write, next: area.queueSize)
        },
        HostileCase("the next descriptor is number 65535", .needsReset) { area in
            area.request(GuestDisk.Request.read)
            area.descriptor(1, area.data, 512, Flag.next | Flag.write, next: 0xFFFF)
        },
        HostileCase("the head is behind the table", .needsReset) { area in
            area.request(GuestDisk.Request.read)
            area.makeAvailable([area.queueSize])
        },
        HostileCase("the head is number 65535", .needsReset) { area in
            area.request(GuestDisk.Request.read)
            area.makeAvailable([0xFFFF])
        },
        HostileCase(
            "data that end with the last byte of memory are served", .answered(0, length: 513),
            prepare: read(into: memoryEnd - 512)),
        HostileCase("data that end one byte past the last of memory", .needsReset, prepare: read(into: memoryEnd - 511)),
        HostileCase("data that begin with the first byte past memory", .needsReset, prepare: read(into: memoryEnd)),
        HostileCase(
            "data in the last byte of memory and far past it", .needsReset,
            prepare: read(into: memoryEnd - 1, length: 0xFFFF_FFFF)),
        HostileCase("data at the beginning of the gap for devices", .needsReset, prepare: read(into: 0xC000_0000)),
        HostileCase("data at 4 GiB, where this machine has no memory", .needsReset, prepare: read(into: 1 << 32)),
        HostileCase("data in the last bytes of the address space", .needsReset, prepare: read(into: 0 &- 512)),
        HostileCase("data in the very last byte of the address space", .needsReset, prepare: read(into: .max)),
        HostileCase("data that wrap around the address space", .needsReset, prepare: read(into: 0 &- 256)),
        HostileCase(
            "data that wrap around the address space into memory", .needsReset,
            prepare: read(into: 0 &- 256, length: 0x10_0000)),
        HostileCase("data above the signed numbers", .needsReset, prepare: read(into: 1 << 63)),
        HostileCase("data of nearly 4 GiB", .needsReset, prepare: read(into: 0, length: 0xFFFF_FE00)),
        HostileCase(
            "data in the device's own notification register", .needsReset,
            prepare: read(into: GuestDisk.register(GuestDisk.Register.queueNotify), length: 4)),
        HostileCase("data in the device's own status register, to be written to disk", .needsReset) { area in
            area.request(
                GuestDisk.Request.write, data: GuestDisk.register(GuestDisk.Register.status), length: 512, isWrite: true)
        },
        HostileCase("data in the interrupt controller", .needsReset, prepare: read(into: 0xFEC0_0000)),
        HostileCase("data in the local APIC", .needsReset, prepare: read(into: 0xFEE0_0000)),
        HostileCase("the status in the device's own registers", .needsReset) { area in
            area.request(GuestDisk.Request.read)
            area.descriptor(2, GuestDisk.register(GuestDisk.Register.status), 1, Flag.write)
        },
        HostileCase("the header in the device's own registers", .needsReset) { area in
            area.request(GuestDisk.Request.read)
            area.descriptor(0, GuestDisk.base, 16, Flag.next, next: 1)
        },
        HostileCase("a chain that holds 4 GiB of the same bytes", .needsReset) { area in
            area.request(GuestDisk.Request.read)
            for index in 1..<Int(area.queueSize) {
                area.descriptor(index, 0, UInt32(memoryEnd), Flag.next | Flag.write, next: UInt16(index + 1))
            }
            // Fifteen times 128 MiB stay below; the table's own entries are 128 MiB each as well.
            area.descriptor(Int(area.queueSize) - 1, area.indirect, 256 * 16, Flag.indirect)
            for index in 0..<256 {
                area.indirectDescriptor(index, 0, UInt32(memoryEnd), Flag.next | Flag.write, next: UInt16(index + 1))
            }
        },
        HostileCase("a chain of as much data as fits below 4 GiB, all the same bytes", .answered(1)) { area in
            area.request(GuestDisk.Request.read)
            for index in 1..<15 {
                area.descriptor(index, 0x200_0000, 64 << 20, Flag.next | Flag.write, next: UInt16(index + 1))
            }
            area.descriptor(15, area.status, 1, Flag.write)
        },
        HostileCase("a part to read behind a part to write", .needsReset) { area in
            area.request(GuestDisk.Request.read)
            area.descriptor(0, area.header, 16, Flag.next | Flag.write, next: 1)
            area.descriptor(1, area.data, 512, Flag.next, next: 2)
        },
        HostileCase("a chain of the whole queue, to itself", .needsReset) { area in
            area.request(GuestDisk.Request.read)
            for index in 0..<Int(area.queueSize) {
                area.descriptor(index, area.data, 16, Flag.next, next: UInt16(index + 1) % area.queueSize)
            }
        },

        HostileCase(
            "a request in an indirect table is served", .answered(0, length: 513),
            prepare: indirect(length: 48, indirectRequest)),
        HostileCase(
            "an indirect table without the feature", .needsReset, features: GuestDisk.Feature.version1,
            prepare: indirect(length: 48, indirectRequest)),
        HostileCase(
            "an indirect table inside an indirect table", .needsReset,
            prepare: indirect(length: 48) { area in
                indirectRequest(&area)
                area.indirectDescriptor(1, area.indirect, 48, Flag.indirect)
            }),
        HostileCase(
            "an indirect descriptor with a next one", .needsReset,
            prepare: indirect(length: 48, flags: Flag.indirect | Flag.next, indirectRequest)),
        HostileCase("an indirect table of no bytes", .needsReset, prepare: indirect(length: 0)),
        HostileCase("an indirect table of 15 bytes", .needsReset, prepare: indirect(length: 15)),
        HostileCase("an indirect table of 17 bytes", .needsReset, prepare: indirect(length: 17, indirectRequest)),
        HostileCase("an indirect table of 4 GiB less 16 bytes", .needsReset, prepare: indirect(length: 0xFFFF_FFF0)),
        HostileCase(
            "an indirect table that is longer than the longest queue", .needsReset,
            prepare: indirect(length: 257 * 16) { area in
                for index in 0..<257 {
                    area.indirectDescriptor(index, area.data, 1, Flag.next, next: UInt16(index + 1))
                }
            }),
        HostileCase("an indirect table outside of memory", .needsReset, prepare: indirect(memoryEnd, length: 48)),
        HostileCase(
            "an indirect table whose last byte is outside of memory", .needsReset,
            prepare: indirect(memoryEnd - 47, length: 48)),
        HostileCase(
            "an indirect table that wraps around the address space", .needsReset,
            prepare: indirect(0 &- 16, length: 48)),
        HostileCase(
            "an indirect table in the device's registers", .needsReset,
            prepare: indirect(GuestDisk.base, length: 48)),
        HostileCase(
            "a loop in an indirect table", .needsReset,
            prepare: indirect(length: 48) { area in
                indirectRequest(&area)
                area.indirectDescriptor(1, area.data, 512, Flag.next | Flag.write, next: 1)
            }),
        HostileCase(
            "a next descriptor behind the indirect table", .needsReset,
            prepare: indirect(length: 48) { area in
                indirectRequest(&area)
                area.indirectDescriptor(1, area.data, 512, Flag.next | Flag.write, next: 3)
            }),
        HostileCase(
            "an indirect table that is the descriptor table itself", .needsReset,
            prepare: { area in
                area.descriptor(0, area.descriptors, 16 * 16, Flag.indirect)
                area.makeAvailable([0])
            }),
    ]

    /// RAM of a machine that has some above the gap for devices: 3 GiB below it, and 64 MiB from 4 GiB on.
    static let splitMemory = MemorySize.mebibytes(3 * 1024 + 64)
    private static let gap: UInt64 = 0xC000_0000
    private static let highBase: UInt64 = 1 << 32
    private static let highEnd = highBase + 64 << 20

    /// Chains of a machine whose memory has two parts (CVE-2019-18960).
    static let splitChains: [HostileCase] = [
        HostileCase(
            "data that end with the last byte below the gap are served", .answered(0, length: 513),
            prepare: read(into: gap - 512)),
        HostileCase("data that reach one byte into the gap", .needsReset, prepare: read(into: gap - 511)),
        HostileCase(
            "data that reach over the whole gap into memory", .needsReset,
            prepare: read(into: gap - 512, length: UInt32(highBase - gap) + 1024)),
        HostileCase("data as long as all of memory", .needsReset, prepare: read(into: 0, length: .max)),
        HostileCase("data in the middle of the gap", .needsReset, prepare: read(into: 0xE000_0000)),
        HostileCase("data that begin in the gap and end in memory", .needsReset, prepare: read(into: highBase - 256)),
        HostileCase("data at 4 GiB are served", .answered(0, length: 513), prepare: read(into: highBase)),
        HostileCase(
            "data that end with the last byte above 4 GiB are served", .answered(0, length: 513),
            prepare: read(into: highEnd - 512)),
        HostileCase("data that end one byte past it", .needsReset, prepare: read(into: highEnd - 511)),
        HostileCase(
            "data where memory would end without the gap", .needsReset,
            prepare: read(into: highEnd)),
        HostileCase(
            "an indirect table above 4 GiB whose last byte is outside of memory", .needsReset,
            prepare: indirect(highEnd - 47, length: 48)),
        HostileCase(
            "an indirect table across the end of the lower part", .needsReset,
            prepare: indirect(gap - 16, length: 48)),
        HostileCase("a request from both parts is served", .answered(0, length: 513)) { area in
            area.requestHeader(GuestDisk.Request.read)
            area.descriptor(0, area.header, 16, Flag.next, next: 1)
            area.descriptor(1, gap - 100, 100, Flag.next | Flag.write, next: 2)
            area.descriptor(2, highBase, 412, Flag.next | Flag.write, next: 3)
            area.descriptor(3, area.status, 1, Flag.write)
            area.makeAvailable([0])
        },
    ]
}
#endif
