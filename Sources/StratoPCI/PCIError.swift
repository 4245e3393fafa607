/// Why a function, a bus or a saved state was refused.
package struct PCIError: Error, Sendable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) {
        self.description = description
    }
}
