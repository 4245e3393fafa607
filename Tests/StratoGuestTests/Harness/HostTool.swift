import Foundation
import Glibc

/// Programs of the host that the tests use.
enum HostTool {
    struct Result: Sendable {
        let status: Int32
        let output: String
        let errors: String
    }

    /// Runs a program to its end, whatever its status.
    ///
    /// - Throws: `GuestFailure` if it cannot be started, is killed, or takes too long.
    static func run(_ name: String, _ arguments: [String], within seconds: TimeInterval = Patience.tool) throws -> Result {
        // Tools for file systems are not in everybody's PATH.
        let path = (GuestEnvironment.variable("PATH") ?? "/usr/bin:/bin") + ":/usr/sbin:/sbin"
        let process = try ChildProcess("/usr/bin/env", ["PATH=\(path)", "LC_ALL=C", name] + arguments)
        process.closeInput()
        guard let end = process.waitForEnd(within: seconds) else {
            process.send(signal: SIGKILL)
            throw GuestFailure("`\(name) \(arguments.joined(separator: " "))` took longer than \(Int(seconds)) s")
        }
        guard case .exited(let status) = end else {
            throw GuestFailure("`\(name) \(arguments.joined(separator: " "))` ended by \(end)")
        }
        return Result(status: status, output: process.output.text, errors: process.errors.text)
    }

    /// Runs a program that has to end with status 0.
    ///
    /// - Returns: what it wrote to standard output.
    /// - Throws: `GuestFailure`.
    @discardableResult
    static func check(_ name: String, _ arguments: [String], within seconds: TimeInterval = Patience.tool) throws -> String {
        let result = try run(name, arguments, within: seconds)
        guard result.status == 0 else {
            throw GuestFailure(
                "`\(name) \(arguments.joined(separator: " "))` ended with status \(result.status): \(result.errors)\(result.output)"
            )
        }
        return result.output
    }
}
