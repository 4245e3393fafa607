import Foundation
import Glibc
import Testing

/// What /proc tells of a process.
enum ProcessStatistics {
    /// Mappings from this size on are the guest's memory, by the rule that StratoVirt's own footprint is measured by.
    private static let guestMapping: UInt64 = 128 << 20

    /// All of a file whose size is not known beforehand, and whose reads come back short, as those in /proc are.
    static func contents(of path: String) throws -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw GuestFailure("\(path): \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = read(descriptor, &buffer, buffer.count)
            guard count >= 0 else { throw GuestFailure("\(path): \(String(cString: strerror(errno)))") }
            guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
            bytes += buffer[..<count]
        }
    }

    /// Resident KiB of a process without its guest's memory.
    static func residentBesideGuest(_ process: pid_t) throws -> Int {
        try sum("Rss", maps: contents(of: "/proc/\(process)/smaps"))
    }

    /// As above, without what is read from files: what a process has allocated and written to.
    static func allocatedBesideGuest(_ process: pid_t) throws -> Int {
        try sum("Anonymous", maps: contents(of: "/proc/\(process)/smaps"))
    }

    /// The sum of a field of all mappings in a text like /proc/PID/smaps that are smaller than 128 MiB.
    static func sum(_ field: String, maps: String) -> Int {
        var counts = false
        var total = 0
        for line in maps.split(separator: "\n") {
            let words = line.split(separator: " ")
            guard let first = words.first else { continue }
            if first == field + ":" {
                if counts, words.count > 1, let value = Int(words[1]) { total += value }
            } else if let dash = first.firstIndex(of: "-"), let start = UInt64(first[..<dash], radix: 16),
                let end = UInt64(first[first.index(after: dash)...], radix: 16)
            {
                counts = end - start < guestMapping
            }
        }
        return total
    }

    /// The processor time of a thread in clock ticks, nil if there is no such thread.
    static func processorTicks(of thread: Int, in process: pid_t) -> Int? {
        guard let text = try? contents(of: "/proc/\(process)/task/\(thread)/stat"),
            // The name before may contain blanks and parentheses.
            let end = text.lastIndex(of: ")")
        else { return nil }
        // Fields 14 and 15 of proc(5) are utime and stime; the first after the name is number 3.
        let fields = text[text.index(after: end)...].split(separator: " ")
        guard fields.count > 12, let user = Int(fields[11]), let system = Int(fields[12]) else { return nil }
        return user + system
    }
}

extension ProcessStatistics {
    /// What a process holds of its host.
    struct Usage: Sendable, CustomStringConvertible {
        let descriptors: Int
        let threads: Int
        let mappings: Int
        /// Resident KiB that the process has written to, without the guest's memory: pages of code come and go with what was
        /// used last.
        let allocated: Int

        /// What buffers and the allocator's lists may differ by from one moment to another.
        private static let tolerance = 256

        init(of process: pid_t) throws {
            descriptors = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/fd").count
            threads = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/task").count
            mappings = try contents(of: "/proc/\(process)/maps").split(separator: "\n").count
            allocated = try allocatedBesideGuest(process)
        }

        var description: String {
            "\(descriptors) descriptors, \(threads) threads, \(mappings) mappings, \(allocated) KiB allocated"
        }

        /// Expects that there is no more than there was before.
        func expectNoGrowth(since before: Usage) {
            #expect(descriptors <= before.descriptors, "before: \(before), after: \(self)")
            #expect(threads <= before.threads, "before: \(before), after: \(self)")
            #expect(mappings <= before.mappings, "before: \(before), after: \(self)")
            #expect(allocated <= before.allocated + Usage.tolerance, "before: \(before), after: \(self)")
        }
    }
}
