import Foundation
import Glibc
import Testing

@testable import StratoHost

@Suite("What threads may do with files", .enabled(if: LandlockRuleset.isAvailable, "this kernel has no Landlock"))
struct LandlockRulesetTests {
    /// Two directories, each with a file `old` and an empty directory `sub`.
    private struct Place: Sendable {
        let directory: TemporaryDirectory
        var inside: String { directory.file("inside") }
        var outside: String { directory.file("outside") }

        init() throws {
            directory = try TemporaryDirectory()
            for place in [inside, outside] {
                try FileManager.default.createDirectory(atPath: "\(place)/sub", withIntermediateDirectories: true)
                try "old".write(toFile: "\(place)/old", atomically: false, encoding: .utf8)
            }
        }
    }

    /// What a thread that is restricted finds it can do, by name.
    private static func outcomes(
        _ rules: (LandlockRuleset) throws -> Void, _ attempts: [(String, @Sendable () -> Bool)]
    ) throws -> [String: Bool] {
        let ruleset = try LandlockRuleset()
        try rules(ruleset)
        let collector = Collector<(String, Bool)>()
        try onHostThread {
            do {
                try ruleset.restrictThread()
            } catch {
                return
            }
            for (name, attempt) in attempts { collector.append((name, attempt())) }
        }
        return Dictionary(uniqueKeysWithValues: collector.elements)
    }

    /// How many rulesets are open in this process.
    private static var openRulesets: Int {
        let numbers = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
        let targets = numbers.map { try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)") }
        return targets.count { $0?.contains("landlock-ruleset") == true }
    }

    private static func opens(_ path: String, _ flags: Int32) -> Bool {
        let descriptor = open(path, flags | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { return false }
        close(descriptor)
        return true
    }

    private static func binds(_ path: String) -> Bool {
        guard let socket = try? ListeningSocket(.unix(path: path)) else { return false }
        socket.close()
        return true
    }

    @Test("Without a rule nothing is opened, made, changed in its length or removed, and what is open stays open")
    func nothing() throws {
        let place = try Place()
        let old = "\(place.inside)/old"
        let descriptor = try OwnedDescriptor(opening: old, flags: O_RDWR)
        let outcomes = try Self.outcomes(
            { _ in },
            [
                ("read", { Self.opens(old, O_RDONLY) }), ("write", { Self.opens(old, O_WRONLY) }),
                ("make", { Self.opens("\(place.inside)/new", O_WRONLY | O_CREAT) }),
                ("list", { Self.opens(place.inside, O_RDONLY | O_DIRECTORY) }),
                ("directory", { mkdir("\(place.inside)/made", 0o700) == 0 }), ("remove", { unlink(old) == 0 }),
                ("remove directory", { rmdir("\(place.inside)/sub") == 0 }),
                ("rename", { rename(old, "\(place.inside)/renamed") == 0 }),
                ("link", { symlink(old, "\(place.inside)/link") == 0 }), ("socket", { Self.binds("\(place.inside)/socket") }),
                ("truncate", { truncate(old, 0) == 0 }), ("device", { Self.opens("/dev/null", O_RDWR) }),
                ("open file", { pwrite(descriptor.number, "new", 3, 0) == 3 && ftruncate(descriptor.number, 2) == 0 }),
            ])
        // Kernels before Linux 6.2 do not keep a length from being changed.
        let allowed = Set(outcomes.filter { $0.value }.keys).subtracting(["truncate"])
        #expect(outcomes.count == 13)
        #expect(allowed == ["open file"])
        #expect(Self.opens(old, O_RDWR), "other threads are as they were")
    }

    @Test("A thread that a restricted one starts is restricted as well")
    func children() throws {
        let place = try Place()
        let outcomes = try Self.outcomes(
            { _ in },
            [
                (
                    "child",
                    {
                        let collector = Collector<Bool>()
                        try? onHostThread { collector.append(Self.opens("\(place.inside)/old", O_RDONLY)) }
                        return collector.elements != [false]
                    }
                )
            ])
        #expect(outcomes == ["child": false])
    }

    @Test("What may be removed need not be there yet, and is all that changes in its directory")
    func removal() throws {
        let place = try Place()
        let path = "\(place.inside)/later"
        let outcomes = try Self.outcomes(
            { ruleset in
                try ruleset.allowRemoval(of: path)
                try "x".write(toFile: path, atomically: false, encoding: .utf8)
            },
            [
                ("read", { Self.opens(path, O_RDONLY) }), ("remove", { unlink(path) == 0 }),
                ("remove directory", { rmdir("\(place.inside)/sub") == 0 }),
                ("make", { Self.opens(path, O_WRONLY | O_CREAT) }), ("elsewhere", { unlink("\(place.outside)/old") == 0 }),
            ])
        #expect(outcomes.filter { $0.value }.keys.sorted() == ["remove"])
    }

    @Test("Everything is possible beneath a directory that is in reach, but devices, and nothing elsewhere")
    func everything() throws {
        let place = try Place()
        let outcomes = try Self.outcomes(
            { try $0.allowEverything(beneath: place.inside) },
            [
                ("read", { Self.opens("\(place.inside)/old", O_RDONLY) }),
                ("make", { Self.opens("\(place.inside)/sub/new", O_RDWR | O_CREAT) }),
                ("rename", { rename("\(place.inside)/sub/new", "\(place.inside)/renamed") == 0 }),
                ("remove", { unlink("\(place.inside)/renamed") == 0 }),
                ("directory", { mkdir("\(place.inside)/sub/made", 0o700) == 0 && rmdir("\(place.inside)/sub/made") == 0 }),
                ("socket", { Self.binds("\(place.inside)/socket") }),
                ("FIFO", { mkfifo("\(place.inside)/fifo", 0o600) == 0 }),
                ("link", { symlink("/etc/passwd", "\(place.inside)/link") == 0 }),
                ("read elsewhere", { Self.opens("\(place.outside)/old", O_RDONLY) }),
                ("by a detour", { Self.opens("\(place.inside)/../outside/old", O_RDONLY) }),
                ("move away", { rename("\(place.inside)/old", "\(place.outside)/moved") == 0 }),
            ])
        #expect(outcomes.filter { !$0.value }.keys.sorted() == ["FIFO", "by a detour", "link", "move away", "read elsewhere"])
    }

    @Test("A rule for what is not there, or for a file where a directory is needed, is refused by name")
    func errors() throws {
        let place = try Place()
        let ruleset = try LandlockRuleset()
        let missing = "\(place.inside)/missing"
        #expect(throws: LinuxError(code: ENOENT, operation: "open \(missing)")) { try ruleset.allowEverything(beneath: missing) }
        let file = "\(place.inside)/old"
        #expect(throws: LinuxError(code: ENOTDIR, operation: "open \(file)")) { try ruleset.allowEverything(beneath: file) }
        #expect(throws: LinuxError(code: ENOENT, operation: "open \(missing)")) {
            try ruleset.allowRemoval(of: "\(missing)/file")
        }
    }

    @Test("A set of rules goes with its last user, also after threads were restricted by it")
    func descriptors() throws {
        for _ in 0..<4 { _ = try Self.outcomes({ _ in }, [("x", { true })]) }
        // Tests beside this one have rulesets as well, until they end.
        for _ in 0..<500 where Self.openRulesets > 0 { usleep(10_000) }
        #expect(Self.openRulesets == 0)
    }
}
