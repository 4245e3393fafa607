/// Why a virtual machine could not be made or did not do what was asked of it.
public struct VirtualMachineError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What kind of failure it is. More may come.
    public struct Code: Sendable, Hashable {
        private enum Value { case invalidConfiguration, invalidState, hostFailure }

        private let value: Value

        /// The configuration contradicts itself or asks for what no machine has.
        public static let invalidConfiguration = Code(value: .invalidConfiguration)

        /// The machine is not in a state in which it could do that.
        public static let invalidState = Code(value: .invalidState)

        /// The host lacks something, or refused it.
        public static let hostFailure = Code(value: .hostFailure)
    }

    /// What kind of failure it is.
    public let code: Code

    /// One line for a person: what was wrong, and what can be done.
    public let message: String

    init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    /// The message.
    public var description: String { message }
}
