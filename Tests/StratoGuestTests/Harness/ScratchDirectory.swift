import Foundation
import Glibc

/// A directory of one test, gone with everything in it when the test is over.
final class ScratchDirectory: Sendable {
    let path: String

    init() throws {
        var template = Array((GuestEnvironment.scratch + "/guest-XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else {
            throw GuestFailure("no directory in \(GuestEnvironment.scratch): \(String(cString: strerror(errno)))")
        }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }

    /// The path of a file in it.
    func file(_ name: String) -> String { path + "/" + name }
}
