import Foundation
import Glibc
import StratoHost
import Testing

@testable import StratoMemory

/// Huge pages of 2 MiB that are set aside for a test, with a place to make files of them; all of it goes with the object.
private final class HugePages {
    static let size: UInt64 = 2 << 20
    private static let setting = "/sys/kernel/mm/hugepages/hugepages-2048kB"

    let path: String
    private let count: Int

    /// - Parameters:
    ///   - count: how many more than there are.
    ///   - options: of the mount.
    init(_ count: Int, options: String = "") throws {
        self.count = count
        path = NSTemporaryDirectory() + "/strato-huge-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        try #require(mount("none", path, "hugetlbfs", 0, "pagesize=2M" + options) == 0, "\(String(cString: strerror(errno)))")
        let wanted = try HugePages.number("nr_hugepages") + count
        try HugePages.set(wanted)
        try #require(try HugePages.number("nr_hugepages") == wanted, "the host has not so many huge pages")
    }

    deinit {
        umount(path)
        rmdir(path)
        if let all = try? HugePages.number("nr_hugepages") { try? HugePages.set(all - count) }
    }

    /// How many are neither in use nor promised.
    static var available: Int { get throws { try number("free_hugepages") - number("resv_hugepages") } }

    static func number(_ name: String) throws -> Int {
        let text = try String(decoding: readAll("\(setting)/\(name)"), as: UTF8.self)
        return try #require(Int(text.prefix { $0 != "\n" }))
    }

    private static func set(_ count: Int) throws {
        let file = try OwnedDescriptor(opening: "\(setting)/nr_hugepages", flags: O_WRONLY)
        let text = Array("\(count)\n".utf8)
        try #require(write(file.number, text, text.count) == text.count)
    }

    /// A user who may set pages aside, on a host that has them to give.
    static let canBeHad: Bool = (try? HugePages(1)) != nil
}

@Suite("Memory on huge pages", .serialized, .enabled(if: HugePages.canBeHad, "only root can set huge pages aside"))
struct HugePageTests {
    private func backing(_ path: String, isShared: Bool = false, isPreallocated: Bool = false) -> GuestMemory.Backing {
        var backing = GuestMemory.Backing()
        backing.path = path
        backing.isShared = isShared
        backing.isPreallocated = isPreallocated
        return backing
    }

    @Test("Pages are huge, are promised from the beginning, and are back at the end", arguments: [false, true], [false, true])
    func pages(_ isShared: Bool, _ isPreallocated: Bool) throws {
        let pages = try HugePages(40)
        let before = try (HugePages.available, HugePages.number("free_hugepages"))
        do {
            var backing = backing(pages.path, isShared: isShared, isPreallocated: isPreallocated)
            backing.isDumped = false
            backing.usesTransparentHugePages = true
            // Three regions, none of which ends at a multiple of the page size.
            let memory = try GuestMemory(
                [range(0, 0x3000), range(0x100_0000, 30 << 20), range(0x1_0000_0000, (50 << 20) - 0x3000)], backing: backing)
            #expect(try HugePages.available == before.0 - 40)
            #expect(try HugePages.number("free_hugepages") == before.1 - (isPreallocated ? 40 : 0))
            try memory.write([7], at: GuestAddress(0x1_0000_0000))
            #expect(try memory.read(1, at: GuestAddress(0x1_0000_0000)) == [7])
            let probe = try MappingProbe(at: try #require(memory.hostMapping.baseAddress))
            #expect(try probe.kibibytes("KernelPageSize") == 2048)
            #expect(try probe.kibibytes("Size") == 80 << 10)
            #expect(probe.hasFlag("ht") && probe.hasFlag("dd"))
            #expect(try FileManager.default.contentsOfDirectory(atPath: pages.path) == [])
        }
        #expect(try (HugePages.available, HugePages.number("free_hugepages")) == before)
    }

    @Test("Too few pages are refused with how many there are, before the guest runs into it", arguments: [false, true])
    func tooFew(_ isShared: Bool) throws {
        let pages = try HugePages(5)
        let available = try HugePages.available
        let size = UInt64(available + 1) * HugePages.size
        let text = try refusal(size, backing(pages.path, isShared: isShared))
        #expect(
            text == "-mem-path \(pages.path): \(available + 1) free pages of 2 MiB are needed, and there are \(available); set a"
                + " higher number in /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages or give less memory by -m")
        #expect(try HugePages.available == available)
        // A file with a name that was made for it is gone.
        let named = try refusal(size, backing(pages.path + "/ram", isShared: isShared))
        #expect(named.hasPrefix("-mem-path \(pages.path)/ram: \(available + 1) free pages"), "\(named)")
        #expect(try FileManager.default.contentsOfDirectory(atPath: pages.path) == [])
    }

    @Test("A mount that may have fewer pages than the host has is told from a host without")
    func limitedMount() throws {
        let pages = try HugePages(8, options: ",size=8M")
        let text = try refusal(6 * HugePages.size, backing(pages.path))
        #expect(text.hasPrefix("-mem-path \(pages.path): 6 free pages of 2 MiB are needed, and a limit of the mount"), "\(text)")
        _ = try GuestMemory([range(0, 4 * HugePages.size)], backing: backing(pages.path))
    }

    @Test("A size that is no multiple of the page size is refused with both sizes")
    func oddSize() throws {
        let pages = try HugePages(4)
        for size in [HugePages.size + 0x1000, 0x1000] {
            let text = try refusal(size, backing(pages.path))
            let amount = size == 0x1000 ? "4 KiB" : "2052 KiB"
            #expect(text == "-m: \(amount) is not a multiple of 2 MiB, the size of a page of -mem-path \(pages.path)")
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: pages.path) == [])
    }

    @Test("A shared file with a name stays with its contents, and can be used again")
    func namedFile() throws {
        let pages = try HugePages(4)
        let available = try HugePages.available
        let shared = backing(pages.path + "/ram", isShared: true)
        do {
            let memory = try GuestMemory([range(0, 4 * HugePages.size)], backing: shared)
            try memory.write([9], at: GuestAddress(3 * HugePages.size))
        }
        #expect(
            try GuestMemory([range(0, 4 * HugePages.size)], backing: shared).read(1, at: GuestAddress(3 * HugePages.size)) == [9])
        #expect(unlink(pages.path + "/ram") == 0)
        #expect(try HugePages.available == available)
    }

    @Test("On a kernel that is served by hand, pages that are missing are an error, and not the end", arguments: [0, 1])
    func byHand(_ missing: Int) throws {
        let pages = try HugePages(4)
        let file = try MemoryFile.unnamed(in: pages.path)
        let length = (try HugePages.available + missing) * Int(HugePages.size)
        try #require(ftruncate(file.number, length) == 0)
        let start = try #require(mmap(nil, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file.number, 0))
        try #require(start != MAP_FAILED)
        defer { munmap(start, length) }
        let population = MemoryPopulation(
            start: start, length: length, pageSize: Int(HugePages.size), sharedFile: file.number, isByHand: true)
        if missing > 0 {
            #expect(throws: LinuxError.self) { try population.run(threads: 2) }
        } else {
            try population.run(threads: 2)
            #expect(try presentPages(UnsafeMutableRawBufferPointer(start: start, count: length)) == length / 4096)
        }
    }
}
