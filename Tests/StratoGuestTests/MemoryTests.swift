import Foundation
import Glibc
import Synchronization
import Testing

/// Pages that a guest's memory is made of.
struct MemoryPages: Sendable {
    let kibibytes: Int
    let guestMebibytes: Int

    var count: Int { guestMebibytes << 10 / kibibytes }
    /// KVM's count of the pages of this size that it has mapped for a guest.
    var statistic: String { kibibytes == 1 << 20 ? "pages_1g" : "pages_2m" }

    static let small = MemoryPages(kibibytes: 2 << 10, guestMebibytes: 256)
    static let large = MemoryPages(kibibytes: 1 << 20, guestMebibytes: 1024)

    /// A free GiB in one piece is rare once a system has run for a while: what is found first is kept until its test.
    private static let found = Mutex(GuestEnvironment.mode == .full ? try? PageReserve(large) : nil)

    static let largeCanBeHad = found.withLock { $0 != nil }
    static let smallCanBeHad = GuestEnvironment.mode == .full && (try? PageReserve(small)) != nil

    static func takeLarge() throws -> PageReserve {
        try #require(found.withLock { $0.take() })
    }
}

/// Huge pages, and the directory that they are mounted in.
struct PageReserve {
    let pages: MemoryPages
    let pool: HugePagePool
    private let directory: ScratchDirectory

    init(_ pages: MemoryPages) throws {
        self.pages = pages
        directory = try ScratchDirectory()
        pool = try HugePagePool(pages.count, of: pages.kibibytes, in: directory)
    }
}

extension GuestTests {
    @Suite("What a guest's memory is made of")
    struct MemoryTests {
        private let directory: ScratchDirectory

        init() throws { directory = try ScratchDirectory() }

        /// A guest that is up and idle, with the options given.
        private func idleGuest(_ mebibytes: Int, _ options: [String], machine: String = "microvm") throws -> GuestSetup {
            var setup = GuestSetup.checking("memory", "idle", root: try DiskImage.rootFileSystem(in: directory))
            setup.memory = "\(mebibytes)m"
            setup.machine = machine
            setup.options = options
            setup.hasQMP = true
            return setup
        }

        /// The fields of `/proc/PID/smaps` for the guest's memory, in KiB.
        private func guestMapping(_ guest: GuestMachine, _ mebibytes: Int) throws -> [Substring: Int] {
            var fields: [Substring: Int] = [:]
            for line in try ProcessStatistics.contents(of: "/proc/\(guest.process.identifier)/smaps").split(separator: "\n") {
                let words = line.split(separator: " ")
                guard words.count == 3, words[2] == "kB", let value = Int(words[1]) else { continue }
                if words[0] == "Size:" {
                    if fields["Size"] == mebibytes << 10 { return fields }
                    fields = [:]
                }
                fields[words[0].dropLast()] = value
            }
            guard fields["Size"] == mebibytes << 10 else { throw GuestFailure("nothing of \(mebibytes) MiB is mapped") }
            return fields
        }

