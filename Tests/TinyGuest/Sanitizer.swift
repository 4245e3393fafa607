import Foundation

/// What the tests were built with besides (`make test-asan`, `make test-tsan`).
enum Sanitizer {
    /// One that holds memory back, and makes system calls of its own.
    static let isActive = ProcessInfo.processInfo.environment["STRATOVIRT_SANITIZER"].map { !$0.isEmpty } ?? false
}
