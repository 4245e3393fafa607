import CStratoLinux
import Foundation
import Glibc
import Testing

/// What the guest tests stand on is tested itself, with no guest.
@Suite("Harness")
struct HarnessTests {
    @Test("A transcript finds texts in order, also those that are there already")
    func transcriptFindsInOrder() {
        let transcript = Transcript("one two one three")
        #expect(transcript.find("one", within: 1))
        #expect(transcript.find("one", within: 1))
        #expect(!transcript.find("two", within: 1))
        #expect(transcript.find("three", within: 1))
    }

    @Test("A transcript finds what comes in pieces")
    func transcriptFindsPieces() throws {
        let process = try ChildProcess("sh", ["-c", "printf 'hel'; read x; printf 'lo'; read x; printf '!'"])
        #expect(process.output.find("hel", within: Patience.tool))
        #expect(!process.output.find("hello", within: 0.01))
        try process.write("\n")
        #expect(process.output.find("lo", within: Patience.tool))
        try process.write("\n")
        #expect(process.waitForEnd(within: Patience.tool) == .exited(0))
        #expect(process.output.text == "hello!")
    }

    @Test("A text that ends with the stream is not waited for")
    func endedStream() throws {
        let process = try ChildProcess("true", [])
        let start = Date()
        #expect(!process.output.find("never", within: 3600))
        #expect(Date().timeIntervalSince(start) < 3000)
    }

    @Test("A child tells its status, its signal and its standard error")
    func childEnds() throws {
        let failing = try ChildProcess("sh", ["-c", "echo wrong >&2; exit 7"])
        #expect(failing.waitForEnd(within: Patience.tool) == .exited(7))
        #expect(failing.errors.text == "wrong\n")
        let killed = try ChildProcess("sh", ["-c", "kill -TERM $$"])
        #expect(killed.waitForEnd(within: Patience.tool) == .signalled(SIGTERM))
        let waiting = try ChildProcess("cat", [])
        #expect(waiting.waitForEnd(within: 0.01) == nil)
        waiting.send(signal: SIGKILL)
        #expect(waiting.waitForEnd(within: Patience.tool) == .signalled(SIGKILL))
        #expect(throws: GuestFailure.self) { try ChildProcess("/nonexistent/program", []) }
    }

    @Test("The end of input reaches a child, also while another, younger one runs")
    func endOfInput() throws {
        let reader = try ChildProcess("cat", [])
        let other = try ChildProcess("cat", [])
        try reader.write("text")
        reader.closeInput()
        #expect(reader.waitForEnd(within: Patience.tool) == .exited(0))
        #expect(reader.output.text == "text")
        #expect(other.isRunning)
        other.closeInput()
        #expect(other.waitForEnd(within: Patience.tool) == .exited(0))
    }

    @Test("A child on a pseudo terminal has it as its controlling terminal")
    func pseudoTerminal() throws {
        let process = try ChildProcess(
            "sh", ["-c", "stty raw; test -t 1 && echo yes >/dev/tty; read x; echo got"], terminal: .pseudoTerminal)
        #expect(process.output.find("yes", within: Patience.tool))
        let settings = try #require(process.terminalSettings)
        #expect(settings.c_lflag & tcflag_t(ICANON) == 0)
        try process.write("\n")
        #expect(process.output.find("got", within: Patience.tool))
        #expect(process.waitForEnd(within: Patience.tool) == .exited(0))
    }

    @Test("Input that is not read is taken up to what a pipe holds")
    func unreadInput() throws {
        let process = try ChildProcess("sleep", ["3600"])
        let taken = process.offer([UInt8](repeating: 0, count: 1 << 20), within: 0.1)
        #expect(taken > 0 && taken < 1 << 20)
        process.send(signal: SIGKILL)
        #expect(process.waitForEnd(within: Patience.tool) == .signalled(SIGKILL))
    }

    @Test("A report is read out of kernel messages, carriage returns and listings")
    func guestCheckReport() {
        let report = GuestCheckReport(
            """
            [    0.1] noise\r
            GUEST-CHECK up cpus=2 mem_mb=100 kernel=6.1\r
            [    0.2] a message GUEST-CHECK disk-info name=vda write_cache=write back serial=\r
            GUEST-CHECK irqs begin\r
             4: ttyS0\r
            GUEST-CHECK irqs end\r
            GUEST-CHECK disk-info name=vdb\r
            GUEST-CHECK done failed=0\r

            """)
        #expect(report.hasPassed)
        #expect(report.result("up")?.integer("cpus") == 2)
        #expect(report.result("up")?["kernel"] == "6.1")
        #expect(report.results("disk-info").map { $0["name"] } == ["vda", "vdb"])
        #expect(report.results("disk-info").first?["write_cache"] == "write back")
        #expect(report.result("disk-info") == nil)
        #expect(report.listings["irqs"] == [" 4: ttyS0"])
        #expect(report.failures.isEmpty)
    }

