import Foundation
import Testing

@Suite("Guest memory of the executable", .enabled(if: IdleGuest.canRun, IdleGuest.missing))
struct ExecutableMemoryTests {
    @Test("A guest runs with its memory in a directory, in a file, and shared: also as the optimizer has made the executable")
    func backings() throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "strato-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let file = directory.appending(path: "ram").path(percentEncoded: false)
        for options in [
            ["-machine", "microvm", "-mem-path", directory.path(percentEncoded: false)],
            ["-machine", "microvm", "-mem-path", file], ["-machine", "microvm,mem-share=on"],
            ["-machine", "microvm,mem-share=on,dump-guest-core=off", "-mem-prealloc"],
            ["-machine", "microvm,mem-share=on", "-mem-path", file],
        ] {
            // Nobody else is to see the one that was made for a private machine.
            #expect(!FileManager.default.fileExists(atPath: file))
            let guest = try IdleGuest(options)
            #expect(try guest.runs(), "\(options)")
            let end = guest.end()
            #expect(end.errors == "", "\(options)")
            #expect(end.status == 0, "\(options)")
        }
        let size = try FileManager.default.attributesOfItem(atPath: file)[.size] as? Int
        #expect(size == 128 << 20)
    }
}
