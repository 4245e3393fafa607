import Foundation
import Glibc
import Testing

/// The executable with a guest that says `!` on its serial port and halts; it ends with this object.
final class IdleGuest {
    /// Whether there is an executable, and a KVM to run it on.
    static var canRun: Bool { BuiltExecutable.stripped != nil && access("/dev/kvm", R_OK | W_OK) == 0 }

    static let missing: Comment = "needs /dev/kvm, and an executable named by STRATOVIRT_BINARY"

    let process = Process()
    private let kernel = FileManager.default.temporaryDirectory.appending(path: "idle-\(UUID().uuidString).bin")
    private let output = Pipe()
    private let errors = Pipe()

    /// Starts the executable; the guest has 128 MiB, and its serial port is on standard output.
    init(_ options: [String]) throws {
        try Data(IdleKernel.bytes).write(to: kernel)
        process.executableURL = URL(filePath: try #require(BuiltExecutable.stripped))
        process.arguments = options + ["-m", "128m", "-kernel", kernel.path(percentEncoded: false), "-serial", "stdio"]
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        process.standardError = errors
        try process.run()
    }

    deinit {
        if process.isRunning {
            process.terminate()
            process.waitUntilExit()
        }
        try? FileManager.default.removeItem(at: kernel)
    }

    /// Waits for what the guest says; false if the process ends before.
    func runs() throws -> Bool {
        try output.fileHandleForReading.read(upToCount: 1) == Data("!".utf8)
    }

    /// Asks the process to end, and waits for that.
    func end() -> (status: Int32, errors: String) {
        process.terminate()
        process.waitUntilExit()
        let text = errors.fileHandleForReading.readDataToEndOfFile()
        return (process.terminationStatus, String(decoding: text, as: UTF8.self))
    }
}
