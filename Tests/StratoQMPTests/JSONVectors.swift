import Foundation
import Testing

/// A document and what the codec makes of it.
struct JSONVector: CustomTestStringConvertible, Sendable {
    let name: String
    let document: [UInt8]
    let isAccepted: Bool
    /// What an accepted document is encoded as.
    let encoding: [UInt8]

    var testDescription: String { name }

    /// The vectors of `Resources/json-vectors.txt`.
    static let own: [JSONVector] = {
        guard let url = Bundle.module.url(forResource: "Resources/json-vectors", withExtension: "txt"),
            let text = try? String(contentsOf: url, encoding: .utf8)
        else { return [] }
        return text.split(separator: "\n").filter { !$0.hasPrefix("#") }.map { line in
            let columns = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
            let document = columns.count > 2 ? unescape(columns[2]) : []
            return JSONVector(
                name: columns.count > 1 ? columns[1] : "",
                document: document,
                isAccepted: columns[0].hasSuffix("accept"),
                encoding: columns.count > 3 ? unescape(columns[3]) : document)
        }
    }()

    private static func unescape(_ text: String) -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%"), let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) {
                bytes.append(value)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte)
            }
        }
        return bytes
    }

    /// The directory with the public test vectors, as `Tests/fetch-json-vectors` leaves it; nil if it was not run.
    static let publicDirectory: URL? = {
        let environment = ProcessInfo.processInfo.environment
        let cache = environment["XDG_CACHE_HOME"] ?? "\(environment["HOME"] ?? "")/.cache"
        let directory = URL(fileURLWithPath: "\(cache)/swift-stratovirt/json-vectors")
        return FileManager.default.fileExists(atPath: directory.path) ? directory : nil
    }()

    /// The names of the public test vectors that begin with a prefix.
    static func publicNames(_ prefix: String) -> [String] {
        guard let directory = publicDirectory else { return [] }
        let names = (try? FileManager.default.contentsOfDirectory(atPath: directory.path)) ?? []
        return names.filter { $0.hasPrefix(prefix) && $0.hasSuffix(".json") }.sorted()
    }
}

/// A generator with the same numbers in every run, so that a failure can be seen again.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    /// SplitMix64.
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}
