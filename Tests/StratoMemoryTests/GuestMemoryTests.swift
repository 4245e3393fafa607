import Foundation
import StratoHost
import Testing

@testable import StratoMemory

/// A machine's RAM with the hole of a PC in it, small.
private func makeMemory(_ backing: GuestMemory.Backing = .init()) throws -> GuestMemory {
    try GuestMemory([range(0, 0x3000), range(0x1_0000, 0x2000), range(0x1_0000_0000, 0x1000)], backing: backing)
}

@Suite struct GuestMemoryTests {
    @Test("Every access is inside one region or refused, at each edge and with numbers that wrap")
    func edges() throws {
        let memory = try makeMemory()
        #expect(memory.totalSize == 0x6000)
        #expect(memory.ranges == [try range(0, 0x3000), try range(0x1_0000, 0x2000), try range(0x1_0000_0000, 0x1000)])
        for region in memory.ranges {
            let base = region.base.value
            let end = base + region.size
            #expect(memory.buffer(at: region.base, count: Int(region.size))?.count == Int(region.size))
            #expect(memory.buffer(at: region.base, count: Int(region.size) + 1) == nil)
            #expect(memory.buffer(at: GuestAddress(end - 1), count: 1) != nil)
            #expect(memory.buffer(at: GuestAddress(end - 1), count: 2) == nil)
            #expect(memory.buffer(at: GuestAddress(end), count: 1) == nil)
            #expect(memory.buffer(at: GuestAddress(end), count: 0) == nil)
            if base > 0 { #expect(memory.buffer(at: GuestAddress(base - 1), count: 2) == nil) }
            #expect(memory.buffer(at: region.base, count: 0)?.count == 0)
            #expect(memory.buffer(at: region.base, count: -1) == nil)
            #expect(memory.buffer(at: region.base, count: .max) == nil)
            #expect(memory.buffer(at: region.base, count: .min) == nil)
        }
        #expect(memory.buffer(at: GuestAddress(.max), count: 1) == nil)
        #expect(memory.buffer(at: GuestAddress(.max), count: .max) == nil)
    }

    @Test("What is written is read back, little-endian, at any alignment, and new memory is zero")
    func roundTrip() throws {
        let memory = try makeMemory()
        #expect(try memory.load(UInt64.self, at: GuestAddress(0x2FF8)) == 0)
        try memory.store(UInt32(0x1234_5678), at: GuestAddress(0x101))
        #expect(try memory.read(4, at: GuestAddress(0x101)) == [0x78, 0x56, 0x34, 0x12])
        #expect(try memory.load(UInt16.self, at: GuestAddress(0x102)) == 0x3456)
        try memory.write([1, 2, 3], at: GuestAddress(0x1_1FFD))
        #expect(try memory.load(UInt8.self, at: GuestAddress(0x1_1FFF)) == 3)
    }

    @Test("An access that is refused has written nothing")
    func refusedWrites() throws {
        let memory = try makeMemory()
        let refused = GuestMemoryError.notMemory(address: GuestAddress(0x2FFD), count: 4)
        #expect(throws: refused) { try memory.store(UInt32.max, at: GuestAddress(0x2FFD)) }
        #expect(throws: refused) { try memory.write([1, 2, 3, 4], at: GuestAddress(0x2FFD)) }
        #expect(throws: refused) { _ = try memory.load(UInt32.self, at: GuestAddress(0x2FFD)) }
        #expect(throws: refused) { _ = try memory.read(4, at: GuestAddress(0x2FFD)) }
        #expect(try memory.read(3, at: GuestAddress(0x2FFD)) == [0, 0, 0])
        #expect(throws: GuestMemoryError.self) { _ = try memory.read(-1, at: GuestAddress(0)) }
        #expect(throws: GuestMemoryError.self) { _ = try memory.read(.max, at: GuestAddress(0)) }
    }

    @Test("A layout that no machine has is refused")
    func layouts() throws {
        #expect(throws: GuestMemoryError.self) { _ = try GuestMemory([]) }
        for ranges in [
            [try range(0, 0x1001)], [try range(1, 0x1000)], [try range(0, 0x2000), try range(0x1000, 0x1000)],
            [try range(0x2000, 0x1000), try range(0, 0x1000)], [try range(0, 0x1000), try range(0, 0x1000)],
            [try range(0, 1 << 63), try range(1 << 63, 1 << 62)],
        ] {
            #expect(throws: GuestMemoryError.self) { _ = try GuestMemory(ranges) }
        }
    }

    @Test("Memory that the host does not have is an error, not the end", arguments: [true, false])
    func tooMuch(_ isShared: Bool) throws {
        var backing = GuestMemory.Backing()
        backing.isShared = isShared
        #expect(throws: GuestMemoryError.self) { _ = try GuestMemory([try range(0, 1 << 62)], backing: backing) }
    }

    @Test("Each backing holds what is written", arguments: [false, true], [false, true])
    func backings(_ isShared: Bool, _ isPreallocated: Bool) throws {
        var backing = GuestMemory.Backing()
        backing.isShared = isShared
        backing.isPreallocated = isPreallocated
        backing.isDumped = false
        let memory = try makeMemory(backing)
        try memory.write([7], at: GuestAddress(0x1_0000_0FFF))
        #expect(try memory.read(1, at: GuestAddress(0x1_0000_0FFF)) == [7])
    }

    @Test("A file is loaded from any place in it; one that ends early, and a place that is no memory, are errors")
    func loading() throws {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("strato-\(UUID().uuidString)")
        try Data((0..<10_000).map { UInt8(truncatingIfNeeded: $0) }).write(to: file)
        defer { try? FileManager.default.removeItem(at: file) }
        let memory = try makeMemory()
        let descriptor = try OwnedDescriptor(opening: file.path, flags: O_RDONLY)
        try memory.load(from: descriptor, offset: 5, count: 9000, at: GuestAddress(3))
        #expect(try memory.read(9000, at: GuestAddress(3)) == (5..<9005).map { UInt8(truncatingIfNeeded: $0) })
        func code(_ offset: UInt64, _ count: Int, _ address: UInt64) -> Int32? {
            do throws(LinuxError) {
                try memory.load(from: descriptor, offset: offset, count: count, at: GuestAddress(address))
                return nil
            } catch {
                return error.code
            }
        }
        #expect(code(9990, 11, 0) == EIO)
        #expect(code(20_000, 1, 0) == EIO)
        #expect(code(0, 0x3001, 0) == EFAULT)
        #expect(code(0, -1, 0) == EFAULT)
        #expect(code(.max, 1, 0) == EOVERFLOW)
        #expect(code(UInt64(Int64.max), 2, 0) != nil)
        #expect(code(.max, 0, 0) == nil)
    }

    @Test("Memory that is gone is unmapped")
    func unmapping() throws {
        // A size of its own: other tests of this process map memory too.
        let size: UInt64 = 0x5_5000
        func isMapped() throws -> Bool {
            // Read to its end by hand: Foundation stops at the first short read, which is any of this file.
            let file = try #require(fopen("/proc/self/maps", "r"))
            defer { fclose(file) }
            var maps: [UInt8] = []
            var chunk = [UInt8](repeating: 0, count: 1 << 16)
            while case let count = fread(&chunk, 1, chunk.count, file), count > 0 { maps += chunk[..<count] }
            return String(decoding: maps, as: UTF8.self).split(separator: "\n").contains { line in
                let bounds = line.prefix { $0 != " " }.split(separator: "-").compactMap { UInt64($0, radix: 16) }
                return line.contains("guest-ram") && bounds.count == 2 && bounds[1] - bounds[0] == size
            }
        }
        var backing = GuestMemory.Backing()
        backing.isShared = true
        do {
            let memory = try GuestMemory([try range(0, size)], backing: backing)
            #expect(try isMapped())
            try memory.write([1], at: GuestAddress(0))
        }
        #expect(try !isMapped())
    }
}

@Suite struct GuestBufferTests {
    private func makeBuffer(_ count: Int) throws -> (memory: GuestMemory, buffer: GuestBuffer) {
        let memory = try makeMemory()
        return (memory, try #require(memory.buffer(at: GuestAddress(0x100), count: count)))
    }

    @Test("CVE-2023-41051: slices stay inside, whatever the numbers")
    func slices() throws {
        let (memory, buffer) = try makeBuffer(16)
        for (offset, count, isInside) in [
            (0, 16, true), (16, 0, true), (15, 1, true), (15, 2, false), (17, 0, false), (-1, 1, false), (0, -1, false),
            (.max, 1, false), (1, .max, false), (.min, .min, false), (.max, .max, false),
        ] {
            #expect((buffer.slice(from: offset, count: count) != nil) == isInside)
        }
        let slice = try #require(buffer.slice(from: 4, count: 8)?.slice(from: 2, count: 2))
        slice.fill(9)
        #expect(try memory.read(16, at: GuestAddress(0x100)) == [0, 0, 0, 0, 0, 0, 9, 9] + [UInt8](repeating: 0, count: 8))
    }

    @Test("Loads and stores of every width are inside or refused")
    func loadsAndStores() throws {
        let (memory, buffer) = try makeBuffer(7)
        #expect(buffer.store(UInt32(0xAABB_CCDD), at: 3))
        #expect(!buffer.store(UInt32(1), at: 4))
        #expect(!buffer.store(UInt64(1), at: 0))
        #expect(!buffer.store(UInt8(1), at: -1))
        #expect(!buffer.store(UInt8(1), at: .max))
        #expect(buffer.load(UInt32.self, at: 3) == 0xAABB_CCDD)
        #expect(buffer.load(UInt32.self, at: 4) == nil)
        #expect(buffer.load(UInt64.self, at: 0) == nil)
        #expect(buffer.load(UInt8.self, at: .min) == nil)
        #expect(buffer.bytes() == [0, 0, 0, 0xDD, 0xCC, 0xBB, 0xAA])
        #expect(try memory.load(UInt8.self, at: GuestAddress(0x107)) == 0)
    }

    @Test("Copies take what fits and say how much")
    func copies() throws {
        let (memory, buffer) = try makeBuffer(4)
        #expect(buffer.copy([1, 2, 3, 4, 5, 6].span, to: 0) == 4)
        #expect(buffer.copy([9].span, to: 4) == 0)
        #expect(buffer.copy([9].span, to: 5) == 0)
        #expect(buffer.copy([9].span, to: -1) == 0)
        #expect(buffer.copy([8, 8].span, to: 3) == 1)
        #expect(buffer.copy([UInt8]().span, to: 0) == 0)
        #expect(try memory.load(UInt8.self, at: GuestAddress(0x104)) == 0)
        var out = [UInt8](repeating: 0xEE, count: 6)
        func copied(from offset: Int) -> Int {
            var span = out.mutableSpan
            return buffer.copy(from: offset, to: &span)
        }
        #expect(copied(from: 1) == 3)
        #expect(out == [2, 3, 8, 0xEE, 0xEE, 0xEE])
        #expect(copied(from: 4) == 0)
        #expect(copied(from: 5) == 0)
        #expect(copied(from: .min) == 0)
    }

    @Test("Shared words must be aligned and inside")
    func sharedWords() throws {
        let (memory, buffer) = try makeBuffer(6)
        #expect(buffer.storeRelease16(0x1234, at: 4))
        #expect(buffer.loadAcquire16(at: 4) == 0x1234)
        #expect(try memory.read(2, at: GuestAddress(0x104)) == [0x34, 0x12])
        for offset in [-2, -1, 1, 3, 5, 6, .max, .min] {
            #expect(buffer.loadAcquire16(at: offset) == nil)
            #expect(!buffer.storeRelease16(1, at: offset))
        }
        let odd = try #require(buffer.slice(from: 1, count: 4))
        #expect(odd.loadAcquire16(at: 0) == nil)
        #expect(odd.loadAcquire16(at: 1) == 0)
        #expect(try #require(buffer.slice(from: 0, count: 1)).loadAcquire16(at: 0) == nil)
    }

    @Test("A buffer is laid out as the kernel's iovec")
    func layout() {
        #expect(MemoryLayout<GuestBuffer>.size == MemoryLayout<iovec>.size)
        #expect(MemoryLayout<GuestBuffer>.stride == MemoryLayout<iovec>.stride)
        #expect(MemoryLayout<GuestBuffer>.alignment == MemoryLayout<iovec>.alignment)
    }
}
