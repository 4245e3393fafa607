@testable internal import StratoQMP

extension FuzzTarget {
    /// A JSON text: what is accepted says the same once it was written out again. And a stream of such texts: however it is cut,
    /// the same documents come out.
    static let json = FuzzTarget("json", seeds: jsonSeeds) { input in
        let pieceSize = Int(input.byte()) + 1
        let bytes = input.rest()
        let limits = JSONLimits(maximumLength: 512, maximumDepth: 16)
        expect(
            frames(bytes, pieceSize: pieceSize, limits) == frames(bytes, pieceSize: max(1, bytes.count), limits),
            "how a stream is cut changes no document")
        let value = try JSONParser.parse(bytes)
        let text = value.encoded
        let again = always("what was written is JSON") { try JSONParser.parse(text) }
        expect(again.encoded == text, "a value that was written and read says the same")
        // A parser that refuses a second name accepts nothing that this one does not.
        _ = try? JSONParser.parse(bytes, duplicateNames: .refused)
    }

    private static func frames(_ bytes: [UInt8], pieceSize: Int, _ limits: JSONLimits) -> [[UInt8]?] {
        var framer = JSONFramer(limits: limits)
        var frames: [[UInt8]?] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            framer.append(rest.prefix(pieceSize))
            rest = rest.dropFirst(pieceSize)
            while let frame = framer.next() {
                switch frame {
                case .document(let document):
                    expect(document.count <= limits.maximumLength, "a document is no longer than the limit")
                    frames.append(document)
                case .invalid: frames.append(nil)
                }
            }
        }
        return frames
    }

    @Sendable private static func jsonSeeds() -> [(name: String, bytes: [UInt8])] {
        let texts = [
            "null", "true", "false", "0", "-0", "1.5e-7", "9223372036854775807", "-9223372036854775808", "18446744073709551615",
            "1e308", "123456789012345678901234567890", #""\u00e9\ud83d\ude00\n\"\\\/""#, "[]", "[1,[2,[3]]]", "{}",
            #"{"a":1,"b":{"c":[true,null]}}"#, #"{"a":1,"a":2}"#, "\u{FEFF}1", "[1,]", #""é😀""#, " \t\r\n[ 1 , 2 ] ",
            #"{"execute":"a"}{"execute":"b"}"#, #""\ud800""#, "01", "-", "nul", "[\"\u{01}\"]",
        ]
        return texts.enumerated().map { ("text-\($0)", [3] + Array($1.utf8)) }
    }
}
