import Foundation

/// Sources that are kept, and compared with what the machines have.
enum GoldenFiles {
    static let directory = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Golden")

    /// They are to be made anew, from what the machines have now.
    static let areWritten = ProcessInfo.processInfo.environment["STRATOVIRT_WRITE_GOLDEN_FILES"] == "1"
}
