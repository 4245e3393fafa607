internal import Glibc

/// What memory the host has left, as `/proc` and `/sys` tell it.
package struct HostMemory: Sendable {
    /// Pages of one size that an administrator has set aside.
    package struct HugePages: Equatable, Sendable {
        /// In bytes.
        package let size: UInt64

        /// How many a new mapping can have: neither in use nor promised to another.
        package let available: UInt64

        /// Where their number is set.
        package let settingPath: String
    }

    /// A control group's memory controller, of the one version or the other.
    private struct ControllerFiles {
        let limit: String
        let usage: String
        let reclaimable: [String]

        static let version1 = ControllerFiles(
            limit: "memory.limit_in_bytes", usage: "memory.usage_in_bytes",
            reclaimable: ["total_inactive_file", "total_active_file"])
        static let version2 = ControllerFiles(
            limit: "memory.max", usage: "memory.current", reclaimable: ["inactive_file", "active_file"])
    }

    private let root: String

    /// - Parameter root: what stands before `/proc` and `/sys`.
    package init(root: String = "") {
        self.root = root
    }

    /// The largest amount, in bytes, that this process could still fill without anything being killed for it: of memory and
    /// swap, within the limits of its control groups. Nil if the host does not tell.
    package var available: UInt64? {
        guard let information = SmallFile.text("\(root)/proc/meminfo"),
            let memory = HostMemory.number(named: "MemAvailable:", in: information)
        else { return nil }
        let swap = HostMemory.kibibytes(HostMemory.number(named: "SwapFree:", in: information) ?? 0)
        var result = HostMemory.sum(HostMemory.kibibytes(memory), swap)
        for line in (SmallFile.text("\(root)/proc/self/cgroup") ?? "").utf8.split(separator: UInt8(ascii: "\n")) {
            // Number, controllers, path: the path may contain colons.
            let parts = line.split(separator: UInt8(ascii: ":"), maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3 else { continue }
            let group = "\(Substring(parts[2]))"
            let room: UInt64?
            if parts[1].isEmpty {
                room = leastRoom("\(root)/sys/fs/cgroup", group, .version2)
            } else if parts[1].split(separator: UInt8(ascii: ",")).contains(where: { $0.elementsEqual("memory".utf8) }) {
                room = leastRoom("\(root)/sys/fs/cgroup/memory", group, .version1)
            } else {
                continue
            }
            // Swap may be limited as well; what is refused here is certain to fail.
            if let room { result = min(result, HostMemory.sum(room, swap)) }
        }
        return result
    }

    /// The pages of `size` bytes, nil if the kernel has none of that size.
    package func hugePages(of size: UInt64) -> HugePages? {
        let directory = "\(root)/sys/kernel/mm/hugepages/hugepages-\(size >> 10)kB"
        func count(_ name: String) -> UInt64? {
            SmallFile.text("\(directory)/\(name)").flatMap { HostMemory.leadingNumber($0.utf8[...]) }
        }
        guard let free = count("free_hugepages") else { return nil }
        let idle = free - min(free, count("resv_hugepages") ?? 0)
        // Made as they are needed, up to a limit that is 0 unless it was set.
        let limit = count("nr_overcommit_hugepages") ?? 0
        let further = limit - min(limit, count("surplus_hugepages") ?? 0)
        return HugePages(
            size: size, available: HostMemory.sum(idle, further), settingPath: "\(directory)/nr_hugepages")
    }

    /// What the strictest of a group and those above it has left; nil if none has a limit. A container may see its group at
    /// the top of the tree, under the path that it has outside.
    private func leastRoom(_ tree: String, _ group: String, _ files: ControllerFiles) -> UInt64? {
        var result: UInt64?
        var path = group[...]
        while path.utf8.last == UInt8(ascii: "/") { path = path.dropLast() }
        while true {
            if let room = room(in: tree + path, files) { result = min(result ?? room, room) }
            guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return result }
            path = path[..<slash]
        }
    }

    private func room(in directory: String, _ files: ControllerFiles) -> UInt64? {
        // The word `max` stands for none.
        guard let limit = SmallFile.text("\(directory)/\(files.limit)").flatMap({ HostMemory.leadingNumber($0.utf8[...]) }),
            let usage = SmallFile.text("\(directory)/\(files.usage)").flatMap({ HostMemory.leadingNumber($0.utf8[...]) })
        else { return nil }
        let statistics = SmallFile.text("\(directory)/memory.stat") ?? ""
        let reclaimable = files.reclaimable.reduce(0) { sum, name in
            HostMemory.sum(sum, HostMemory.number(named: name, in: statistics) ?? 0)
        }
        let used = usage - min(usage, reclaimable)
        return limit - min(limit, used)
    }

    // MARK: Text

    /// The number behind a word at the beginning of a line.
    private static func number(named name: String, in text: String) -> UInt64? {
        for line in text.utf8.split(separator: UInt8(ascii: "\n")) {
            let words = line.split(separator: UInt8(ascii: " "), maxSplits: 1)
            if words.count == 2, words[0].elementsEqual(name.utf8) { return leadingNumber(words[1]) }
        }
        return nil
    }

    private static func leadingNumber(_ text: Substring.UTF8View) -> UInt64? {
        let digits = text.drop { $0 == UInt8(ascii: " ") }.prefix { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
        return UInt64(Substring(digits))
    }

    private static func kibibytes(_ count: UInt64) -> UInt64 {
        let (bytes, overflow) = count.multipliedReportingOverflow(by: 1024)
        return overflow ? .max : bytes
    }

    private static func sum(_ first: UInt64, _ second: UInt64) -> UInt64 {
        let (result, overflow) = first.addingReportingOverflow(second)
        return overflow ? .max : result
    }
}

/// Files of a few lines, as the kernel shows them in `/proc` and `/sys`.
private enum SmallFile {
    /// More than any such file has, and an end for one that has none.
    private static let limit = 1 << 16

    /// The text of a file, nil if it cannot be read.
    static func text(_ path: String) -> String? {
        guard let file = try? OwnedDescriptor(opening: path, flags: O_RDONLY) else { return nil }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while bytes.count < limit {
            // SAFETY: no more is read than the array has room for.
            let count = unsafe chunk.withUnsafeMutableBytes { unsafe Glibc.read(file.number, $0.baseAddress, $0.count) }
            guard count >= 0 else {
                if errno == EINTR { continue }
                return nil
            }
            guard count > 0 else { break }
            bytes += chunk.prefix(count)
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
