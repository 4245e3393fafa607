import Foundation
import Glibc
import StratoHost
import Testing

@testable import StratoMemory

/// A directory that goes with its test.
final class Scratch {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("strato-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func file(_ name: String) -> String { "\(path)/\(name)" }

    var names: [String] { get throws { try FileManager.default.contentsOfDirectory(atPath: path).sorted() } }
}

/// A file whose size is not known beforehand, in one piece.
func readAll(_ path: String) throws -> [UInt8] {
    let file = try OwnedDescriptor(opening: path, flags: O_RDONLY)
    var bytes = [UInt8](repeating: 0, count: 4096)
    let count = read(file.number, &bytes, bytes.count)
    return [UInt8](bytes.prefix(max(0, count)))
}

@Suite("What is behind a guest's memory")
struct MemoryBackingTests {
    private static let size: UInt64 = 0x6000
    private let scratch: Scratch
    private var backing = GuestMemory.Backing()

    init() throws { scratch = try Scratch() }

    private func makeMemory(_ backing: GuestMemory.Backing) throws -> GuestMemory {
        try GuestMemory([range(0, 0x3000), range(0x1_0000, 0x2000), range(0x1_0000_0000, 0x1000)], backing: backing)
    }

    @Test("A file that is shared sees what the guest writes, regions one after another")
    func sharedFile() throws {
        let path = scratch.file("ram")
        var backing = backing
        backing.path = path
        backing.isShared = true
        let memory = try makeMemory(backing)
        try memory.write([0xAB], at: GuestAddress(0x1_0000))
        let contents = try Data(contentsOf: URL(filePath: path))
        #expect(contents.count == Int(Self.size))
        #expect(contents[0x3000] == 0xAB)
        #expect(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int == 0o600)
    }

    @Test("A file that is not shared gives the memory its first contents and stays as it is, also if it may not be written")
    func privateFile() throws {
        let path = scratch.file("template")
        let before = Data((0..<0x8000).map { UInt8(truncatingIfNeeded: $0 / 7) })
        try before.write(to: URL(filePath: path))
        try #require(chmod(path, 0o400) == 0)
        var backing = backing
        backing.path = path
        let memory = try makeMemory(backing)
        #expect(try memory.read(0x1000, at: GuestAddress(0x1_0000_0000)) == [UInt8](before[0x5000..<0x6000]))
        try memory.write([0xAB], at: GuestAddress(0x1_0000))
        #expect(try memory.read(1, at: GuestAddress(0x1_0000)) == [0xAB])
        #expect(try Data(contentsOf: URL(filePath: path)) == before)
    }

    @Test("A file that is not there and that nobody else is to see loses its name at once")
    func newPrivateFile() throws {
        var backing = backing
        backing.path = scratch.file("ram")
        let memory = try makeMemory(backing)
        try memory.write([1], at: GuestAddress(0))
        #expect(try scratch.names == [])
    }

    @Test("A directory gets a file without a name, on file systems with and without such files", arguments: [false, true])
    func directory(_ isShared: Bool) throws {
        var backing = backing
        backing.path = scratch.path
        backing.isShared = isShared
        let memory = try makeMemory(backing)
        try memory.write([1], at: GuestAddress(0))
        #expect(try scratch.names == [])
        for hasTemporaryFiles in [true, false] {
            let file = try MemoryFile.unnamed(in: scratch.path, hasTemporaryFiles: hasTemporaryFiles)
            var status = stat()
            #expect(fstat(file.number, &status) == 0)
            #expect(status.st_nlink == 0)
            #expect(status.st_mode & 0o777 == 0o600)
            #expect(ftruncate(file.number, 4096) == 0)
            #expect(try scratch.names == [])
        }
    }

    @Test("A file that is too short is refused and left as it is; an empty one is made as long as the memory")
    func shortFiles() throws {
        var backing = backing
        for isShared in [false, true] {
            backing.isShared = isShared
            let short = scratch.file("short")
            try Data(count: 0x5000).write(to: URL(filePath: short))
            backing.path = short
            let text = try refusal(Self.size, backing)
            #expect(text.hasPrefix("-mem-path \(short): the file has 20 KiB, less than the 24 KiB of -m; "), "\(text)")
            #expect(try Data(contentsOf: URL(filePath: short)).count == 0x5000)
            let empty = scratch.file("empty")
            try Data().write(to: URL(filePath: empty))
            backing.path = empty
            _ = try makeMemory(backing)
            #expect(try Data(contentsOf: URL(filePath: empty)).count == Int(Self.size))
        }
    }

