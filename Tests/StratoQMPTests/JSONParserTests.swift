import Foundation
import StratoQMP
import Testing

@Suite("JSON parser and encoder")
struct JSONParserTests {
    private static func parse(_ text: String) throws -> JSONValue { try JSONParser.parse(Array(text.utf8)) }

    private static func text(_ value: JSONValue) -> String { String(decoding: value.encoded, as: UTF8.self) }

    @Test("our own vectors are there")
    func ownVectorsExist() {
        #expect(JSONVector.own.count > 150)
        #expect(JSONVector.own.allSatisfy { !$0.name.isEmpty })
        #expect(Set(JSONVector.own.map { $0.document }).count == JSONVector.own.count, "a document stands there twice")
    }

    @Test("each of our own vectors is accepted or refused as it says, and encoded as it says", arguments: JSONVector.own)
    func ownVector(_ vector: JSONVector) throws {
        guard vector.isAccepted else {
            #expect(throws: JSONError.self) { try JSONParser.parse(vector.document) }
            return
        }
        let value = try JSONParser.parse(vector.document)
        #expect(value.encoded == vector.encoding, "encoded as \(Self.text(value))")
        #expect(try JSONParser.parse(value.encoded).encoded == value.encoded, "the encoding is not stable")
    }

    @Test(
        "every public y_ vector is accepted, and its encoding reads back the same",
        .enabled(if: JSONVector.publicDirectory != nil, "run Tests/fetch-json-vectors first"),
        arguments: JSONVector.publicNames("y_"))
    func publicAccepted(_ name: String) throws {
        let directory = try #require(JSONVector.publicDirectory)
        let value = try JSONParser.parse(Array(Data(contentsOf: directory.appendingPathComponent(name))))
        #expect(try JSONParser.parse(value.encoded).encoded == value.encoded)
        // What another decoder makes of the encoding is what it makes of the document.
        let original = try JSONSerialization.jsonObject(
            with: Data(contentsOf: directory.appendingPathComponent(name)), options: .fragmentsAllowed)
        let ours = try JSONSerialization.jsonObject(with: Data(value.encoded), options: .fragmentsAllowed)
        // For a name that stands twice it takes the first value, and one number it keeps as a decimal.
        if !name.contains("duplicated_key"), name != "y_number_double_close_to_zero.json" {
            #expect((original as? NSObject) == (ours as? NSObject))
        }
    }

    @Test(
        "every public n_ vector is refused",
        .enabled(if: JSONVector.publicDirectory != nil, "run Tests/fetch-json-vectors first"),
        arguments: JSONVector.publicNames("n_"))
    func publicRefused(_ name: String) throws {
        let directory = try #require(JSONVector.publicDirectory)
        let bytes = try Array(Data(contentsOf: directory.appendingPathComponent(name)))
        #expect(throws: JSONError.self) { try JSONParser.parse(bytes) }
    }

    @Test(
        "every public i_ vector is dealt with as this codec decided",
        .enabled(if: JSONVector.publicDirectory != nil, "run Tests/fetch-json-vectors first"),
        arguments: JSONVector.publicNames("i_"))
    func publicUndecided(_ name: String) throws {
        let accepted = [
            "i_number_double_huge_neg_exp.json", "i_number_real_underflow.json", "i_number_too_big_neg_int.json",
            "i_number_too_big_pos_int.json", "i_number_very_big_negative_int.json",
        ]
        let directory = try #require(JSONVector.publicDirectory)
        let bytes = try Array(Data(contentsOf: directory.appendingPathComponent(name)))
        if accepted.contains(name) {
            let value = try JSONParser.parse(bytes)
            #expect(try JSONParser.parse(value.encoded).encoded == value.encoded)
        } else {
            #expect(throws: JSONError.self) { try JSONParser.parse(bytes) }
        }
    }

    @Test(
        "the public vectors are all there",
        .enabled(if: JSONVector.publicDirectory != nil, "run Tests/fetch-json-vectors first"))
    func publicVectorsExist() {
        #expect(JSONVector.publicNames("y_").count == 95)
        #expect(JSONVector.publicNames("n_").count == 188)
        #expect(JSONVector.publicNames("i_").count == 35)
    }

    @Test("integers of 64 bits keep every digit, in the right case")
    func exactIntegers() throws {
        for number in [Int64.min, -1, 0, 1, Int64.max] {
            guard case .integer(number) = try Self.parse("\(number)") else {
                Issue.record("\(number) is not an integer")
                continue
            }
        }
        for number in [UInt64(Int64.max) + 1, UInt64.max] {
            guard case .unsigned(number) = try Self.parse("\(number)") else {
                Issue.record("\(number) is not unsigned")
                continue
            }
        }
        guard case .integer(5) = JSONValue(UInt64(5)), case .unsigned(.max) = JSONValue(UInt64.max) else {
            Issue.record("an unsigned number is in the wrong case")
            return
        }
    }

    @Test("doubles read back as they were, a thousand of them and the awkward ones")
    func doubles() throws {
        var generator = SeededGenerator(seed: 1)
        var numbers: [Double] = [
            0.1, 1 / 3, .pi, .leastNonzeroMagnitude, .leastNormalMagnitude, .greatestFiniteMagnitude, -0.0, 1e21, 1e22,
            123456789012345680,
        ]
        while numbers.count < 1000 {
            let number = Double(bitPattern: generator.next())
            if number.isFinite { numbers.append(number) }
        }
        for number in numbers {
            guard case .double(let read) = try JSONParser.parse(JSONValue.double(number).encoded) else {
                Issue.record("\(number) did not come back as a double")
                continue
            }
            #expect(read.bitPattern == number.bitPattern)
        }
    }

