import Foundation

/// What Guest/rootfs/guest-check printed inside a guest.
///
/// A line is `GUEST-CHECK NAME key=value…`; between `NAME begin` and `NAME end` stand lines of another program;
/// `FAILED …` is a check that failed, `done failed=N` the last but one line, `end how=…` the last.
struct GuestCheckReport: Sendable {
    struct Entry: Sendable {
        let name: String
        let text: String
        let values: [String: String]

        subscript(_ key: String) -> String? { values[key] }

        /// A value that is a number.
        func integer(_ key: String) -> Int? { values[key].flatMap { Int($0) } }
    }

    private static let mark = "GUEST-CHECK "

    private(set) var entries: [Entry] = []
    private(set) var failures: [String] = []
    private(set) var listings: [String: [String]] = [:]
    /// All checks were run, and the guest counted no failure.
    private(set) var hasPassed = false

    init(_ text: String) {
        var open: String?
        for rawLine in text.split(whereSeparator: \.isNewline) {
            let line = String(rawLine).trimmingCharacters(in: .controlCharacters)
            // A message of the kernel may stand before it on the same line.
            guard let range = line.range(of: GuestCheckReport.mark) else {
                if let open { listings[open, default: []].append(line) }
                continue
            }
            let content = line[range.upperBound...].trimmingCharacters(in: .whitespaces)
            let words = content.split(separator: " ").map(String.init)
            guard let name = words.first else { continue }
            if words.dropFirst() == ["begin"] {
                open = name
                listings[name] = []
            } else if words.dropFirst() == ["end"] {
                open = nil
            } else if name == "FAILED" {
                failures.append(words.dropFirst().joined(separator: " "))
            } else {
                let entry = Entry(name: name, text: content, values: GuestCheckReport.values(words.dropFirst()))
                if name == "done" { hasPassed = entry["failed"] == "0" && failures.isEmpty }
                entries.append(entry)
            }
        }
    }

    /// `key=value` words; a word without `=` goes on with the value before it.
    private static func values(_ words: ArraySlice<String>) -> [String: String] {
        var result: [String: String] = [:]
        var last: String?
        for word in words {
            if let equals = word.firstIndex(of: "=") {
                let key = String(word[..<equals])
                result[key] = String(word[word.index(after: equals)...])
                last = key
            } else if let last {
                result[last, default: ""] += " " + word
            }
        }
        return result
    }

    /// The results of one check, in order.
    func results(_ name: String) -> [Entry] { entries.filter { $0.name == name } }

    /// The only result of a check, nil if there is none or more than one.
    func result(_ name: String) -> Entry? {
        let found = results(name)
        return found.count == 1 ? found.first : nil
    }
}
