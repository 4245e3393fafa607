package import StratoVMM

/// One command: its name, what it takes, what it needs, and what carries it out.
package struct QMPCommand: Sendable {
    /// An argument that a command takes.
    package struct Parameter: Sendable {
        package enum Kind: String, Sendable {
            case string, integer, boolean, array, object

            func admits(_ value: JSONValue) -> Bool {
                switch (self, value) {
                case (.string, .string), (.integer, .integer), (.boolean, .bool), (.array, .array), (.object, .object): true
                default: false
                }
            }
        }

        package let name: String
        package let kind: Kind
        package let isRequired: Bool

        static func required(_ name: String, _ kind: Kind) -> Parameter {
            Parameter(name: name, kind: kind, isRequired: true)
        }

        static func optional(_ name: String, _ kind: Kind) -> Parameter {
            Parameter(name: name, kind: kind, isRequired: false)
        }
    }

    /// What must be there before the command can be carried out.
    package enum Need: Sendable {
        /// Nothing: it is answered at once.
        case monitor
        /// The machine: until it is built, the command and all that the client sends after it wait.
        case machine
        /// Nothing, and what waits before it is given up, so that it can end a machine that is never built.
        case nothingBefore
    }

    /// Carries a command out; the arguments are of the parameters' kinds, and the required ones are there.
    package typealias Handler = @Sendable (JSONObject, any MachineControl) throws(QMPError) -> JSONValue

    package let name: String
    package let parameters: [Parameter]
    package let need: Need
    private let handler: Handler

    init(_ name: String, _ parameters: Parameter..., need: Need, _ handler: @escaping Handler) {
        self.name = name
        self.parameters = parameters
        self.need = need
        self.handler = handler
    }

    /// Carries the command out.
    ///
    /// - Throws: `QMPError` naming the argument that is missing, unknown or of a wrong kind, or what the machine said.
    package func run(_ arguments: JSONObject, on machine: any MachineControl) throws(QMPError) -> JSONValue {
        for member in arguments.members {
            guard let parameter = parameters.first(where: { $0.name.hasSameBytes(as: member.name) }) else {
                throw QMPError("Parameter '\(member.name)' is unexpected")
            }
            guard parameter.kind.admits(member.value) else {
                throw QMPError("Invalid parameter type for '\(parameter.name)', expected: \(parameter.kind.rawValue)")
            }
        }
        for parameter in parameters where parameter.isRequired && arguments[parameter.name] == nil {
            throw QMPError("Parameter '\(parameter.name)' is missing")
        }
        return try handler(arguments, machine)
    }

    /// The command of that name.
    ///
    /// - Throws: `QMPError` of the class that clients look at to learn what a server can do.
    package static func named(_ name: String) throws(QMPError) -> QMPCommand {
        guard let command = all.first(where: { $0.name.hasSameBytes(as: name) }) else {
            throw QMPError("The command \(name) has not been found", class: .commandNotFound)
        }
        return command
    }
}
