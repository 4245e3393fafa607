/// What a client asks for, before anybody has looked whether there is such a command.
package struct QMPRequest: Sendable {
    package let command: String
    package let arguments: JSONObject

    package init(command: String, arguments: JSONObject = JSONObject()) {
        self.command = command
        self.arguments = arguments
    }

    /// Reads a request: `execute`, and where needed `arguments` and `id`, nothing else.
    ///
    /// - Parameter value: any document.
    /// - Throws: `QMPError` for what is none.
    package init(_ value: JSONValue) throws(QMPError) {
        guard case .object(let object) = value else {
            throw QMPError("QMP input must be a JSON object, not \(value.kindName)")
        }
        var command: String?
        var arguments = JSONObject()
        for member in object.members {
            switch (member.name, member.value) {
            case ("execute", .string(let name)): command = name
            case ("execute", _): throw QMPError("QMP input member 'execute' must be a string")
            case ("arguments", .object(let values)): arguments = values
            case ("arguments", _): throw QMPError("QMP input member 'arguments' must be an object")
            case ("id", _): break
            default: throw QMPError("QMP input member '\(member.name)' is unexpected")
            }
        }
        guard let command else { throw QMPError("QMP input lacks member 'execute'") }
        self.init(command: command, arguments: arguments)
    }
}
