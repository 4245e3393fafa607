import StratoQMP
import Testing

@Suite("JSON framer")
struct JSONFramerTests {
    /// What comes out of a stream: documents as text, errors as `!` and the reason.
    private static func frames(_ pieces: [[UInt8]], limits: JSONLimits = JSONLimits()) -> [String] {
        var framer = JSONFramer(limits: limits)
        var frames: [String] = []
        for piece in pieces {
            framer.append(piece)
            while let frame = framer.next() {
                switch frame {
                case .document(let bytes): frames.append(String(decoding: bytes, as: UTF8.self))
                case .invalid(let error): frames.append("!\(error.reason)")
                }
            }
        }
        return frames
    }

    private static func frames(_ text: String, limits: JSONLimits = JSONLimits()) -> [String] {
        frames([Array(text.utf8)], limits: limits)
    }

    private static let noText = "!a byte that stands in no JSON text"

    @Test("documents are cut apart with any white space or none between them")
    func documents() {
        #expect(Self.frames("{}{\"a\":[1,{}]}\r\n\t [] \n\n{}") == ["{}", "{\"a\":[1,{}]}", "[]", "{}"])
        #expect(Self.frames("{\"a\":\"}{][\\\"}\"}[\"\\\\\"]") == ["{\"a\":\"}{][\\\"}\"}", "[\"\\\\\"]"])
        #expect(Self.frames("1 true null \"a b\" -2.5e3 ") == ["1", "true", "null", "\"a b\"", "-2.5e3"])
        #expect(Self.frames("1{}\"a\"2[]") == ["1", "{}", "\"a\"", "2", "[]"])
        #expect(Self.frames("{\"a\":\n1,\r\n\"b\"\t:2}") == ["{\"a\":\n1,\r\n\"b\"\t:2}"])
    }

    @Test("a document is not given out before its last byte")
    func incomplete() {
        #expect(Self.frames("{\"a\":[1") == [])
        #expect(Self.frames("12") == [])
        #expect(Self.frames("\"a") == [])
        #expect(Self.frames("") == [])
    }

    @Test("byte by byte or in random pieces, the same comes out as at once")
    func pieces() {
        var generator = SeededGenerator(seed: 3)
        var streams = [
            "{\"execute\":\"query-status\",\"id\":\"}\"}\r\n{\"a\":{}} [1,[2,[3]]] \"x\\\"y\" 17 {]{}\n\u{1}{\"z\":1}{\"q\n{}}foo bar{}"
        ]
        streams.append(String(repeating: "{\"a\":\"\\\\\"}", count: 200))
        for stream in streams {
            let bytes = Array(stream.utf8)
            let whole = Self.frames([bytes])
            #expect(whole.count > 5)
            #expect(Self.frames(bytes.map { [$0] }) == whole)
            for _ in 0..<200 {
                var pieces: [[UInt8]] = []
                var rest = bytes[...]
                while !rest.isEmpty {
                    let length = Int.random(in: 1...20, using: &generator)
                    pieces.append(Array(rest.prefix(length)))
                    rest = rest.dropFirst(length)
                }
                #expect(Self.frames(pieces) == whole)
            }
        }
    }

    @Test("a token that is too long is what it began as, also if its beginning is dropped before its end comes")
    func longTokenInPieces() {
        let limits = JSONLimits(maximumLength: 8)
        let tooLong = "!the document is longer than 8 bytes"
        for (stream, expected) in [
            ("xxxxxxxxxxxx9 1 {}", [tooLong, "{}"]), ("123456789012x 1 {}", [tooLong, "1", "{}"]),
            ("xxxxxxxxtrue 1 {}", [tooLong, "{}"]),
        ] {
            let bytes = Array(stream.utf8)
            #expect(Self.frames([bytes], limits: limits) == expected)
            #expect(Self.frames(bytes.map { [$0] }, limits: limits) == expected)
            for length in 1..<bytes.count {
                let cut = [Array(bytes.prefix(length)), Array(bytes.dropFirst(length))]
                #expect(Self.frames(cut, limits: limits) == expected)
            }
        }
    }

