// Usage:
//   FuzzTargets --list                           the targets' names
//   FuzzTargets --target=NAME --seeds=DIRECTORY  writes the target's seeds, and prints how long its inputs are at most
//   FuzzTargets --target=NAME [ARGUMENT…]        runs libFuzzer with these arguments
//
// libFuzzer ignores what begins with two dashes, and hands it on to processes that it starts itself.

internal import CFuzzer
internal import Glibc
internal import StratoHost

/// What libFuzzer calls with each input.
private func runSelectedTarget(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    // SAFETY: libFuzzer's buffer has `count` bytes; they are copied, so that a parser reading past its end is seen to.
    let bytes = unsafe Array(UnsafeBufferPointer(start: start, count: count))
    var input = FuzzInput(bytes)
    // A refusal is an answer as good as any other.
    try? selectedTarget?.run(&input)
    return 0
}

private let selectedTarget = option("--target=").flatMap(FuzzTarget.named)

private func option(_ name: String) -> String? {
    CommandLine.arguments.first { $0.hasPrefix(name) }.map { String($0.dropFirst(name.count)) }
}

private func writeSeeds(_ target: FuzzTarget, to directory: String) throws {
    for seed in target.seeds() {
        let file = try OwnedDescriptor(opening: "\(directory)/\(seed.name)", flags: O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644)
        // SAFETY: the array's bytes live for the length of the call.
        let written = unsafe seed.bytes.withUnsafeBytes { unsafe write(file.number, $0.baseAddress, $0.count) }
        guard written == seed.bytes.count else { throw LinuxError(code: errno, operation: "write the seed \(seed.name)") }
    }
}

private func main() -> Int32 {
    if CommandLine.arguments.contains("--list") {
        for target in FuzzTarget.all { print(target.name) }
        return 0
    }
    guard let target = selectedTarget else {
        print("usage: FuzzTargets --list | --target=NAME --seeds=DIRECTORY | --target=NAME [LIBFUZZER-ARGUMENT…]")
        return 2
    }
    if let directory = option("--seeds=") {
        do {
            try writeSeeds(target, to: directory)
            print(target.maximumLength)
            return 0
        } catch {
            print("\(error)")
            return 1
        }
    }
    var count = CommandLine.argc
    // SAFETY: the process's own arguments, which live as long as it does.
    var arguments = unsafe CommandLine.unsafeArgv
    return unsafe LLVMFuzzerRunDriver(&count, &arguments, runSelectedTarget)
}

exit(main())
