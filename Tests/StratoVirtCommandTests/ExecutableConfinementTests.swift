import Foundation
import Glibc
import StratoHost
import Testing

@Suite(
    "Confinement of the executable",
    .enabled(
        if: BuiltExecutable.stripped != nil && access("/dev/kvm", R_OK | W_OK) == 0,
        "needs /dev/kvm, and an executable named by STRATOVIRT_BINARY"))
struct ExecutableConfinementTests {
    /// The executable with an idle guest, ended with it.
    private final class Running {
        let process = Process()
        let directory = FileManager.default.temporaryDirectory.appending(path: "strato-\(UUID().uuidString)")
        private let errors = Pipe()

        init(_ options: [String]) throws {
            try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
            let kernel = directory.appending(path: "kernel")
            try Data(IdleKernel.bytes).write(to: kernel)
            process.executableURL = URL(filePath: try #require(BuiltExecutable.stripped))
            process.currentDirectoryURL = directory
            process.arguments = ["-machine", "microvm", "-m", "128m", "-kernel", kernel.path(percentEncoded: false)] + options
            process.standardInput = FileHandle.nullDevice
            process.standardError = errors
            try process.run()
        }

        deinit {
            if process.isRunning { kill(process.processIdentifier, SIGKILL) }
            try? FileManager.default.removeItem(at: directory)
        }

        func exists(_ name: String) -> Bool {
            FileManager.default.fileExists(atPath: directory.appending(path: name).path(percentEncoded: false))
        }

        /// What stands in the status of each thread, without those that are the kernel's own.
        func fields(_ name: String) -> [String: String] {
            let tasks = "/proc/\(process.processIdentifier)/task"
            var values: [String: String] = [:]
            for thread in (try? FileManager.default.contentsOfDirectory(atPath: tasks)) ?? [] {
                // One that ends meanwhile is not there any more.
                guard let status = try? String(contentsOfFile: "\(tasks)/\(thread)/status", encoding: .utf8) else { continue }
                let lines = status.split(separator: "\n").map { $0.split(separator: "\t") }
                guard let label = lines.first(where: { $0.first == "Name:" })?.last, !label.hasPrefix("kvm-") else { continue }
                values[String(label)] = lines.first { $0.first == "\(name):" }?.last.map(String.init) ?? ""
            }
            return values
        }

        func waitForEnd() -> (status: Int32, errors: String) {
            process.waitUntilExit()
            let text = errors.fileHandleForReading.readDataToEndOfFile()
            return (process.terminationStatus, String(decoding: text, as: UTF8.self))
        }
    }

    private static func wait(for condition: () -> Bool) {
        let deadline = ContinuousClock.now + .seconds(30)
        while !condition(), ContinuousClock.now < deadline { usleep(20_000) }
    }

    @Test("Every thread has a filter and can get no rights once the guest runs, and none without filters")
    func filters() throws {
        let confined = try Running(["-serial", "null"])
        Self.wait {
            confined.fields("Seccomp").keys.contains("vcpu0") && confined.fields("Seccomp").allSatisfy { $0.value == "2" }
        }
        #expect(confined.fields("Seccomp")["vcpu0"] == "2")
        #expect(confined.fields("Seccomp").allSatisfy { $0.value == "2" })
        #expect(confined.fields("NoNewPrivs").allSatisfy { $0.value == "1" })
        kill(confined.process.processIdentifier, SIGTERM)
        #expect(confined.waitForEnd() == (0, ""))

        let free = try Running(["-serial", "null", "-disable-seccomp", "-landlock", "off"])
        Self.wait { free.fields("Seccomp").keys.contains("vcpu0") && free.fields("Seccomp").count == 2 }
        #expect(free.fields("Seccomp").allSatisfy { $0.value == "0" })
        #expect(free.fields("NoNewPrivs").allSatisfy { $0.value == "0" })
        kill(free.process.processIdentifier, SIGTERM)
        #expect(free.waitForEnd() == (0, ""))
    }

    @Test(
        "What the process has made goes with it, whatever is kept from its threads",
        arguments: [[], ["-landlock", "off"], ["-disable-seccomp"], ["-disable-seccomp", "-landlock", "off"]]
            + (LandlockRuleset.isAvailable ? [["-landlock", "on"], ["-disable-seccomp", "-landlock", "on"]] : []))
    func files(_ options: [String]) throws {
        let running = try Running(["-serial", "socket,path=serial.sock,server,nowait"] + options)
        Self.wait { running.fields("Seccomp").keys.contains("vcpu0") }
        #expect(running.exists("serial.sock"))
        kill(running.process.processIdentifier, SIGTERM)
        #expect(running.waitForEnd() == (0, ""))
        #expect(!running.exists("serial.sock"))
    }

    @Test(
        "With a client's socket a directory in reach is no obstacle to anything else",
        .enabled(if: LandlockRuleset.isAvailable, "this kernel has no Landlock"))
    func monitor() throws {
        let running = try Running([
            "-serial", "null", "-qmp", "unix:qmp.sock,server,nowait", "-landlock", "path=/usr", "-landlock", "path=.",
        ])
        Self.wait { running.fields("Seccomp").keys.contains("vcpu0") }
        #expect(running.exists("qmp.sock"))
        kill(running.process.processIdentifier, SIGTERM)
        #expect(running.waitForEnd() == (0, ""))
        #expect(!running.exists("qmp.sock"))
    }

    @Test(
        "A directory that is not there is one line and status 1",
        .enabled(if: LandlockRuleset.isAvailable, "this kernel has no Landlock"))
    func missingDirectory() throws {
        let running = try Running(["-serial", "null", "-landlock", "path=/no/such/directory"])
        #expect(
            running.waitForEnd() == (1, "stratovirt: -landlock: open /no/such/directory: No such file or directory\n"))
    }
}
