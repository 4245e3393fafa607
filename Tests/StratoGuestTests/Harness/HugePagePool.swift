import Foundation
import Glibc

/// Huge pages of one size that are set aside for a test, with a directory for files of them; all of it goes with the object.
final class HugePagePool {
    /// Pages that are busy for a moment keep the kernel from putting a large one together.
    private static let attempts = 20

    let path: String
    private let setting: String
    private let count: Int

    /// - Parameters:
    ///   - count: how many more than there are.
    ///   - kibibytes: the size of a page.
    ///   - directory: where they are mounted.
    /// - Throws: `GuestFailure` if the host does not give them.
    init(_ count: Int, of kibibytes: Int, in directory: ScratchDirectory) throws {
        self.count = count
        setting = "/sys/kernel/mm/hugepages/hugepages-\(kibibytes)kB"
        path = directory.file("huge")
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        guard mount("none", path, "hugetlbfs", 0, "pagesize=\(kibibytes)K") == 0 else {
            throw GuestFailure("no hugetlbfs with pages of \(kibibytes) KiB: \(String(cString: strerror(errno)))")
        }
        let wanted = try number("nr_hugepages") + count
        var given = 0
        for _ in 0..<HugePagePool.attempts where given != wanted {
            // What is free in small pieces is put together as far as it can be.
            try? HugePagePool.write("3", to: "/proc/sys/vm/drop_caches")
            try? HugePagePool.write("1", to: "/proc/sys/vm/compact_memory")
            try HugePagePool.write("\(wanted)", to: "\(setting)/nr_hugepages")
            given = try number("nr_hugepages")
        }
        guard given == wanted else { throw GuestFailure("the host has \(given) pages of \(kibibytes) KiB, not \(wanted)") }
    }

    deinit {
        umount2(path, Int32(MNT_DETACH))
        rmdir(path)
        if let all = try? number("nr_hugepages") {
            try? HugePagePool.write("\(max(0, all - count))", to: "\(setting)/nr_hugepages")
        }
    }

    /// How many are neither in use nor promised.
    var available: Int { get throws { try number("free_hugepages") - number("resv_hugepages") } }

    private func number(_ name: String) throws -> Int {
        let text = try ProcessStatistics.contents(of: "\(setting)/\(name)")
        guard let number = Int(text.prefix { $0 != "\n" }) else { throw GuestFailure("\(setting)/\(name) is no number") }
        return number
    }

    private static func write(_ text: String, to path: String) throws {
        let descriptor = open(path, O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw GuestFailure("\(path): \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        let bytes = Array(text.utf8)
        guard Glibc.write(descriptor, bytes, bytes.count) == bytes.count else {
            throw GuestFailure("\(path): \(String(cString: strerror(errno)))")
        }
    }
}
