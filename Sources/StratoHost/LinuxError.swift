internal import Glibc

/// A failed system call: which one, on what, and the `errno` that it left.
package struct LinuxError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The `errno` value, positive.
    package let code: Int32

    /// The system call, and what it was applied to where that helps: `open /dev/kvm`.
    package let operation: String

    package init(code: Int32, operation: String) {
        self.code = code
        self.operation = operation
    }

    /// The kernel's text for the code, such as `No such file or directory`.
    package var reason: String {
        // SAFETY: strerror_r writes at most `capacity` bytes and always terminates them.
        unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 128) { buffer in
            guard let base = buffer.baseAddress else { return "error \(code)" }
            unsafe base.initialize(repeating: 0, count: buffer.count)
            guard unsafe strerror_r(code, base, buffer.count) == 0 else { return "error \(code)" }
            return unsafe String(cString: base)
        }
    }

    package var description: String { "\(operation): \(reason)" }

    /// Turns the result of a shim, a negative `errno` or a value, into the value.
    @discardableResult
    package static func check(_ result: Int32, _ operation: @autoclosure () -> String) throws(LinuxError) -> Int32 {
        guard result < 0 else { return result }
        throw LinuxError(code: 0 &- result, operation: operation())
    }

    /// Turns the result of a C function that reports by `errno` into its value.
    @discardableResult
    package static func checkErrno(_ result: Int32, _ operation: @autoclosure () -> String) throws(LinuxError) -> Int32 {
        guard result < 0 else { return result }
        let code = errno
        throw LinuxError(code: code, operation: operation())
    }
}
