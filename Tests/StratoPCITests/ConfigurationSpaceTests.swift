import StratoHost
import StratoMemory
import Testing

@testable import StratoPCI

@Suite("PCI configuration space")
struct ConfigurationSpaceTests {
    /// What the masks mean, bit by bit, as the value type's doc comment says it.
    private struct Model {
        var bytes: [UInt8]
        var writable: [UInt8]
        var clearable: [UInt8]

        mutating func write(_ value: UInt64, _ offset: Int, _ width: Int) {
            for index in 0..<width where offset + index < bytes.count {
                let given = UInt8(truncatingIfNeeded: value >> UInt64(8 * index))
                for bit in 0..<8 {
                    let mask: UInt8 = 1 << bit
                    if writable[offset + index] & mask != 0 {
                        bytes[offset + index] = bytes[offset + index] & ~mask | given & mask
                    } else if clearable[offset + index] & mask != 0, given & mask != 0 {
                        bytes[offset + index] &= ~mask
                    }
                }
            }
        }

        func read(_ offset: Int, _ width: Int) -> UInt64 {
            (0..<width).reduce(0) { value, index in
                let byte: UInt8 = offset + index < bytes.count ? bytes[offset + index] : 0xFF
                return value | UInt64(byte) << UInt64(8 * index)
            }
        }
    }

