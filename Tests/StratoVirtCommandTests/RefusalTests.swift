import Testing

@testable import StratoVirtCommand

@Suite("Wrong command lines")
struct RefusalTests {
    @Test("Every wrong command line is refused by the one line that names what is wrong", arguments: refusals)
    func refusal(_ expected: Refusal) {
        let message = StratoVirtCommandTests.refusal(of: words(expected.line))
        #expect(message == expected.message)
        #expect(message?.contains("\n") == false)
    }

    @Test("The machine of another architecture, and an unknown one, are answered with what this one has")
    func foreignMachine() {
        #expect(
            StratoVirtCommandTests.refusal(of: ["-machine", HostArchitecture.foreignStandardMachine])
                == "-machine: '\(HostArchitecture.foreignStandardMachine)' is a machine of another architecture; "
                + "\(HostArchitecture.name) has \(HostArchitecture.standardMachine)")
        #expect(
            StratoVirtCommandTests.refusal(of: ["--machine=pc"])
                == "-machine: unknown machine type 'pc'; there are microvm, none, standard_vm and \(HostArchitecture.standardMachine)"
        )
    }

    @Test("Words that are empty or of control characters stay on one line of the message")
    func controlCharacters() {
        #expect(
            StratoVirtCommandTests.refusal(of: ["a\nb\u{1B}[2J"])
                == "unexpected word 'a\\nb\\x1b[2J'; an option begins with '-', see '-help'")
        #expect(StratoVirtCommandTests.refusal(of: [""]) == "unexpected word ''; an option begins with '-', see '-help'")
        #expect(
            StratoVirtCommandTests.refusal(of: ["-kernel", "K", "-name", "a\tb"])
                == "-name: contains a control character; remove it")
        #expect(StratoVirtCommandTests.refusal(of: ["-kernel", ""]) == "-kernel: is empty; give the path of a file")
        #expect(
            StratoVirtCommandTests.refusal(of: ["-drive", ""])
                == "-drive: a property without a name; write name=value between commas, and ',,' for a comma itself")
        let long = StratoVirtCommandTests.refusal(of: ["-" + String(repeating: "é", count: 4000)])
        #expect((long ?? "").utf8.count < 200)
        #expect(long?.contains("\u{FFFD}") == false)
    }

    @Test("Ids, paths and socket paths are held to their length in bytes")
    func lengths() {
        func long(_ count: Int) -> String { String(repeating: "x", count: count) }
        #expect(StratoVirtCommandTests.refusal(of: ["-kernel", "K", "-name", long(255)]) == nil)
        #expect(
            StratoVirtCommandTests.refusal(of: ["-kernel", "K", "-name", long(256)])
                == "-name: is 256 bytes long; at most 255 are allowed")
        #expect(
            StratoVirtCommandTests.refusal(of: ["-kernel", long(4096)])
                == "-kernel: is 4096 bytes long; at most 4095 are allowed here")
        #expect(StratoVirtCommandTests.refusal(of: ["-kernel", "K", "-qmp", "unix:\(long(107)),server,nowait"]) == nil)
        #expect(
            StratoVirtCommandTests.refusal(of: ["-kernel", "K", "-qmp", "unix:\(long(108)),server,nowait"])
                == "-qmp: path is 108 bytes long; at most 107 are allowed here")
        #expect(
            StratoVirtCommandTests.refusal(of: ["-kernel", "K", "-serial", "socket,path=\(long(108)),server,nowait"])
                == "-serial: path is 108 bytes long; at most 107 are allowed here")
        #expect(
            StratoVirtCommandTests.refusal(of: ["-kernel", "K", "-pidfile", long(4096), "-daemonize"])
                == "-pidfile: is 4096 bytes long; at most 4095 are allowed here")
    }

    @Test("No random command line traps or is refused by more than one line", arguments: 0..<64)
    func garbage(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let names = OptionTable.options.flatMap(\.names)
        let properties = [
            PropertyTable.machine, PropertyTable.drive, PropertyTable.processors, PropertyTable.memory,
            PropertyTable.monitorSocket,
            PropertyTable.blockDeviceOnPCI.properties,
        ].flatMap { $0 }.map(\.name)
        let values = [
            "", "on", "off", "=", ",", ",,", "a", "0", "-1", "1", "254", "18446744073709551615", "18446744073709551616",
            "9223372036854775807",
            "16777216G", "99999999999k", "unix:", "tcp::", "tcp:1.2.3.4:", "chardev:", "microvm", "virtio-blk-device", "socket",
            "file",
            "help", "?", "drive0", "é", "\u{0}", "\u{FFFD}", "guest=", "none", "iothread", "--", "-", "1.2.3.4", "raw", "a b",
            "-x y",
        ]
        for _ in 0..<400 {
            var arguments: [String] = []
            for _ in 0..<Int.random(in: 0...6, using: &generator) {
                switch Int.random(in: 0..<5, using: &generator) {
                case 0, 1:
                    let dashes = Bool.random(using: &generator) ? "-" : "--"
                    arguments.append(dashes + (names.randomElement(using: &generator) ?? ""))
                case 2, 3:
                    var value = values.randomElement(using: &generator) ?? ""
                    for _ in 0..<Int.random(in: 0...4, using: &generator) {
                        value += "," + (properties.randomElement(using: &generator) ?? "")
                        if Bool.random(using: &generator) { value += "=" + (values.randomElement(using: &generator) ?? "") }
                    }
                    arguments.append(value)
                default:
                    let bytes = (0..<Int.random(in: 0...24, using: &generator)).map { _ in
                        UInt8.random(in: 0...255, using: &generator)
                    }
                    arguments.append(String(decoding: bytes, as: UTF8.self))
                }
            }
            guard let message = StratoVirtCommandTests.refusal(of: arguments) else { continue }
            let isOneLine = !message.isEmpty && message.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F } && message.utf8.count < 1000
            #expect(isOneLine, "\(arguments): \(message)")
        }
    }
}
