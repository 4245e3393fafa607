internal import StratoVMM

/// What clients ask to learn what the monitor can do.
enum Introspection {
    @Sendable
    static func queryVersion(_ arguments: JSONObject, _ machine: any MachineControl) -> JSONValue {
        QMPVersion.json
    }

    @Sendable
    static func queryCommands(_ arguments: JSONObject, _ machine: any MachineControl) -> JSONValue {
        .array(QMPCommand.all.map { .object(["name": .string($0.name)]) })
    }

    @Sendable
    static func queryEvents(_ arguments: JSONObject, _ machine: any MachineControl) -> JSONValue {
        .array(QMPEvent.Name.allCases.map { .object(["name": .string($0.rawValue)]) })
    }

    @Sendable
    static func queryTarget(_ arguments: JSONObject, _ machine: any MachineControl) -> JSONValue {
        .object(["arch": .string(Target.name)])
    }

    /// Both are always true: there is no other way to run a guest.
    @Sendable
    static func queryKVM(_ arguments: JSONObject, _ machine: any MachineControl) -> JSONValue {
        .object(["enabled": .bool(true), "present": .bool(true)])
    }

    @Sendable
    static func queryMachines(_ arguments: JSONObject, _ machine: any MachineControl) -> JSONValue {
        .array(
            MachineType.all.map { type in
                .object([
                    "hotpluggable-cpus": .bool(type.hasProcessorHotPlug),
                    "name": .string(type.name),
                    "numa-mem-supported": .bool(false),
                    "cpu-max": JSONValue(type.maximumProcessorCount),
                    "deprecated": .bool(false),
                ])
            })
    }
}

/// A board as `-machine` names it.
struct MachineType: Sendable {
    let name: String
    let maximumProcessorCount: Int
    let hasProcessorHotPlug: Bool

    /// What can be started. Without a machine QEMU counts one virtual CPU, too.
    static let all = [
        MachineType(name: MachineConfiguration.Kind.none.rawValue, maximumProcessorCount: 1, hasProcessorHotPlug: false),
        MachineType(name: MachineConfiguration.Kind.microVM.rawValue, maximumProcessorCount: 254, hasProcessorHotPlug: false),
        MachineType(name: Target.standardMachine, maximumProcessorCount: 254, hasProcessorHotPlug: false),
    ]
}
