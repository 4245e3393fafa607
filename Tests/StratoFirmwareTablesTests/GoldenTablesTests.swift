import Foundation
import Testing

@testable import StratoFirmwareTables

/// Tables as sources that people read, in Tests/Golden: a change of a table shows there as what it means.
@Suite("ACPI tables that are kept", .enabled(if: !IASL.isMissing, "iasl (Debian package acpica-tools) is not installed"))
struct GoldenTablesTests {
    enum Sample: String, CaseIterable, CustomTestStringConvertible {
        case q35, microvm, virt

        var testDescription: String { rawValue }

        func tables() throws -> [[UInt8]] {
            switch self {
            case .q35:
                let image = GuestMemoryImage(try standardMachine(processors: 2).place())
                return try image.tables(rsdp: StandardMachineTables.rsdpAddress).all
            case .microvm:
                return try microVM(processors: 2, virtioDevices: 2).place().dropLast().map(\.bytes)
            case .virt:
                // Where the XSDT points to, firmware decides.
                return try ARMMachineTables.sample().split().filter { $0.text(0..<4) != "XSDT" }
            }
        }
    }

    /// Versions of iasl write sources differently: the one that is kept is compiled, and its bytes are compared.
    @Test("Each table is what the source in Tests/Golden compiles to", arguments: Sample.allCases)
    func tables(_ sample: Sample) throws {
        let tables = try sample.tables()
        #expect(tables.count >= 4)
        for table in tables {
            let signature = table.text(0..<4)
            let file = GoldenFiles.directory.appending(path: "\(sample.rawValue)/\(signature).dsl")
            if GoldenFiles.areWritten {
                try FileManager.default.createDirectory(
                    at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
                try Data(Self.source(of: table).utf8).write(to: file)
            }
            let (bytes, report) = try IASL.compile(try String(contentsOf: file, encoding: .utf8))
            #expect(report.contains("0 Errors, 0 Warnings"), "\(signature): \(report)")
            // iasl puts its own name and a new checksum into the header that all but the FACS have.
            let header = signature == "FACS" ? 0 : 36
            #expect(Array(bytes.dropFirst(header)) == Array(table.dropFirst(header)), "\(signature) is not \(file.path)")
        }
    }

    /// Without the comment at the top, which has a date and a path in it.
    private static func source(of table: [UInt8]) throws -> String {
        let source = try IASL.roundTrip(table).source
        guard source.hasPrefix("/*"), let end = source.range(of: "*/") else { return source }
        return String(source[end.upperBound...].drop { $0.isNewline })
    }
}
