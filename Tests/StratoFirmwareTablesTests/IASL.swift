import Foundation

/// The ACPICA compiler and disassembler, where it is installed.
enum IASL {
    static let path = ["/usr/bin/iasl", "/usr/local/bin/iasl"].first { FileManager.default.isExecutableFile(atPath: $0) }
    static let isMissing = path == nil

    struct Result {
        /// What the disassembler wrote.
        let source: String

        /// What the compiler said.
        let report: String

        /// The table that came back.
        let table: [UInt8]
    }

    /// Disassembles a table and compiles what came out.
    static func roundTrip(_ table: [UInt8]) throws -> Result {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        try Data(table).write(to: directory.appendingPathComponent("table.dat"))
        _ = try run(["-d", "table.dat"], in: directory)
        let source = try String(contentsOf: directory.appendingPathComponent("table.dsl"), encoding: .utf8)
        // Without optimisation, paths stay as they were written.
        let report = try run(["-oa", "-p", "back", "table.dsl"], in: directory)
        let back = try Data(contentsOf: directory.appendingPathComponent("back.aml"))
        return Result(source: source, report: report, table: Array(back))
    }

    /// Compiles a source.
    ///
    /// - Returns: the table, and what the compiler said.
    static func compile(_ source: String) throws -> (table: [UInt8], report: String) {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        try Data(source.utf8).write(to: directory.appendingPathComponent("table.dsl"))
        let report = try run(["-oa", "-p", "back", "table.dsl"], in: directory)
        return (Array(try Data(contentsOf: directory.appendingPathComponent("back.aml"))), report)
    }

    private static func run(_ arguments: [String], in directory: URL) throws -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path ?? "/usr/bin/iasl")
        process.arguments = arguments
        process.currentDirectoryURL = directory
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        let output = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return String(decoding: output, as: UTF8.self)
    }
}