    @Test(
        "each access, at every offset and width, changes and reads the bits that its masks name, and no others",
        arguments: [PCIConfigurationSpace.Size.conventional, .express])
    func masks(_ size: PCIConfigurationSpace.Size) {
        var random = SeededGenerator(UInt64(size.rawValue))
        let count = size.rawValue
        func bytes() -> [UInt8] { (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) } }
        var model = Model(bytes: bytes(), writable: bytes(), clearable: bytes())
        for index in 0..<count { model.clearable[index] &= ~model.writable[index] }
        var space = PCIConfigurationSpace(size)
        for index in 0..<count {
            space.define(
                index, value: model.bytes[index], writable: model.writable[index], clearable: model.clearable[index])
        }
        for offset in 0..<count + 8 {
            for width in 1...8 {
                let value = UInt64.random(in: 0...UInt64.max, using: &random)
                let touched = space.write(value, at: offset, width: width)
                if offset < count { model.write(value, offset, width) }
                #expect(touched == (offset < count ? offset..<min(offset + width, count) : 0..<0))
                #expect(space.read(at: offset, width: width) == model.read(offset, width))
            }
        }
        #expect(space.contents == model.bytes)
    }

    @Test("what lies outside reads as ones and takes no write, however far")
    func outside() {
        var space = PCIConfigurationSpace(.conventional)
        let before = space
        for offset in [256, 4095, 4096, Int.max, Int.max - 3, -1, Int.min] {
            for width in [0, 1, 2, 4, 8, 9, -1] {
                _ = space.write(.max, at: offset, width: width)
                let expected = width <= 0 ? 0 : width >= 8 ? UInt64.max : 1 << UInt64(8 * width) - 1
                #expect(space.read(at: offset, width: width) == expected)
            }
            space.store(UInt32(1), at: offset)
            space.define(offset, value: UInt8(1), writable: 1)
            #expect(space.load(UInt32.self, at: offset) == 0)
        }
        #expect(space == before)
    }

    @Test("the header of a device says what it is, and what of the command register exists")
    func deviceHeader() throws {
        let function = try TestFunction("a", ranges: [(0, .memory32(isPrefetchable: false), 4096)])
        #expect(function.readConfiguration(at: 0, width: 4) == 0xBEEF_DEAD)
        #expect(function.readConfiguration(at: 0x08, width: 4) == 0xFF00_0000)
        #expect(function.readConfiguration(at: 0x2C, width: 4) == 0x0002_0001)
        #expect(function.readConfiguration(at: 0x3D, width: 1) == 1)
        function.writeConfiguration(0xFFFF, at: 4, width: 2)
        // No port, so no enable bit for ports.
        #expect(function.readConfiguration(at: 4, width: 2) == 0x0546)
        for offset in [0, 2, 8, 0x0E, 0x2C, 0x2E, 0x34, 0x3D] {
            let before = function.readConfiguration(at: offset, width: 1)
            function.writeConfiguration(~before & 0xFF, at: offset, width: 1)
            #expect(function.readConfiguration(at: offset, width: 1) == before, "\(offset)")
        }
    }

    @Test(
        "a range is sized by ones and placed by its upper bits, with the type in the lower ones",
        arguments: [
            (.memory32(isPrefetchable: false), 0x1000, 0xFFFF_F000, 0, 0),
            (.memory32(isPrefetchable: true), 0x80, 0xFFFF_FF88, 8, 0),
            (.memory32(isPrefetchable: false), 0x8000_0000, 0x8000_0000, 0, 0),
            (.memory64(isPrefetchable: false), 0x4000, 0xFFFF_C004, 4, 0xFFFF_FFFF),
            (.memory64(isPrefetchable: true), 0x1_0000_0000, 0x0000_000C, 0xC, 0xFFFF_FFFF),
            (.memory64(isPrefetchable: true), 0x40_0000_0000, 0x0000_000C, 0xC, 0xFFFF_FFC0),
            (.port, 0x20, 0xFFFF_FFE1, 1, 0), (.port, 4, 0xFFFF_FFFD, 1, 0),
        ] as [(PCIBaseAddress.Kind, UInt64, UInt64, UInt64, UInt64)])
    func sizing(_ kind: PCIBaseAddress.Kind, _ size: UInt64, _ low: UInt64, _ type: UInt64, _ high: UInt64) throws {
        let function = try TestFunction("a", ranges: [(2, kind, size)])
        func get(_ offset: Int, _ width: Int) -> UInt64 { function.readConfiguration(at: offset, width: width) }
        #expect(get(0x18, 8) == type)
        function.writeConfiguration(.max, at: 0x18, width: 8)
        #expect(get(0x18, 4) == low)
        #expect(get(0x1C, 4) == high)
        // Sized byte by byte it is the same.
        function.writeConfiguration(0, at: 0x18, width: 8)
        for offset in 0x18..<0x20 { function.writeConfiguration(0xFF, at: offset, width: 1) }
        #expect(get(0x18, 8) == low | high << 32)
        for offset in [0x10, 0x14, 0x20, 0x24] { #expect(get(offset, 4) == 0) }
    }

    @Test("ranges that cannot be are refused")
    func badRanges() {
        let bad: [[(Int, PCIBaseAddress.Kind, UInt64)]] = [
            [(0, .memory32(isPrefetchable: false), 0x1001)], [(0, .memory32(isPrefetchable: false), 0)],
            [(0, .memory32(isPrefetchable: false), 64)], [(0, .port, 512)], [(0, .port, 2)],
            [(6, .memory32(isPrefetchable: false), 0x1000)], [(-1, .memory32(isPrefetchable: false), 0x1000)],
            [(5, .memory64(isPrefetchable: false), 0x1000)], [(0, .memory32(isPrefetchable: false), 1 << 32)],
            [(0, .memory64(isPrefetchable: false), 0x1000), (1, .port, 4)],
            [(3, .memory32(isPrefetchable: false), 0x1000), (3, .port, 4)],
        ]
        for ranges in bad {
            #expect(throws: PCIError.self, "\(ranges)") { try TestFunction("a", ranges: ranges) }
        }
    }

    @Test("capabilities are a list in the order in which they were added, inside the 256 bytes, and end with it")
    func capabilities() throws {
        var space = PCIConfigurationSpace(device: PCIIdentity(vendor: 1, device: 2, classCode: 0))
        #expect(space.load(UInt16.self, at: 6) & 0x10 == 0)
        let msix = try MSIX("a", vectorCount: 3, controller: TestMessages(), logger: .silent)
        let offsets = [
            try space.addMSIX(msix, baseAddress: 1), try space.addVendor([1, 2, 3]), try space.addPowerManagement(),
            try space.addExpress(.endpoint),
        ]
        #expect(offsets.allSatisfy { $0 % 4 == 0 && $0 >= 0x40 })
        #expect(space.load(UInt16.self, at: 6) & 0x10 != 0)
        var walked: [Int] = []
        var identifiers: [UInt8] = []
        var next = Int(space.load(UInt8.self, at: 0x34))
        while next != 0 {
            walked.append(next)
            identifiers.append(space.load(at: next))
            next = Int(space.load(UInt8.self, at: next + 1))
        }
        #expect(walked == offsets)
        #expect(identifiers == [0x11, 0x09, 0x01, 0x10])
        // Vendor: its length, then the body.
        #expect((0..<6).map { space.load(UInt8.self, at: offsets[1] + $0) } == [9, UInt8(offsets[2]), 6, 1, 2, 3])
        // MSI-X: 3 vectors, table at 0 and pending bits at 0x800 of register 1.
        #expect(space.load(UInt16.self, at: offsets[0] + 2) == 2)
        #expect(space.load(UInt32.self, at: offsets[0] + 4) == 1)
        #expect(space.load(UInt32.self, at: offsets[0] + 8) == 0x801)
        var count = 0
        while (try? space.addVendor(Array(repeating: 0, count: 13))) != nil { count += 1 }
        #expect((1...12).contains(count))
        #expect(throws: PCIError.self) { try space.addExpress(.endpoint) }
    }

    @Test("a restored space has the guest's bits and keeps the constant ones")
    func restore() throws {
        var space = PCIConfigurationSpace(device: PCIIdentity(vendor: 1, device: 2, classCode: 0x06_00_00))
        let original = space
        _ = space.write(0x0406, at: 4, width: 2)
        _ = space.write(0x77, at: 0x3C, width: 1)
        var other = original
        let isRestored = other.restore(space.contents)
        #expect(isRestored)
        #expect(other == space)
        // Bytes of anything: no constant bit changes.
        var random = SeededGenerator(3)
        var noise = (0..<256).map { _ in UInt8.random(in: 0...255, using: &random) }
        noise.replaceSubrange(0..<4, with: [1, 0, 2, 0])
        let isNoiseTaken = other.restore(noise)
        #expect(isNoiseTaken)
        var ones = original
        _ = (0..<256).map { ones.write(0xFF, at: $0, width: 1) }
        for index in 0..<256 {
            let constant = ~(ones.contents[index] ^ original.contents[index])
            #expect(other.contents[index] & constant == original.contents[index] & constant)
        }
        let bad: [[UInt8]] = [
            [], [0], Array(repeating: 0, count: 256), Array(repeating: 1, count: 4096), Array(original.contents.dropLast()),
        ]
        for wrong in bad {
            var untouched = original
            let isTaken = untouched.restore(wrong)
            #expect(!isTaken)
            #expect(untouched == original)
        }
    }

    @Test("a bridge's windows are what its registers say, and closed when they end below their base")
    func windows() throws {
        var space = PCIConfigurationSpace(bridge: PCIIdentity(vendor: 1, device: 2, classCode: 0x06_04_00))
        // After power-on every window begins and ends at zero: each is one unit large, and decoding is off.
        #expect(space.forwardedWindows == PCIAddressMap.Windows())
        _ = space.write(0xFFFF_FFFF, at: 0x1C, width: 2)
        #expect(space.load(UInt16.self, at: 0x1C) == 0xF0F0)
        _ = space.write(0x20_10, at: 0x1C, width: 2)
        #expect(space.portWindow == (try range(0x1000, 0x2000)))
        _ = space.write(0xC01F_C010, at: 0x20, width: 4)
        #expect(space.memoryWindow == (try range(0xC010_0000, 0x10_0000)))
        _ = space.write(0xFFF1_0001, at: 0x24, width: 4)
        #expect(space.load(UInt32.self, at: 0x24) == 0xFFF1_0001)
        _ = space.write(0x80, at: 0x28, width: 4)
        _ = space.write(0x80, at: 0x2C, width: 4)
        #expect(space.prefetchableWindow == (try range(0x80_0000_0000, 0x1_0000_0000)))
        _ = space.write(0x7F, at: 0x2C, width: 4)
        #expect(space.prefetchableWindow == nil)
        _ = space.write(3, at: 4, width: 2)
        #expect(space.forwardedWindows.memory == [try range(0xC010_0000, 0x10_0000)])
        #expect(space.forwardedWindows.ports == [try range(0x1000, 0x2000)])
        // A window over all 64 bits of addresses does not wrap.
        _ = space.write(0xFFF0_0000, at: 0x24, width: 4)
        _ = space.write(0, at: 0x28, width: 4)
        _ = space.write(.max, at: 0x2C, width: 4)
        #expect(space.prefetchableWindow == nil)
    }
}
