internal import StratoVMM

/// The names of the guest.
enum Identity {
    @Sendable
    static func queryName(_ arguments: JSONObject, _ machine: any MachineControl) -> JSONValue {
        guard let name = machine.configuration.name else { return .emptyObject }
        return .object(["name": .string(name)])
    }

    @Sendable
    static func queryUUID(_ arguments: JSONObject, _ machine: any MachineControl) -> JSONValue {
        let uuid = machine.configuration.uuid?.description ?? "00000000-0000-0000-0000-000000000000"
        return .object(["UUID": .string(uuid)])
    }
}
