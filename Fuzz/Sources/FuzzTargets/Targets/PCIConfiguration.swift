internal import StratoMemory

@testable internal import StratoPCI

extension FuzzTarget {
    private static let places: [GuestScript.Place] = [
        .init(range: PCIFuzzMachine.place(device: 0), isFixed: false),
        .init(range: PCIFuzzMachine.place(device: PCIFuzzMachine.functionDevice), isFixed: false),
        .init(range: PCIFuzzMachine.place(device: PCIFuzzMachine.portDevice), isFixed: false),
        .init(range: PCIFuzzMachine.place(bus: 1, device: 0), isFixed: false),
        .init(range: PCIFuzzMachine.place(device: PCIFuzzMachine.chipSetDevice), isFixed: false),
        .init(range: PCIFuzzMachine.configurationPorts, isPort: true, isFixed: false),
        .init(range: guestRange(PCIFuzzMachine.window, 1 << 20), isFixed: false),
    ]

    /// Configuration space of bridges, a port and functions, by memory and by ports; what base addresses and windows make
    /// reachable; devices that are plugged and unplugged meanwhile.
    static let pciConfiguration = FuzzTarget("pci-configuration", maximumLength: 1024, seeds: pciConfigurationSeeds) { input in
        let script = GuestScript(places)
        let machine = try PCIFuzzMachine(memoryBus: script.memory, ports: script.ports, hasSlot: true)
        defer { machine.host.shutDown() }
        try machine.addChipSet(script)
        script.run(&input) { input in
            switch input.byte() % 6 {
            case 0: machine.host.reset()
            case 1: try? machine.slot?.port.requestRemoval()
            case 2: try? machine.slot.map { try $0.port.plug([(0, $0.function)]) }
            case 3: PCIFuzzMachine.saveAndRestore(machine.function)
            case 4: machine.saveAndRestorePort()
            default: for function in machine.host.rootBus.functions { _ = function.object.summary }
            }
        }
    }

    @Sendable private static func pciConfigurationSeeds() -> [(name: String, bytes: [UInt8])] {
        func seed(_ steps: [GuestScript.Step]) -> [UInt8] { GuestScript.bytes(steps, sizes: places.map(\.range.size)) }
        func header(_ place: Int) -> [GuestScript.Step] {
            stride(from: UInt64(0), to: 0x40, by: 4).map { .read($0, width: 4, in: place) }
        }
        func size(_ place: Int) -> [GuestScript.Step] {
            (0..<6).flatMap {
                [.write(0xFFFF_FFFF, at: 0x10 + 4 * $0, width: 4, in: place), .read(0x10 + 4 * $0, width: 4, in: place)]
            }
        }
        /// Bus numbers and windows of the port, as firmware gives them.
        let numberPort: [GuestScript.Step] = [
            .write(0x01_01_00, at: 0x18, width: 4, in: 2), .write(0xC0F0_C000, at: 0x20, width: 4, in: 2),
            .write(0x0001_FFF1, at: 0x24, width: 4, in: 2), .write(7, at: 4, width: 2, in: 2),
        ]
        func decode(_ place: Int, _ base: UInt64) -> [GuestScript.Step] {
            [
                .write(base, at: 0x14, width: 4, in: place), .write(base + 0x1_0000, at: 0x18, width: 8, in: place),
                .write(6, at: 4, width: 2, in: place), .read(0, width: 4, in: 6), .write(0xFEE0_0000, at: 0, width: 8, in: 6),
            ]
        }
        func ports(_ device: UInt64, _ register: UInt64) -> [GuestScript.Step] {
            [
                .write(0x8000_0000 | device << 11 | register, at: 0, width: 4, in: 5), .read(4, width: 4, in: 5),
                .write(0xFF, at: 5, in: 5), .read(1, in: 5),
            ]
        }
        return [
            ("headers", seed((0..<5).flatMap(header) + [.event([5])])),
            ("sizes", seed(size(1) + numberPort + size(3))),
            ("decode", seed(decode(1, PCIFuzzMachine.window) + [.event([3])])),
            ("behind-port", seed(numberPort + decode(3, PCIFuzzMachine.window + 0x2_0000) + header(3) + [.event([4])])),
            ("unplug", seed(numberPort + [.event([1]), .write(0x7C0, at: 0x6C, width: 2, in: 2), .event([2]), .event([0])])),
            ("secondary-reset", seed(numberPort + [.write(0x40, at: 0x3E, width: 2, in: 2), .read(0, width: 4, in: 3)])),
            ("ports", seed(ports(0, 0x60) + ports(2, 0x10) + ports(0x1F, 0x40))),
            ("move-configuration-space", seed([.write(0xD000_0003, at: 0x60, width: 8, in: 0), .read(0, width: 4, in: 1)])),
            ("move-power-management", seed([.write(0x701, at: 0x40, width: 4, in: 4), .write(0x80, at: 0x44, in: 4)])),
        ]
    }
}
