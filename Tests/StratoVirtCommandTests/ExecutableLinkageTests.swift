import Foundation
import Testing

@Suite("What the executable is made of")
struct ExecutableLinkageTests {
    /// Names that stand in the executable if something was linked that costs more memory or start time than the whole monitor:
    /// of a module, or of a type where a module leaves no name of its own.
    private static let forbiddenNames = [
        "Foundation", "FoundationEssentials", "FoundationInternationalization", "Dispatch", "TaskLocal", "ContinuousClock",
        "NIOCore", "NIOPosix", "ArgumentParser", "Logging",
    ]

    /// What names of their functions begin with.
    private static let forbiddenPrefixes = [
        "$s10Foundation", "$s20FoundationEssentials", "$s8Dispatch", "$s7NIOCore", "$s8NIOPosix", "$s14ArgumentParser",
        "$s7Logging", "dispatch_", "_dispatch_", "swift_task_", "swift_async_", "CFString",
    ]

    /// What a source file on a floor below the library may name in an import, beside this package's own modules.
    private static let allowedImports: Set<String> = ["Glibc", "Synchronization", "SystemPackage", "CStratoLinux"]

    @Test(
        "It is position-independent, loads no library, and needs no dynamic linker",
        .enabled(if: BuiltExecutable.stripped != nil, BuiltExecutable.missing))
    func staticPositionIndependent() throws {
        let tables = try ELFTables(path: try #require(BuiltExecutable.stripped))
        #expect(tables.type == ELFTables.FileType.sharedObject)
        let segments = tables.segments
        #expect(!segments.contains { $0.type == ELFTables.SegmentType.interpreter })
        let dynamic = try tables.dynamicEntries()
        #expect(!dynamic.contains { $0.tag == ELFTables.DynamicTag.needed })
        let flags = dynamic.first { $0.tag == ELFTables.DynamicTag.flags1 }?.value ?? 0
        #expect(flags & ELFTables.DynamicTag.positionIndependentExecutable != 0)
    }

    @Test(
        "No memory of it can be both written and executed, and what was relocated cannot be written",
        .enabled(if: BuiltExecutable.stripped != nil, BuiltExecutable.missing))
    func protectedSegments() throws {
        let tables = try ELFTables(path: try #require(BuiltExecutable.stripped))
        let both = ELFTables.SegmentFlag.writable | ELFTables.SegmentFlag.executable
        let loaded = tables.segments.filter { $0.type == ELFTables.SegmentType.load }
        #expect(loaded.contains { $0.flags & ELFTables.SegmentFlag.executable != 0 })
        #expect(!loaded.contains { $0.flags & both == both })
        let segments = tables.segments
        let stack = try #require(segments.first { $0.type == ELFTables.SegmentType.stack })
        #expect(stack.flags & ELFTables.SegmentFlag.executable == 0)
        #expect(segments.contains { $0.type == ELFTables.SegmentType.readOnlyAfterRelocation })
    }

    @Test(
        "It contains nothing of the modules that are too large for it",
        .enabled(if: BuiltExecutable.stripped != nil, BuiltExecutable.missing), arguments: forbiddenNames)
    func modules(_ name: String) throws {
        let tables = try ELFTables(path: try #require(BuiltExecutable.stripped))
        // What is linked leaves its name: this package's own show that one would be found.
        let isSearchable = tables.holdsString("StratoVMM") && tables.holdsString("MachineController")
        try #require(isSearchable, "not even this package's own names are there")
        let isLinked = tables.holdsString(name)
        #expect(!isLinked)
    }

    @Test(
        "None of its functions come from Foundation, Dispatch, NIO, ArgumentParser or the concurrency runtime",
        .enabled(if: BuiltExecutable.unstripped != nil, "the executable with its symbols is not beside STRATOVIRT_BINARY"))
    func symbols() throws {
        let names = try ELFTables(path: try #require(BuiltExecutable.unstripped)).symbolNames()
        let isSearchable = names.contains { $0.hasPrefix("$s9StratoVMM") }
        try #require(isSearchable, "not even this package's own functions are there")
        for prefix in Self.forbiddenPrefixes {
            let found = names.first { $0.hasPrefix(prefix) }
            #expect(found == nil)
        }
    }

    @Test("No module below the library imports more than the C library, Synchronization and this package's own modules")
    func imports() throws {
        let sources = BuiltExecutable.sourceRoot.appending(path: "Sources")
        let modules = try FileManager.default.contentsOfDirectory(atPath: sources.path(percentEncoded: false))
        let allowed = Self.allowedImports.union(modules.filter { $0.hasPrefix("Strato") && $0 != "StratoVirt" })
        var files = 0
        for module in modules where module != "StratoVirt" {
            let directory = sources.appending(path: module)
            let enumerator = try #require(FileManager.default.enumerator(at: directory, includingPropertiesForKeys: nil))
            for case let file as URL in enumerator where file.pathExtension == "swift" {
                files += 1
                for name in Self.importedModules(try String(contentsOf: file, encoding: .utf8)) {
                    #expect(allowed.contains(name), "\(module)/\(file.lastPathComponent) imports \(name)")
                }
            }
        }
        #expect(files > 100)
    }

    @Test(
        "Imports are recognised however they are written",
        arguments: [
            ("import Foundation", ["Foundation"]),
            ("@preconcurrency import Dispatch\nlet x = 1", ["Dispatch"]),
            ("  internal import struct Foundation.Data // bytes", ["Foundation"]),
            ("@_exported public import StratoVMM", ["StratoVMM"]),
            ("/// import nothing\nlet text = \"import x\"", []),
        ])
    func recognisesImports(_ source: String, _ expected: [String]) {
        #expect(Self.importedModules(source) == expected)
    }

    /// The modules that a source file names in its imports.
    private static func importedModules(_ source: String) -> [String] {
        let accessLevels: Set<Substring> = ["public", "package", "internal", "fileprivate", "private"]
        let kinds: Set<Substring> = ["struct", "class", "enum", "protocol", "func", "var", "let", "typealias"]
        return source.split(separator: "\n").compactMap { line in
            var words = line.split(separator: " ", omittingEmptySubsequences: true)[...]
            while let word = words.first, word.hasPrefix("@") || accessLevels.contains(word) { words.removeFirst() }
            guard words.popFirst() == "import" else { return nil }
            if let kind = words.first, kinds.contains(kind) { words.removeFirst() }
            return words.first?.split(separator: ".").first.map(String.init)
        }
    }
}
