/// Why tables could not be made for a machine: it has more of something than their format or their place allows.
package struct FirmwareTableError: Error, Equatable, Sendable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) {
        self.description = description
    }
}