        /// What KVM counts for the one guest that there is; nil where this kernel has no such count, or others have guests.
        private func statistic(_ name: String) throws -> Int? {
            let root = "/sys/kernel/debug/kvm"
            let names = (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []
            // A number of the thread that made it, which may have ended, then the descriptor's.
            let guests = names.filter { $0.first?.isNumber == true && $0.contains("-") }
            guard let directory = guests.first, guests.count == 1 else { return nil }
            let path = "\(root)/\(directory)/\(name)"
            guard FileManager.default.fileExists(atPath: path) else { return nil }
            return Int(try ProcessStatistics.contents(of: path).prefix { $0 != "\n" })
        }

        @Test(
            "A guest runs on pages of 2 MiB, KVM maps them as such, and they are free again after its end and after a kill",
            .full, .enabled(if: MemoryPages.smallCanBeHad, "only root can set huge pages aside, where there are free ones"))
        func smallPages() throws { try runGuests(on: PageReserve(.small)) }

        @Test(
            "A guest runs on pages of 1 GiB, KVM maps them as such, and they are free again after its end and after a kill",
            .full, .enabled(if: MemoryPages.largeCanBeHad, "no GiB of this host's memory is free in one piece"))
        func largePages() throws { try runGuests(on: MemoryPages.takeLarge()) }

        private func runGuests(on reserve: PageReserve) throws {
            for isKilled in [false, true] { try runGuest(on: reserve.pages, of: reserve.pool, isKilled: isKilled) }
        }

        private func runGuest(on pages: MemoryPages, of pool: HugePagePool, isKilled: Bool) throws {
            let before = try pool.available
            // Once of each kind.
            let machine = isKilled ? "microvm,mem-share=on" : "microvm"
            let setup = try idleGuest(
                pages.guestMebibytes, ["-mem-path", pool.path] + (isKilled ? ["-mem-prealloc"] : []), machine: machine)
            try GuestMachine.run(setup, in: directory) { guest in
                try guest.waitFor("GUEST-CHECK idle begin")
                #expect(try pool.available == before - pages.count)
                let mapping = try guestMapping(guest, pages.guestMebibytes)
                #expect(mapping["KernelPageSize"] == pages.kibibytes)
                #expect(mapping["Rss"] == 0, "huge pages are counted apart")
                let huge = mapping["Shared_Hugetlb", default: 0] + mapping["Private_Hugetlb", default: 0]
                #expect(huge > 0)
                if let mapped = try statistic(pages.statistic) {
                    print("pages of \(pages.kibibytes) KiB: \(huge) KiB present, \(mapped) mapped by KVM")
                    #expect(mapped > 0)
                }
                if isKilled {
                    guest.kill()
                } else {
                    try guest.connectQMP().execute("quit")
                    try guest.waitForEnd()
                }
                // The kernel takes a process's memory down a moment after its status is known.
                for _ in 0..<500 where try pool.available != before { usleep(10_000) }
                #expect(try pool.available == before)
            }
        }

        @Test(
            "Too few huge pages, and a size that is no multiple of theirs, are refused by one line with status 1",
            .full, .enabled(if: MemoryPages.smallCanBeHad, "only root can set huge pages aside, where there are free ones"))
        func refusedHugePages() throws {
            let pool = try HugePagePool(64, of: 2 << 10, in: directory)
            let available = try pool.available
            for (mebibytes, expected) in [
                (
                    "\((available + 1) * 2)m",
                    "-mem-path \(pool.path): \(available + 1) free pages of 2 MiB are needed, and there are \(available)"
                ),
                ("129m", "-m: 129 MiB is not a multiple of 2 MiB, the size of a page of -mem-path \(pool.path)"),
            ] {
                var setup = GuestSetup()
                setup.memory = mebibytes
                setup.options = ["-mem-path", pool.path]
                try GuestMachine.run(setup, in: directory) { guest in
                    try guest.waitForEnd(.exited(1))
                    let lines = guest.process.errors.text.split(separator: "\n").filter { $0.contains("-m") }
                    #expect(lines.contains { $0.contains(expected) }, "\(guest.process.errors.text)")
                }
                #expect(try pool.available == available)
            }
        }

        @Test(
            "Transparent huge pages are made where they are asked for, and never where they are forbidden",
            .full, arguments: [true, false])
        func transparentHugePages(_ isWanted: Bool) throws {
            let setting = try? ProcessStatistics.contents(of: "/sys/kernel/mm/transparent_hugepage/enabled")
            let hasAny = setting.map { !$0.contains("[never]") } ?? false
            let setup = try idleGuest(256, [], machine: "microvm,thp=\(isWanted ? "on" : "off")")
            try GuestMachine.run(setup, in: directory) { guest in
                try guest.waitFor("GUEST-CHECK idle begin")
                let mapping = try guestMapping(guest, 256)
                let huge = mapping["AnonHugePages", default: 0]
                let mapped = try statistic("pages_2m")
                print("thp=\(isWanted): \(huge) of \(mapping["Rss", default: 0]) KiB on huge pages; KVM: \(mapped ?? -1)")
                #expect((huge > 0) == (isWanted && hasAny))
                if let mapped { #expect((mapped > 0) == (isWanted && hasAny)) }
                try guest.connectQMP().execute("quit")
                try guest.waitForEnd()
            }
        }
    }
}
