internal import StratoVMM

/// `qmp_capabilities`. It is not required: a client may use every command without it, and may send it again.
enum Negotiation {
    @Sendable
    static func enableCapabilities(
        _ arguments: JSONObject, _ machine: any MachineControl
    ) throws(QMPError) -> JSONValue {
        guard case .array(let capabilities)? = arguments["enable"] else { return .emptyObject }
        for capability in capabilities {
            guard case .string(let name) = capability else {
                throw QMPError("Invalid parameter type for 'enable', expected: array of strings")
            }
            throw QMPError("Capability \(name) not available")
        }
        return .emptyObject
    }
}
