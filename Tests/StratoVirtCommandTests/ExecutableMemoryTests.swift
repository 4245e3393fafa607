import Foundation
import Glibc
import Testing

@Suite(
    "Guest memory of the executable",
    .enabled(
        if: BuiltExecutable.stripped != nil && access("/dev/kvm", R_OK | W_OK) == 0,
        "needs /dev/kvm, and an executable named by STRATOVIRT_BINARY"))
struct ExecutableMemoryTests {
    @Test("A guest runs with its memory in a directory, in a file, and shared: also as the optimizer has made the executable")
    func backings() throws {
        let binary = try #require(BuiltExecutable.stripped)
        let directory = FileManager.default.temporaryDirectory.appending(path: "strato-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let kernel = directory.appending(path: "kernel").path(percentEncoded: false)
        try Data(IdleKernel.bytes).write(to: URL(filePath: kernel))
        let file = directory.appending(path: "ram").path(percentEncoded: false)
        for options in [
            ["-machine", "microvm", "-mem-path", directory.path(percentEncoded: false)],
            ["-machine", "microvm", "-mem-path", file], ["-machine", "microvm,mem-share=on"],
            ["-machine", "microvm,mem-share=on,dump-guest-core=off", "-mem-prealloc"],
            ["-machine", "microvm,mem-share=on", "-mem-path", file],
        ] {
            // Nobody else is to see the one that was made for a private machine.
            #expect(!FileManager.default.fileExists(atPath: file))
            let process = Process()
            let output = Pipe()
            let errors = Pipe()
            process.executableURL = URL(filePath: binary)
            process.arguments = options + ["-m", "128m", "-kernel", kernel, "-serial", "stdio"]
            process.standardInput = FileHandle.nullDevice
            process.standardOutput = output
            process.standardError = errors
            try process.run()
            let greeting = try output.fileHandleForReading.read(upToCount: 1)
            process.terminate()
            process.waitUntilExit()
            #expect(greeting == Data("!".utf8), "\(options)")
            #expect(String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self) == "", "\(options)")
            #expect(process.terminationStatus == 0, "\(options)")
        }
        let size = try FileManager.default.attributesOfItem(atPath: file)[.size] as? Int
        #expect(size == 128 << 20)
    }
}
