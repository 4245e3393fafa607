internal import StratoVMM

/// The character backends.
enum CharacterDevices {
    @Sendable
    static func queryCharacterDevices(_ arguments: JSONObject, _ machine: any MachineControl) -> JSONValue {
        .array(
            machine.characterDevices.map { device in
                .object([
                    "frontend-open": .bool(device.isFrontendOpen),
                    "filename": .string(device.filename),
                    "label": .string(device.label),
                ])
            })
    }
}
