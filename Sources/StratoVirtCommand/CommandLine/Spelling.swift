/// What a user's words look like in messages, and which known word they may have meant.
///
/// Words are compared as UTF-8 bytes: names of options and properties are ASCII, and Unicode's tables stay out of memory.
enum Spelling {
    /// Words longer than this are not compared: nothing known is near them, and the comparison's cost grows with the square.
    private static let longestComparedWord = 48

    /// Bytes of a user's word that a message repeats.
    private static let longestQuotation = 96

    /// The word in quotes, as `clean` leaves it.
    static func quoted(_ word: String) -> String { "'" + clean(word) + "'" }

    /// The word on one line: control characters are escaped, and what is too long is cut.
    static func clean(_ word: String) -> String {
        var bytes: [UInt8] = []
        for byte in word.utf8 {
            if bytes.count >= longestQuotation, byte & 0xC0 != 0x80 {
                bytes.append(contentsOf: "...".utf8)
                break
            }
            switch byte {
            case 0x0A: bytes.append(contentsOf: "\\n".utf8)
            case 0x00..<0x20, 0x7F:
                bytes.append(contentsOf: "\\x".utf8)
                bytes.append(hexadecimalDigit(byte >> 4))
                bytes.append(hexadecimalDigit(byte & 15))
            default: bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func hexadecimalDigit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") &+ value : UInt8(ascii: "a") &+ (value &- 10)
    }

    /// `; did you mean 'x'?` for the nearest candidate, or `otherwise` where none is near.
    static func suggestion(for word: String, from candidates: [String], otherwise: String = "") -> String {
        guard let nearest = nearest(to: word, from: candidates) else { return otherwise }
        return "; did you mean '\(nearest)'?"
    }

    /// The candidate with the fewest changed, added, left out or swapped letters: at most one in three of the word's.
    static func nearest(to word: String, from candidates: [String]) -> String? {
        let typed = Array(word.utf8)
        guard !typed.isEmpty, typed.count <= longestComparedWord else { return nil }
        var best: (candidate: String, distance: Int)?
        for candidate in candidates {
            let known = Array(candidate.utf8)
            guard known.count <= longestComparedWord else { continue }
            let limit = min(max(1, min(typed.count, known.count) / 3), 3)
            let distance = distance(typed, known)
            if distance <= limit, distance < best?.distance ?? .max {
                best = (candidate, distance)
            }
        }
        return best?.candidate
    }

    /// Optimal string alignment distance: Levenshtein's, with a swap of two neighbours counted as one change.
    static func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
        var beforeLast = [Int](repeating: 0, count: right.count + 1)
        var last = Array(0...right.count)
        var row = last
        for i in left.indices {
            row[0] = i + 1
            for j in right.indices {
                let isSame = lowercased(left[i]) == lowercased(right[j])
                var cost = min(last[j + 1] + 1, row[j] + 1, last[j] + (isSame ? 0 : 1))
                if i > 0, j > 0, lowercased(left[i]) == lowercased(right[j - 1]), lowercased(left[i - 1]) == lowercased(right[j])
                {
                    cost = min(cost, beforeLast[j - 1] + 1)
                }
                row[j + 1] = cost
            }
            beforeLast = last
            last = row
        }
        return last[right.count]
    }

    /// ASCII only.
    static func lowercased(_ byte: UInt8) -> UInt8 {
        (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte | 0x20 : byte
    }

    /// `a`, `a or b`, `a, b or c`.
    static func alternatives(_ words: [String]) -> String { list(words, conjunction: "or") }

    /// `a`, `a and b`, `a, b and c`.
    static func list(_ words: [String], conjunction: String = "and") -> String {
        guard let last = words.last, words.count > 1 else { return words.first ?? "" }
        return words.dropLast().joined(separator: ", ") + " \(conjunction) " + last
    }
}
