import Foundation

/// What the tests were built with besides (`make test-asan`, `make test-tsan`).
enum Sanitizer {
    private static let name = ProcessInfo.processInfo.environment["STRATOVIRT_SANITIZER"] ?? ""

    /// One that holds memory back, and makes system calls of its own.
    static let isActive = !name.isEmpty

    /// Threads of its own.
    static let threadCount = name == "thread" ? 1 : 0
}
