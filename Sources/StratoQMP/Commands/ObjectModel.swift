internal import StratoVMM

/// What libvirt asks of QEMU's object model to learn what a monitor has.
enum ObjectModel {
    /// Where QEMU has the devices that the user named.
    private static let peripherals = "/machine/peripheral"

    /// Properties that every device has in StratoVirt's answer: modern virtio alone.
    private static let commonProperty = property("disable-legacy", "OnOffAuto")

    /// Devices, and what of theirs libvirt looks for.
    private static let devices: [(name: String, properties: [JSONValue])] = [
        (
            "virtio-blk-pci",
            [
                property("drive", "str"), property("serial", "str"), property("num-queues", "uint16"),
                property("queue-size", "uint16"), property("iothread", "link<iothread>"), property("bootindex", "int32"),
            ]
        ),
        (
            "virtio-blk-device",
            [
                property("drive", "str"), property("serial", "str"), property("num-queues", "uint16"),
                property("queue-size", "uint16"), property("iothread", "link<iothread>"),
            ]
        ),
        ("pcie-root-port", [property("port", "uint8"), property("chassis", "uint8"), property("multifunction", "bool")]),
    ]

    private static func property(_ name: String, _ type: String) -> JSONValue {
        .object(["name": .string(name), "type": .string(type)])
    }

    /// The children of a path; one that there is not has none, as in StratoVirt.
    @Sendable
    static func list(_ arguments: JSONObject, _ machine: any MachineControl) -> JSONValue {
        guard case .string(peripherals)? = arguments["path"] else { return .array([]) }
        let configuration = machine.configuration
        let disk = configuration.machine.kind == .standard ? "virtio-blk-pci" : "virtio-blk-device"
        let children =
            configuration.rootPorts.map { ($0.id, "pcie-root-port") } + configuration.storageDevices.map { ($0.id, disk) }
        return .array(children.map { property($0.0, "child<\($0.1)>") })
    }

    /// The kinds of devices and objects there are.
    @Sendable
    static func listTypes(_ arguments: JSONObject, _ machine: any MachineControl) -> JSONValue {
        let types = devices.map { ($0.name, "device") } + [("iothread", "object")]
        return .array(types.map { .object(["name": .string($0.0), "parent": .string($0.1)]) })
    }

    /// The properties of a kind of device; of one that is not known, what all have, as in StratoVirt.
    @Sendable
    static func listProperties(_ arguments: JSONObject, _ machine: any MachineControl) -> JSONValue {
        guard case .string(let type)? = arguments["typename"] else { return .array([]) }
        return .array([commonProperty] + (devices.first { $0.name == type }?.properties ?? []))
    }

    /// What of the command line libvirt looks for.
    @Sendable
    static func commandLineOptions(_ arguments: JSONObject, _ machine: any MachineControl) -> JSONValue {
        let options: [(name: String, parameters: [String])] = [("drive", ["discard", "detect-zeroes"])]
        var wanted: String?
        if case .string(let name)? = arguments["option"] { wanted = name }
        return .array(
            options.filter { wanted == nil || $0.name == wanted }.map { option in
                .object([
                    "option": .string(option.name),
                    "parameters": .array(
                        option.parameters.map { .object(["name": .string($0), "type": .string("string")]) }),
                ])
            })
    }

    /// Of these there is nothing on this machine.
    @Sendable
    static func nothing(_ arguments: JSONObject, _ machine: any MachineControl) -> JSONValue { .array([]) }
}
