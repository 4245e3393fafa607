import Testing

@testable import StratoVirtCommand

@Suite("Help")
struct HelpTests {
    private static func printed(_ arguments: [String]) throws -> String {
        guard case .print(let text) = try CommandLineParser.parse(arguments).action else { return "" }
        return text
    }

    private static let requests: [[String]] =
        [["-help"], ["-version"], ["-accel", "help"]]
        + OptionTable.options.compactMap { option -> [String]? in
            switch option.value {
            case .properties, .classes: [option.label, "help"]
            case .flag, .optional, .text, .words, .ignored: nil
            }
        }
        + PropertyTable.devices.map { ["-device", $0.name + ",help"] }
        + PropertyTable.serialPorts.map { ["-serial", $0.name + ",?"] }

    @Test("Every help text fits 80 columns of ASCII and ends its last line", arguments: requests)
    func width(_ request: [String]) throws {
        let text = try HelpTests.printed(request)
        #expect(text.hasSuffix("\n"))
        #expect(text.utf8.allSatisfy { $0 == 0x0A || (0x20..<0x7F).contains($0) })
        for line in text.split(separator: "\n") {
            #expect(line.utf8.count <= 80, "\(line)")
        }
    }

    @Test("The help text names every option in every spelling", arguments: OptionTable.options.flatMap(\.names))
    func everyOption(_ name: String) throws {
        let words = try HelpTests.printed(["-h"]).split { " \n,[".contains($0) }
        #expect(words.contains { $0 == "-" + name })
    }

    @Test("The help of a list names each of its properties and kinds")
    func everyProperty() throws {
        for option in OptionTable.options {
            switch option.value {
            case .properties(_, _, let known):
                let text = try HelpTests.printed([option.label, "help"])
                for property in known where option.label != "-machine" || property.name != "type" {
                    #expect(text.contains("  " + property.name))
                }
            case .classes(_, let known):
                let text = try HelpTests.printed([option.label, "help"])
                for kind in known {
                    #expect(text.contains("  " + kind.name))
                    let properties = try HelpTests.printed([option.label, kind.name + ",help"])
                    for property in kind.properties { #expect(properties.contains("  " + property.name)) }
                }
            case .flag, .optional, .text, .words, .ignored:
                break
            }
        }
        #expect(try HelpTests.printed(["-machine", "help"]).contains("  microvm"))
    }

    @Test("Help and version are printed in every spelling, whatever else stands on the line")
    func spellings() throws {
        for spelling in ["-h", "-help", "--help"] {
            #expect(try HelpTests.printed(["-nonsense", spelling]) == HelpText.all)
        }
        for spelling in ["-V", "-version", "--version"] {
            #expect(try HelpTests.printed([spelling]) == "StratoVirt 2.5.0 (swift-stratovirt 0.1.0)\n")
        }
    }

    @Test("Every option is documented, and every one but the requests for text does something")
    func everyHandler() {
        for option in OptionTable.options where option.group != .ignored {
            #expect(!option.help.isEmpty, "\(option.label)")
            if !option.names.contains("help"), !option.names.contains("version") {
                #expect(option.handler != nil, "\(option.label)")
            }
        }
        let names = OptionTable.options.flatMap(\.names)
        #expect(Set(names).count == names.count)
        #expect(Set(names).isDisjoint(with: OptionTable.optionsOfLaterVersions))
    }

    @Test(
        "The nearest known word is suggested, and none where nothing is near",
        arguments: [
            ("pfalsh", "pflash"), ("nativ", "native"), ("KERNEL", "kernel"), ("seriel", "serial"), ("xyzzy", nil), ("", nil),
            ("a", nil),
            (String(repeating: "kernel", count: 1000), nil),
        ] as [(String, String?)])
    func suggestions(_ word: String, _ expected: String?) {
        #expect(Spelling.nearest(to: word, from: ["pflash", "native", "kernel", "serial", "drive"]) == expected)
    }
}