    @Test("A report without its last line, or with a failed check, has not passed")
    func failedReport() {
        #expect(!GuestCheckReport("GUEST-CHECK up cpus=1\n").hasPassed)
        #expect(!GuestCheckReport("GUEST-CHECK done failed=1\n").hasPassed)
        let failed = GuestCheckReport("GUEST-CHECK FAILED disk-read path=/x\nGUEST-CHECK done failed=0\n")
        #expect(!failed.hasPassed)
        #expect(failed.failures == ["disk-read path=/x"])
    }

    @Test("Memory is summed over the mappings below 128 MiB")
    func residentMemory() throws {
        let maps = """
            00400000-00500000 r-xp 00000000 08:01 1 /bin/x
            Size: 1024 kB
            Rss:                 100 kB
            7f0000000000-7f0008000000 rw-p 00000000 00:00 0
            Rss:               50000 kB
            7f0010000000-7f0017fff000 rw-p 00000000 00:00 0
            Rss:                  20 kB
            Anonymous:             8 kB
            """
        #expect(ProcessStatistics.sum("Rss", maps: maps) == 120)
        #expect(ProcessStatistics.sum("Anonymous", maps: maps) == 8)
        // This process maps Foundation; the file about it is far longer than one read.
        #expect(try ProcessStatistics.residentBesideGuest(getpid()) > 4096)
        let own = try ProcessStatistics.contents(of: "/proc/self/smaps")
        #expect(own.contains("[stack]") && own.hasSuffix("\n"))
        #expect(ProcessStatistics.processorTicks(of: Int(getpid()), in: getpid()) != nil)
        #expect(ProcessStatistics.processorTicks(of: 0, in: getpid()) == nil)
    }

    @Test("Disk images: patterns differ by seed and sector, checksums are those of their bytes")
    func diskImages() throws {
        let directory = try ScratchDirectory()
        let first = try DiskImage.patterned(in: directory, name: "a", mebibytes: 1, seed: 1)
        let second = try DiskImage.patterned(in: directory, name: "b", mebibytes: 1, seed: 2)
        #expect(try first.checksum() != second.checksum())
        #expect(try first.read(at: 0, count: 512) != first.read(at: 512, count: 512))
        let empty = try DiskImage.empty(in: directory, name: "c", mebibytes: 1)
        #expect(try empty.read(at: 0, count: 2 << 20) == Data(count: 1 << 20))
        #expect(try empty.checksum() == "30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58")
        #expect(try empty.checksum(first: 0) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    }

    @Test("A file is read out of an ext4 image, and damage to the image is found")
    func fileSystemImages() throws {
        let directory = try ScratchDirectory()
        let image = try DiskImage.empty(in: directory, name: "fs", mebibytes: 8)
        let tree = directory.file("tree")
        try FileManager.default.createDirectory(atPath: tree, withIntermediateDirectories: false)
        try "contents\n".write(toFile: tree + "/file", atomically: false, encoding: .utf8)
        try HostTool.check("mke2fs", ["-q", "-t", "ext4", "-d", tree, image.path])
        let copy = try image.extract("/file", to: directory)
        #expect(try copy.read(at: 0, count: 100) == Data("contents\n".utf8))
        #expect(throws: GuestFailure.self) { try image.extract("/other", to: directory) }
        #expect(try image.fileSystemErrors(replaysJournal: false) == nil)
        // The block bitmap says that all is free.
        try HostTool.check("debugfs", ["-w", "-R", "freeb 1 1000", image.path])
        #expect(try image.fileSystemErrors(replaysJournal: false) != nil)
    }

    @Test("Words of a command line are shown as a shell takes them")
    func quoting() throws {
        let words = ["plain", "", "two words", "it's", "a=b,c", "$HOME;`x`"]
        let shown = words.map(ChildProcess.quoted).joined(separator: " ")
        let output = try HostTool.check("sh", ["-c", "printf '%s|' \(shown)"])
        #expect(output == words.map { $0 + "|" }.joined())
    }
}
