import Testing

@testable import StratoHost

@Suite struct EscapeFilterTests {
    private func run(_ bytes: [UInt8]) -> [EscapeFilter.Key] {
        var filter = EscapeFilter()
        return bytes.map { filter.filter($0) }
    }

    @Test("Every key but Ctrl-a is the guest's")
    func ordinaryKeys() {
        for byte in UInt8.min...UInt8.max where byte != 0x01 { #expect(run([byte]) == [.guest(byte)]) }
    }

    @Test("Ctrl-a x ends, Ctrl-a h and ? help, Ctrl-a a and Ctrl-a Ctrl-a send Ctrl-a; anything else after it is swallowed")
    func sequences() {
        for byte in UInt8.min...UInt8.max {
            let expected: EscapeFilter.Key =
                switch byte {
                case UInt8(ascii: "x"): .quit
                case UInt8(ascii: "h"), UInt8(ascii: "?"): .help
                case UInt8(ascii: "a"), 0x01: .guest(0x01)
                default: .none
                }
            #expect(run([0x01, byte, UInt8(ascii: "z")]) == [.none, expected, .guest(UInt8(ascii: "z"))])
        }
    }
}
