/// Finds the keys that are meant for the monitor, not for the guest: those that follow a Ctrl-a.
struct EscapeFilter: Sendable {
    enum Key: Equatable {
        case guest(UInt8)
        case help
        case quit
        /// Part of a sequence, or no sequence that means anything.
        case none
    }

    static let escape: UInt8 = 0x01

    static let help = """
        \r
        Ctrl-a h    this help\r
        Ctrl-a x    end the virtual machine\r
        Ctrl-a a    send Ctrl-a to the guest; so does Ctrl-a Ctrl-a\r

        """

    private var isEscaped = false

    mutating func filter(_ byte: UInt8) -> Key {
        guard isEscaped else {
            guard byte == EscapeFilter.escape else { return .guest(byte) }
            isEscaped = true
            return .none
        }
        isEscaped = false
        switch byte {
        case EscapeFilter.escape, UInt8(ascii: "a"): return .guest(EscapeFilter.escape)
        case UInt8(ascii: "h"), UInt8(ascii: "?"): return .help
        case UInt8(ascii: "x"): return .quit
        default: return .none
        }
    }
}
