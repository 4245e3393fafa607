/// Why a machine could not be built, started anew or asked something, in one line for its user.
package struct MachineError: Error, Sendable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }

    /// Words an error of a lower floor.
    package init(_ error: any Error) { description = "\(error)" }
}

/// Runs `body` and words what it throws.
@discardableResult
func building<Result>(_ body: () throws -> Result) throws(MachineError) -> Result {
    do {
        return try body()
    } catch {
        throw MachineError(error)
    }
}
