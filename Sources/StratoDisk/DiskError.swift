/// Why an image cannot be used: one line that names it and what to do.
package struct DiskError: Error, Sendable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) {
        self.description = description
    }
}
