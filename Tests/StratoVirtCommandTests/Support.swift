import StratoVMM

@testable import StratoVirtCommand

/// Words at spaces; no word of these lines has one.
func words(_ line: String) -> [String] { line.split(separator: " ").map(String.init) }

/// Parses and checks; what the program would start from.
func accepted(_ arguments: [String]) throws -> ParsedCommandLine {
    let result = try CommandLineParser.parse(arguments)
    try result.check()
    return result
}

/// What follows `stratovirt: ` on standard error, nil if the command line is accepted.
func refusal(of arguments: [String]) -> String? {
    do {
        _ = try accepted(arguments)
        return nil
    } catch {
        return "\(error)"
    }
}

/// A generator with a seed, so that what fails once fails again (SplitMix64).
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}
