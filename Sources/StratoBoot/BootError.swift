/// Why a guest could not be loaded: one line that names the option and the file, and says what to do.
package struct BootError: Error, Equatable, Sendable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) {
        self.description = description
    }
}

/// What is wrong with an image, before it is known which option and file it came from.
struct KernelFormatError: Error, Equatable, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}
