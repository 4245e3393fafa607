import Foundation
import Glibc
import Testing

@testable import StratoMemory

/// What the kernel says about a part of this process's memory.
struct MappingProbe {
    /// The fields of `/proc/self/smaps`, in KiB where they are amounts.
    let fields: [Substring: Substring]

    /// - Parameter address: inside the mapping.
    init(at address: UnsafeMutableRawPointer) throws {
        // Read to its end by hand: Foundation stops at the first short read, which is any of this file.
        let file = try #require(fopen("/proc/self/smaps", "r"))
        defer { fclose(file) }
        var text: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while case let count = fread(&chunk, 1, chunk.count, file), count > 0 { text += chunk[..<count] }
        var isInside = false
        var fields: [Substring: Substring] = [:]
        for line in String(decoding: text, as: UTF8.self).split(separator: "\n") {
            let words = line.split(separator: " ", maxSplits: 1)
            let bounds = words[0].split(separator: "-").compactMap { UInt($0, radix: 16) }
            if bounds.count == 2 {
                isInside = (bounds[0]..<bounds[1]).contains(UInt(bitPattern: address))
            } else if isInside, words.count == 2 {
                fields[words[0].dropLast()] = words[1].drop { $0 == " " }
            }
        }
        try #require(!fields.isEmpty, "nothing is mapped there")
        self.fields = fields
    }

    func kibibytes(_ name: Substring) throws -> Int {
        try #require(fields[name].flatMap { Int($0.prefix { $0 != " " }) })
    }

    func hasFlag(_ name: Substring) -> Bool { fields["VmFlags"]?.split(separator: " ").contains(name) == true }
}

/// How many pages of a mapping are present.
func presentPages(_ mapping: UnsafeMutableRawBufferPointer) throws -> Int {
    var pages = [UInt8](repeating: 0, count: (mapping.count + 4095) / 4096)
    try #require(mincore(mapping.baseAddress, mapping.count, &pages) == 0)
    return pages.count { $0 & 1 == 1 }
}

func range(_ base: UInt64, _ size: UInt64) throws -> GuestRange {
    try #require(GuestRange(base: GuestAddress(base), size: size))
}

/// The one line that says why there is no memory.
func refusal(_ size: UInt64, _ backing: GuestMemory.Backing) throws -> String {
    let error = #expect(throws: GuestMemoryError.self) { _ = try GuestMemory([try range(0, size)], backing: backing) }
    guard case .hostRefused(let text)? = error else { return "\(String(describing: error))" }
    #expect(!text.contains("\n"))
    return text
}