    @Test("after brackets that do not fit, the next object is read")
    func mismatch() {
        #expect(Self.frames("{]{}") == ["!']' closes what was not opened", "{}"])
        #expect(Self.frames("[1}\n[2]") == ["!'}' closes what was not opened", "[2]"])
        #expect(Self.frames("}}},, : {}") == ["!'}' outside of a document", "{}"])
        #expect(Self.frames("{\"a\":[1,2}, \"b\":3}\r\n{}") == ["!'}' closes what was not opened", "{}"])
    }

    @Test("garbage is one error, up to the next object or line")
    func garbage() {
        #expect(Self.frames("hello, world: [1]\r\n{}") == ["!expected a value", "{}"])
        #expect(Self.frames("GET / HTTP/1.1\r\nHost: a\r\n\r\n{}") == ["!expected a value", "!expected a value", "{}"])
        #expect(Self.frames("'x' {}") == ["!expected a value", "{}"])
    }

    @Test("a line that ends inside a string ends the document")
    func openString() {
        #expect(Self.frames("{\"execute\":\"stop}\r\n{}") == ["!the line ends inside a string", "{}"])
        #expect(Self.frames("\"a\\\n{}") == ["!the line ends inside a string", "{}"])
    }

    @Test("a byte of no JSON text ends whatever came before", arguments: [0x00, 0x01, 0x1B, 0x1F, 0xFE, 0xFF] as [UInt8])
    func resetByte(_ byte: UInt8) {
        for before in ["", "{\"a\":[", "{\"a\":\"text", "{\"a\":\"\\", "12", "[[[["] {
            #expect(Self.frames([Array(before.utf8) + [byte] + Array("{\"b\":1}".utf8)]) == [Self.noText, "{\"b\":1}"])
        }
        // Where an error has been reported already, it is not reported again.
        #expect(Self.frames([Array("x ".utf8) + [byte] + Array("[1]".utf8)]) == ["!expected a value", "[1]"])
    }

    @Test("a document that is too long is refused once, dropped, and the next one is read")
    func tooLong() {
        let limits = JSONLimits(maximumLength: 64)
        let long = "{\"a\":\"" + String(repeating: "]}", count: 100) + "\"}"
        let refused = "!the document is longer than 64 bytes"
        #expect(Self.frames(long + "{}", limits: limits) == [refused, "{}"])
        #expect(Self.frames(Array((long + long + "{}").utf8).map { [$0] }, limits: limits) == [refused, refused, "{}"])
        let exact = "[\"" + String(repeating: "a", count: 60) + "\"]"
        #expect(Self.frames(exact + "{}", limits: limits) == [exact, "{}"])
        // An error inside of what is dropped says nothing new.
        #expect(Self.frames(String(long.dropLast(2)) + "\n{}", limits: limits) == [refused, "{}"])
    }

    @Test("a document that is too deep is refused once, dropped, and the next one is read")
    func tooDeep() {
        let limits = JSONLimits(maximumDepth: 4)
        let refused = "!more than 4 arrays and objects inside each other"
        func nested(_ depth: Int) -> String { String(repeating: "[", count: depth) + String(repeating: "]", count: depth) }
        #expect(Self.frames(nested(4) + "{}", limits: limits) == [nested(4), "{}"])
        #expect(Self.frames(nested(5) + "{}", limits: limits) == [refused, "{}"])
        #expect(Self.frames(nested(500) + "{}", limits: limits) == [refused, "{}"])
    }

    @Test(
        "endless input keeps nothing beyond the limits", arguments: ["[", "{\"a\":", "\"a", "a", "7", " ", "{\"a\":\"", "\u{0}"])
    func bounded(_ unit: String) {
        var framer = JSONFramer(limits: JSONLimits(maximumLength: 10_000, maximumDepth: 16))
        let piece = Array(String(repeating: unit, count: 1000).utf8)
        var most = 0
        for _ in 0..<200 {
            framer.append(piece)
            while framer.next() != nil {}
            most = max(most, framer.bufferedCount)
        }
        #expect(most <= 10_000 + piece.count)
    }
}