    @Test(
        "What is neither a file nor a directory, or is not there, is refused by a line that names the option",
        arguments: ["/dev/null", "/no/such/directory/ram", "/proc"])
    func wrongPaths(_ path: String) throws {
        var backing = backing
        for isShared in [false, true] {
            backing.path = path
            backing.isShared = isShared
            #expect(try refusal(Self.size, backing).hasPrefix("-mem-path \(path): "))
        }
    }

    @Test("A shared file on a file system without room is refused, and a file that was made for it is gone")
    func fullFileSystem() throws {
        var backing = backing
        backing.path = scratch.file("ram")
        backing.isShared = true
        // More than any disk has, and a size that a file can have on most.
        let text = try refusal(1 << 43, backing)
        #expect(text.hasPrefix("-mem-path \(scratch.file("ram")): "), "\(text)")
        #expect(text.contains("are needed"), "\(text)")
        #expect(try scratch.names == [])
    }

    @Test("A file in memory keeps its size, whoever gets it, and can be mapped by whoever gets it")
    func sealedFile() throws {
        var backing = backing
        backing.isShared = true
        let mapping = try MemoryMapping.map(0x5000, backing)
        mapping.start.storeBytes(of: 0x42, as: UInt8.self)
        let path = "/proc/self/fd/\(mapping.fileNumber)"
        let other = try OwnedDescriptor(opening: path, flags: O_RDWR)
        for size in [0x1000, 0x9000] { #expect(ftruncate(other.number, size) == -1 && errno == EPERM) }
        let seen = try #require(mmap(nil, 0x5000, PROT_READ, MAP_SHARED, other.number, 0))
        try #require(seen != MAP_FAILED)
        defer { munmap(seen, 0x5000) }
        #expect(seen.load(as: UInt8.self) == 0x42)
    }

    @Test("Memory starts at a multiple of 2 MiB, where large pages can be mapped", arguments: [false, true])
    func alignment(_ isShared: Bool) throws {
        var backing = backing
        backing.isShared = isShared
        // Sizes that leave the next mapping anywhere.
        let memories = try [0x1000, 0x20_1000, 0x40_3000, 0x1000, 0x12_3000].map { (size: UInt64) in
            try GuestMemory([try range(0, size)], backing: backing)
        }
        for memory in memories {
            let mapping = memory.hostMapping
            #expect(UInt(bitPattern: mapping.baseAddress) % (2 << 20) == 0)
            try memory.write([1], at: GuestAddress(memory.totalSize - 1))
        }
    }

    @Test("Nothing but the memory is left mapped, and nothing of it once it is gone")
    func trimmed() async {
        // In a process of its own, as other tests map memory too.
        await #expect(processExitsWith: .success) {
            func mappedPages() throws -> Int {
                let text = try String(decoding: readAll("/proc/self/statm"), as: UTF8.self)
                return try #require(text.split(separator: " ").first.flatMap { Int($0) })
            }
            _ = try mappedPages()
            for length in [0x5_7000, 0x45_7000, 2 << 20] {
                let before = try mappedPages()
                var memory: GuestMemory? = try GuestMemory([try range(0, UInt64(length))])
                let between = try mappedPages()
                #expect(memory != nil)
                memory = nil
                #expect(between - before == length / Int(sysconf(Int32(_SC_PAGESIZE))))
                #expect(try mappedPages() == before)
            }
        }
    }

