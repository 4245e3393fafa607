#if arch(x86_64)

import Foundation
import StratoMemory
import Testing

@testable import StratoBoot

/// Changed images, the same ones in every run: each is refused with one line, or loaded within the rules.
@Suite("Hostile images")
struct HostileImageTests {
    private static let interesting: [UInt64] = [
        0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10_0000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0x1_0000_0000,
        .max >> 1, 1 << 63, .max - 0xFFF, .max,
    ]

    /// Where the loader writes at 0x500 and 0x20000, and where nothing may be written.
    private static let marked: [UInt64] = [0, 0x500, 0x1000, 0x1_0000, 0x2_0000, 0x8_0000, 0xA_0000, 0xF_0000, 0xF_FF00]

    /// One to four changes: a byte, an integer at any offset, a cut or a lengthening.
    private func mutate(_ image: [UInt8], headers: Range<Int>, _ random: inout SeededGenerator) -> [UInt8] {
        var bytes = image
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            let offset = min(Int.random(in: headers, using: &random), max(0, bytes.count - 8))
            guard bytes.count >= 8 else { break }
            let value = Self.interesting.randomElement(using: &random) ?? 0
            switch Int.random(in: 0..<8, using: &random) {
            case 0...1: bytes[offset] = UInt8.random(in: 0...255, using: &random)
            case 2: bytes[offset] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 3: bytes.put(UInt16(truncatingIfNeeded: value), at: offset)
            case 4: bytes.put(UInt32(truncatingIfNeeded: value), at: offset & ~3)
            case 5: bytes.put(value, at: offset & ~7)
            case 6:
                bytes.put(
                    UInt64.random(in: 0...(.max), using: &random) >> UInt64.random(in: 0..<64, using: &random),
                    at: offset & ~7)
            default:
                if Bool.random(using: &random) {
                    bytes.removeLast(Int.random(in: 0..<bytes.count, using: &random))
                } else {
                    bytes += pattern(Int.random(in: 0..<64, using: &random))
                }
            }
        }
        return bytes
    }

    private func check(_ image: [UInt8], in memory: GuestMemory, path: String) throws -> Bool {
        try Data(image).write(to: URL(fileURLWithPath: path))
        let file: BootFile
        let ramdisk = try #require(try? bootFile(pattern(100), option: "-initrd"))
        do {
            file = try BootFile(option: "-kernel", opening: path)
        } catch {
            #expect(image.isEmpty)
            return false
        }
        let marker = [UInt8](repeating: 0xCC, count: 0x100)
        for address in Self.marked { try memory.write(marker, at: GuestAddress(address)) }
        let boot = LinuxBoot(kernel: file, ramdisk: ramdisk, commandLine: "console=ttyS0")
        do {
            let state = try boot.place(in: memory, isMemoryFresh: true)
            let plan = try LinuxBoot.plan(try KernelImage.inspect(file), lowMemoryEnd: memory.totalSize)
            #expect(plan.occupied.lowerBound >= 0x10_0000)
            #expect(plan.occupied.upperBound <= memory.totalSize)
            #expect(plan.occupied.contains(state.rip))
            for segment in plan.segments {
                #expect(plan.occupied.lowerBound <= segment.address && segment.end <= plan.occupied.upperBound)
            }
            // Below 1 MiB there is only what the loader itself has put there.
            for address in Self.marked where address != 0x500 && address != 0x2_0000 {
                #expect(try memory.read(0x100, at: GuestAddress(address)) == marker)
            }
            #expect(try memory.load(UInt64.self, at: GuestAddress(0x518)) == 0x00CF_9300_0000_FFFF)
            let address =
                state.mode == .long64
                ? UInt64(try memory.load(UInt32.self, at: GuestAddress(0x7218)))
                : try memory.load(UInt64.self, at: GuestAddress(0x6038))
            #expect(address + 100 <= plan.occupied.lowerBound || address >= plan.occupied.upperBound)
            #expect(try memory.read(100, at: GuestAddress(address)) == pattern(100))
            return true
        } catch let error as BootError {
            #expect(
                error.description.hasPrefix("-kernel \(path): ") || error.description.hasPrefix("-initrd ")
                    || error.description.hasPrefix("-append"))
            #expect(!error.description.contains("\n"))
            for address in Self.marked {
                #expect(try memory.read(0x100, at: GuestAddress(address)) == marker, "refused, but written to memory")
            }
            return false
        }
    }

    @Test(
        "CVE-2022-23523: mutated images are refused before anything is written, or stay within their bounds",
        arguments: [("bzImage", 1), ("bzImage", 2), ("elf", 3), ("elf", 4), ("pvh", 5), ("pvh", 6)] as [(String, UInt64)])
    func mutated(kind: String, seed: UInt64) throws {
        let (image, headers): ([UInt8], Range<Int>) =
            switch kind {
            case "bzImage": (BzImageMaker().bytes, 0x1F1..<0x26C)
            case "elf": (ELFMaker().bytes, 0..<0xB0)
            default: (ELFMaker(notes: ELFMaker.pvhNote(0x100_0000)).bytes, 0..<0x820)
            }
        let memory = try guestMemory(mebibytes: 128)
        let path = temporaryPath()
        defer { try? FileManager.default.removeItem(atPath: path) }
        var random = SeededGenerator(seed: seed)
        var accepted = 0
        let rounds = 1500
        for _ in 0..<rounds where try check(mutate(image, headers: headers, &random), in: memory, path: path) {
            accepted += 1
        }
        // Both ways must be taken, or the test shows nothing.
        #expect(accepted > 20)
        #expect(accepted < rounds - 20)
    }

    @Test("every single byte of the headers set to every interesting value", arguments: ["bzImage", "pvh"])
    func everyByte(kind: String) throws {
        let image = kind == "bzImage" ? BzImageMaker().bytes : ELFMaker(notes: ELFMaker.pvhNote(0x100_0000)).bytes
        let offsets = kind == "bzImage" ? Array(0x1F0..<0x26C) : Array(0..<0xE8) + Array(0x800..<0x818)
        let memory = try guestMemory(mebibytes: 128)
        let path = temporaryPath()
        defer { try? FileManager.default.removeItem(atPath: path) }
        for offset in offsets {
            for value: UInt8 in [0, 1, 0x7F, 0x80, 0xFF] {
                var changed = image
                changed[offset] = value
                _ = try check(changed, in: memory, path: path)
            }
        }
    }
}

#endif