    @Test("every character of Unicode survives, and the encoding is ASCII")
    func everyCharacter() throws {
        var string = ""
        for value in 0...UInt32(0x10FFFF) {
            guard let scalar = Unicode.Scalar(value), value < 0x3000 || value % 97 == 0 || value > 0x10FFF0 else { continue }
            string.unicodeScalars.append(scalar)
        }
        let encoded = JSONValue.string(string).encoded
        #expect(encoded.allSatisfy { $0 >= 0x20 && $0 < 0x7F })
        guard case .string(let read) = try JSONParser.parse(encoded) else {
            Issue.record("no string came back")
            return
        }
        #expect(read.unicodeScalars.elementsEqual(string.unicodeScalars))
    }

    @Test("nesting is accepted up to the limit and refused beyond it", arguments: ["[]", "{}"])
    func depth(_ brackets: String) throws {
        let open = brackets == "[]" ? "[" : "{\"a\":"
        let close = String(brackets.suffix(1))
        func nested(_ depth: Int) -> String {
            String(repeating: open, count: depth - 1) + brackets + String(repeating: close, count: depth - 1)
        }
        #expect(Self.text(try Self.parse(nested(256))) == nested(256))
        let error = try #require(throws: JSONError.self) { try Self.parse(nested(257)) }
        #expect(error.reason == "more than 256 arrays and objects inside each other")
        // What is deep enough to exhaust a stack is refused as well, closed or not.
        #expect(throws: JSONError.self) { try Self.parse(nested(1_0000)) }
        #expect(throws: JSONError.self) { try Self.parse(String(repeating: open, count: 10_000)) }
    }

    @Test("a document may be as long as the limit, and no longer")
    func length() throws {
        let limits = JSONLimits(maximumLength: 100)
        let fits = Array(("\"" + String(repeating: "a", count: 98) + "\"").utf8)
        #expect(throws: Never.self) { try JSONParser.parse(fits, limits: limits) }
        #expect(throws: JSONError.self) { try JSONParser.parse(fits + [0x20], limits: limits) }
    }

    @Test("a name twice in one object is refused where that is asked for, among few members and among many")
    func duplicateNames() throws {
        let many = (0..<5000).map { "\"n\($0)\":\($0)" }.joined(separator: ",")
        func parse(_ text: String) throws -> JSONValue {
            try JSONParser.parse(Array(text.utf8), duplicateNames: .refused)
        }
        #expect(throws: Never.self) { try parse("{\(many)}") }
        let error = try #require(throws: JSONError.self) { try parse("{\(many),\"n17\":0}") }
        #expect(error.reason == "the name \"n17\" stands twice in one object")
        #expect(throws: JSONError.self) { try parse("{\"a\":1,\"a\":1}") }
        #expect(throws: JSONError.self) { try parse("[{\"a\":{\"b\":1,\"\\u0062\":1}}]") }
        #expect(throws: Never.self) { try parse("{\"a\":{\"a\":{\"a\":[{\"a\":1},{\"a\":2}]}}}") }
        #expect(throws: Never.self) { try parse("{\"\u{E9}\":1,\"e\u{301}\":2}") }
        // Otherwise the last counts, and it stands where the first stood.
        let value = try Self.parse("{\(many),\"n17\":\"x\"}")
        #expect(Self.text(value) == "{\(many)}".replacingOccurrences(of: "\"n17\":17,", with: "\"n17\":\"x\","))
    }

    @Test("an object's members are found, replaced, removed and kept in order")
    func object() {
        var object: JSONObject = ["b": .integer(1), "a": .integer(2), "b": .integer(3)]
        #expect(Self.text(.object(object)) == "{\"b\":3,\"a\":2}")
        object["c"] = .null
        object["b"] = nil
        object["x"] = nil
        #expect(Self.text(.object(object)) == "{\"a\":2,\"c\":null}")
        #expect(object["b"] == nil)
        #expect(object["e\u{301}"] == nil)
        #expect(JSONValue.object(object)["a"].map(Self.text) == "2")
        #expect(JSONValue.null["a"] == nil)
    }

    @Test("an error names the byte")
    func errorPlace() throws {
        let error = try #require(throws: JSONError.self) { try Self.parse("{\"a\": tru}") }
        #expect(error.description == "expected true at byte 9")
        let early = try #require(throws: JSONError.self) { try Self.parse("{\"a\": ") }
        #expect(early.description == "the document ends early at byte 6")
    }

    @Test("no document that differs from a good one in a few bytes traps, and what is accepted is stable")
    func mutations() {
        var generator = SeededGenerator(seed: 2)
        let seeds = JSONVector.own.filter { $0.isAccepted }.map { $0.document }
        var accepted = 0
        for _ in 0..<20_000 {
            guard var document = seeds.randomElement(using: &generator) else { return }
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                let place = Int.random(in: 0...document.count, using: &generator)
                switch Int.random(in: 0..<3, using: &generator) {
                case 0: document.insert(UInt8.random(in: 0...255, using: &generator), at: place)
                case 1 where place < document.count: document.remove(at: place)
                default:
                    if place < document.count {
                        document[place] = Array("{}[]\",:\\u0e-+.".utf8).randomElement(using: &generator) ?? 0
                    }
                }
            }
            guard let value = try? JSONParser.parse(document) else { continue }
            accepted += 1
            #expect((try? JSONParser.parse(value.encoded))?.encoded == value.encoded)
        }
        #expect(accepted > 100)
    }
}
