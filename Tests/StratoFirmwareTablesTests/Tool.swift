import Foundation

/// A program that reads what we write, where it is installed.
struct Tool {
    let path: String

    init?(_ name: String) {
        let directories = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map(String.init)
        let candidates = (directories + ["/usr/bin", "/usr/sbin", "/usr/local/bin"]).map { "\($0)/\(name)" }
        guard let path = candidates.first(where: { FileManager.default.isExecutableFile(atPath: $0) }) else { return nil }
        self.path = path
    }

    struct Result {
        let output: String
        let errors: String
        let status: Int32

        /// The output with any run of white space as one space.
        var words: String { output.split(whereSeparator: \.isWhitespace).joined(separator: " ") }
    }

    /// Runs the program in a directory of its own that has some files.
    ///
    /// - Returns: what it said, and the file `result` that it may have left there.
    func run(_ arguments: [String], files: [String: [UInt8]]) throws -> (Result, file: [UInt8]?) {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        for (name, content) in files {
            try Data(content).write(to: directory.appendingPathComponent(name))
        }
        // Files, not pipes: neither stream can fill up while the other is read.
        for name in ["stdout", "stderr"] {
            try Data().write(to: directory.appendingPathComponent(name))
        }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        process.currentDirectoryURL = directory
        process.standardOutput = try FileHandle(forWritingTo: directory.appendingPathComponent("stdout"))
        process.standardError = try FileHandle(forWritingTo: directory.appendingPathComponent("stderr"))
        try process.run()
        process.waitUntilExit()
        let result = Result(
            output: try String(contentsOf: directory.appendingPathComponent("stdout"), encoding: .utf8),
            errors: try String(contentsOf: directory.appendingPathComponent("stderr"), encoding: .utf8),
            status: process.terminationStatus)
        return (result, (try? Data(contentsOf: directory.appendingPathComponent("result"))).map { Array($0) })
    }
}
