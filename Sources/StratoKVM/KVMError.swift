package import StratoHost

/// Why KVM did not do what was asked of it, in words for the person at the command line.
package struct KVMError: Error, Sendable, Equatable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }

    /// A failed request: what was attempted, and the kernel's reason.
    package init(_ attempt: String, _ cause: LinuxError) {
        description = "KVM: \(attempt): \(cause.reason)"
    }
}

/// Runs `body` and words what it throws.
@discardableResult
func kvm<Result>(_ attempt: @autoclosure () -> String, _ body: () throws(LinuxError) -> Result) throws(KVMError) -> Result {
    do {
        return try body()
    } catch {
        throw KVMError(attempt(), error)
    }
}
