import Foundation
import Glibc
import StratoHost
import Synchronization
import Testing

@testable import StratoVMM

@Suite("The thread that serves clients", .enabled(if: LandlockRuleset.isAvailable, "this kernel has no Landlock"))
struct ControlThreadTests {
    /// What the control thread of a machine finds it can do with files, by name; nothing if it could not be confined.
    private static func outcomes(
        reaching directories: [String]?, removing removable: [String], _ attempts: [(String, @Sendable () -> Bool)]
    ) throws -> [String: Bool] {
        var configuration = VirtualMachineConfiguration()
        configuration.reachableDirectories = directories
        let controller = MachineController(configuration, loop: try EventLoop(name: "control"), logger: .silent)
        let outcomes = Mutex<[String: Bool]>([:])
        try HostThread.start(name: "control") {
            do {
                try controller.confineControlThread(removing: removable)
            } catch {
                return
            }
            for (name, attempt) in attempts {
                let outcome = attempt()
                outcomes.withLock { $0[name] = outcome }
            }
        }.join()
        return outcomes.withLock { $0 }
    }

    /// There on every host.
    private static let hostFile = "/proc/self/stat"

    private static func opens(_ path: String, _ flags: Int32) -> Bool {
        let descriptor = open(path, flags | O_CLOEXEC)
        guard descriptor >= 0 else { return false }
        close(descriptor)
        return true
    }

    private static func makeDirectory() throws -> URL {
        let directory = FileManager.default.temporaryDirectory.appending(path: "strato-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        return directory
    }

    @Test("removes what the process has made, sees what is there, and reaches no file")
    func restricted() throws {
        let directory = try Self.makeDirectory()
        defer { try? FileManager.default.removeItem(at: directory) }
        let path = directory.appending(path: "socket").path(percentEncoded: false)
        try Data("x".utf8).write(to: URL(filePath: path))
        let outcomes = try Self.outcomes(
            reaching: [], removing: [path, "/no/such/directory/socket", "\(path)/beneath-a-file"],
            [
                ("user's file", { Self.opens(Self.hostFile, O_RDONLY) }), ("own file", { Self.opens(path, O_RDONLY) }),
                ("status", { access(Self.hostFile, F_OK) == 0 }),
                ("remove", { unlink(path) == 0 }), ("remove elsewhere", { unlink("/no/such/file") == 0 || errno != ENOENT }),
            ])
        #expect(outcomes.count == 5)
        #expect(outcomes.filter { $0.value }.keys.sorted() == ["remove", "status"])
    }

    @Test("reaches what is beneath the directories that were named")
    func directories() throws {
        let directory = try Self.makeDirectory()
        defer { try? FileManager.default.removeItem(at: directory) }
        let path = directory.appending(path: "image").path(percentEncoded: false)
        try Data("x".utf8).write(to: URL(filePath: path))
        let outcomes = try Self.outcomes(
            reaching: [directory.path(percentEncoded: false)], removing: [],
            [("image", { Self.opens(path, O_RDWR) }), ("user's file", { Self.opens(Self.hostFile, O_RDONLY) })])
        #expect(outcomes == ["image": true, "user's file": false])
    }

    @Test("reaches everything where nothing was asked for")
    func unrestricted() throws {
        let outcomes = try Self.outcomes(
            reaching: nil, removing: [], [("user's file", { Self.opens(Self.hostFile, O_RDONLY) })])
        #expect(outcomes == ["user's file": true])
    }

    @Test("A directory that is not there is refused by name")
    func missing() throws {
        var configuration = VirtualMachineConfiguration()
        configuration.reachableDirectories = ["/no/such/directory"]
        let controller = MachineController(configuration, loop: try EventLoop(name: "control"), logger: .silent)
        let error = #expect(throws: MachineControlError.self) { try controller.confineControlThread(removing: []) }
        #expect(error.map { "\($0)" } == "-landlock: open /no/such/directory: No such file or directory")
    }
}