    @Test("A core dump has the memory unless it is not to", arguments: [false, true], [false, true])
    func dumps(_ isDumped: Bool, _ isShared: Bool) throws {
        var backing = backing
        backing.isDumped = isDumped
        backing.isShared = isShared
        let memory = try GuestMemory([try range(0, 0x7000)], backing: backing)
        let probe = try MappingProbe(at: try #require(memory.hostMapping.baseAddress))
        #expect(probe.hasFlag("dd") == !isDumped)
        #expect(probe.hasFlag("sh") == isShared)
    }

    private static let hasTransparentHugePages =
        FileManager.default.fileExists(atPath: "/sys/kernel/mm/transparent_hugepage/enabled")

    @Test(
        "Transparent huge pages are asked for, forbidden, or left to the host",
        .enabled(if: hasTransparentHugePages, "the kernel has none"), arguments: [nil, true, false] as [Bool?])
    func advice(_ isWanted: Bool?) throws {
        var backing = backing
        backing.usesTransparentHugePages = isWanted
        let memory = try GuestMemory([try range(0, 8 << 20)], backing: backing)
        let start = try #require(memory.hostMapping.baseAddress)
        try memory.write([1], at: GuestAddress(0))
        let probe = try MappingProbe(at: start)
        #expect(probe.hasFlag("hg") == (isWanted == true))
        #expect(probe.hasFlag("nh") == (isWanted == false))
        let setting = try String(decoding: readAll("/sys/kernel/mm/transparent_hugepage/enabled"), as: UTF8.self)
        if isWanted == false { #expect(try probe.kibibytes("AnonHugePages") == 0) }
        if isWanted == true, !setting.contains("[never]") {
            // Where there is no free piece of that size the host gives small pages.
            if try probe.kibibytes("AnonHugePages") == 0 { print("this host had no transparent huge page to give") }
            #expect([0, 2048].contains(try probe.kibibytes("AnonHugePages")))
        }
    }
}

@Suite("Memory that is made present before the guest starts")
struct MemoryPopulationTests {
    private static let size: UInt64 = 70 << 20

    @Test("Every page is present, whatever the number of threads", arguments: [nil, 1, 2, 3, 40] as [Int?], [false, true])
    func present(_ threads: Int?, _ isShared: Bool) throws {
        var backing = GuestMemory.Backing()
        backing.isShared = isShared
        backing.preallocationThreads = threads
        let absent = try GuestMemory([try range(0, Self.size)], backing: backing)
        #expect(try presentPages(absent.hostMapping) == 0)
        backing.isPreallocated = true
        let memory = try GuestMemory([try range(0, Self.size)], backing: backing)
        #expect(try presentPages(memory.hostMapping) == Int(Self.size) / 4096)
        let probe = try MappingProbe(at: try #require(memory.hostMapping.baseAddress))
        // The kernel shows memory side by side as one mapping.
        #expect(try probe.kibibytes("Private_Dirty") >= Int(Self.size) >> 10)
    }

    @Test("A kernel that cannot do it in one call is served by hand, and the bytes of a file stay", arguments: [1, 3])
    func byHand(_ threads: Int) throws {
        let file = try MemoryFile.unnamed(in: NSTemporaryDirectory())
        let length = 40 << 20
        try #require(ftruncate(file.number, length) == 0)
        let written: [UInt8] = [1, 2, 3]
        try #require(pwrite(file.number, written, 3, 33 << 20) == 3)
        let start = try #require(mmap(nil, length, PROT_READ | PROT_WRITE, MAP_SHARED, file.number, 0))
        try #require(start != MAP_FAILED)
        defer { munmap(start, length) }
        try MemoryPopulation(start: start, length: length, pageSize: 0, sharedFile: file.number, isByHand: true)
            .run(threads: threads)
        #expect(try presentPages(UnsafeMutableRawBufferPointer(start: start, count: length)) == length / 4096)
        #expect((0..<3).map { start.load(fromByteOffset: 33 << 20 + $0, as: UInt8.self) } == written)
        var status = stat()
        try #require(fstat(file.number, &status) == 0)
        #expect(Int(status.st_blocks) * 512 >= length)
    }

    @Test("A file that ends early is an error of the call, on whatever thread, and does not end the process")
    func failure() throws {
        let file = try MemoryFile.unnamed(in: NSTemporaryDirectory())
        let length = 64 << 20
        try #require(ftruncate(file.number, length / 2) == 0)
        let start = try #require(mmap(nil, length, PROT_READ | PROT_WRITE, MAP_SHARED, file.number, 0))
        try #require(start != MAP_FAILED)
        defer { munmap(start, length) }
        for threads in [1, 4] {
            let population = MemoryPopulation(start: start, length: length, pageSize: 0, sharedFile: file.number)
            let error = #expect(throws: LinuxError.self) { try population.run(threads: threads) }
            #expect(error?.code == EFAULT)
        }
    }

    @Test("More than the host has is refused before anything is taken")
    func tooMuch() throws {
        let scratch = try Scratch()
        try FileManager.default.createDirectory(atPath: scratch.file("proc"), withIntermediateDirectories: false)
        try Data("MemAvailable: 10240 kB\nSwapFree: 5120 kB\n".utf8).write(to: URL(filePath: scratch.file("proc/meminfo")))
        var backing = GuestMemory.Backing()
        backing.isPreallocated = true
        let host = HostMemory(root: scratch.path)
        for isShared in [false, true] {
            backing.isShared = isShared
            let error = #expect(throws: GuestMemoryError.self) { _ = try MemoryMapping.map(16 << 20, backing, host: host) }
            let text = "-mem-prealloc: 16 MiB are needed, and the host has 15 MiB left for this process; give less memory by -m"
            #expect(error == .hostRefused(text))
            let mapping = try MemoryMapping.map(15 << 20, backing, host: host)
            #expect(try presentPages(UnsafeMutableRawBufferPointer(start: mapping.start, count: 15 << 20)) == 15 << 8)
        }
    }
}
