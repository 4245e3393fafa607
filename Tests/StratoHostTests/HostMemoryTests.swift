import Foundation
import Testing

@testable import StratoHost

@Suite("Memory that the host has left")
struct HostMemoryTests {
    /// A host that tells what stands in the files that a test gives; they are gone with the object.
    private final class FakeHost {
        private let directory: TemporaryDirectory

        init(_ files: [String: String]) throws {
            directory = try TemporaryDirectory()
            for (name, text) in files {
                let url = URL(filePath: directory.file(name))
                try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
                try Data(text.utf8).write(to: url)
            }
        }

        var root: String { directory.path }
        var available: UInt64? { HostMemory(root: root).available }
        func hugePages(of size: UInt64) -> HostMemory.HugePages? { HostMemory(root: root).hugePages(of: size) }
    }

    private static let meminfo =
        "MemTotal:       24684084 kB\nMemAvailable:    4096 kB\nSwapTotal: 1 kB\nSwapFree:       1024 kB\n"

    @Test("Without limits it is what is available, and swap")
    func whole() throws {
        #expect(try FakeHost(["proc/meminfo": Self.meminfo]).available == 5120 << 10)
        #expect(try FakeHost(["proc/meminfo": "MemAvailable:       7 kB\n"]).available == 7 << 10)
    }

    @Test("A host that does not tell, or tells nonsense, is not taken for an empty one")
    func unknown() throws {
        #expect(try FakeHost([:]).available == nil)
        for text in ["", "MemAvailable:\n", "MemAvailable: kB\n", "MemAvailable 12 kB\n", "\u{FF}\n"] {
            #expect(try FakeHost(["proc/meminfo": text]).available == nil)
        }
        let most = try FakeHost(["proc/meminfo": "MemAvailable: \(UInt64.max) kB\nSwapFree: \(UInt64.max) kB\n"])
        #expect(most.available == .max)
    }

    @Test("The strictest of a control group and those above it counts, and file pages in it can go")
    func unifiedGroups() throws {
        let group = "sys/fs/cgroup/a/b:c"
        let files = [
            "proc/meminfo": Self.meminfo, "proc/self/cgroup": "0::/a/b:c\n", "\(group)/memory.max": "max\n",
            "\(group)/memory.current": "4096\n", "sys/fs/cgroup/a/memory.max": "1048576\n",
            "sys/fs/cgroup/a/memory.current": "524288\n",
            "sys/fs/cgroup/a/memory.stat": "anon 1\nfile 999999\ninactive_file 4096\nactive_file 8192\n",
        ]
        // What of it can be swapped out makes room again.
        #expect(try FakeHost(files).available == 1_048_576 - 524_288 + 12_288 + 1024 << 10)
        var full = files
        full["\(group)/memory.max"] = "0"
        #expect(try FakeHost(full).available == 1024 << 10)
    }

    @Test("A control group of the first version counts, under its own path or at the top of a container's tree")
    func firstVersion() throws {
        let limits = ["memory.limit_in_bytes": "2097152\n", "memory.usage_in_bytes": "1048576\n"]
        for place in ["", "/docker/1"] {
            var files = ["proc/meminfo": Self.meminfo, "proc/self/cgroup": "7:cpu,memory:/docker/1\n3:pids:/x\n0::/\n"]
            for (name, text) in limits { files["sys/fs/cgroup/memory\(place)/\(name)"] = text }
            #expect(try FakeHost(files).available == (1 << 20) + (1024 << 10))
        }
    }

    @Test("Huge pages that are promised to others are not there, and those are that the kernel may make")
    func hugePages() throws {
        let directory = "sys/kernel/mm/hugepages/hugepages-2048kB"
        var files = ["\(directory)/free_hugepages": "10\n", "\(directory)/resv_hugepages": "4\n"]
        let made = try FakeHost(files)
        #expect(made.hugePages(of: 2 << 20)?.available == 6)
        #expect(made.hugePages(of: 2 << 20)?.settingPath == "\(made.root)/\(directory)/nr_hugepages")
        #expect(made.hugePages(of: 1 << 30) == nil)
        files["\(directory)/nr_overcommit_hugepages"] = "8\n"
        files["\(directory)/surplus_hugepages"] = "5\n"
        #expect(try FakeHost(files).hugePages(of: 2 << 20)?.available == 9)
        files["\(directory)/resv_hugepages"] = "11\n"
        #expect(try FakeHost(files).hugePages(of: 2 << 20)?.available == 3)
    }

    @Test("This host tells")
    func real() throws {
        let available = try #require(HostMemory().available)
        #expect(available > 1 << 20)
    }
}
