import StratoVMM
import Testing

@Suite("Checking a configuration")
struct ConfigurationTests {
    private static func bootable(_ change: (inout VirtualMachineConfiguration) -> Void = { _ in }) -> VirtualMachineConfiguration
    {
        var configuration = VirtualMachineConfiguration()
        configuration.bootLoader = LinuxBootLoader(kernel: "/kernel")
        change(&configuration)
        return configuration
    }

    private static func disk(_ id: String, _ change: (inout StorageDeviceConfiguration) -> Void = { _ in })
        -> StorageDeviceConfiguration
    {
        var device = StorageDeviceConfiguration(id: id, image: DiskImageConfiguration(id: "\(id)-image", path: "/\(id)"))
        change(&device)
        return device
    }

    struct Case: Sendable, CustomTestStringConvertible {
        let configuration: VirtualMachineConfiguration
        let problems: [String]
        var testDescription: String { problems.joined(separator: "; ") }

        init(_ problems: String..., change: (inout VirtualMachineConfiguration) -> Void) {
            self.problems = problems
            configuration = ConfigurationTests.bootable(change)
        }
    }

    static let wrong: [Case] = [
        Case("bootLoader: a microvm boots a kernel; name its image") { $0.bootLoader = nil },
        Case("bootLoader.kernel: is empty; give the path of a file") { $0.bootLoader?.kernel = "" },
        Case("bootLoader.initialRamdisk: contains a zero byte; remove it") { $0.bootLoader?.initialRamdisk = "a\0b" },
        Case("bootLoader.commandLine: contains a zero byte; remove it") { $0.bootLoader?.commandLine = "a\0" },
        Case("name: is empty; give at least one character") { $0.name = "" },
        Case("name: is 256 bytes long; at most 255 are allowed") { $0.name = String(repeating: "é", count: 128) },
        Case("name: contains a control character; remove it") { $0.name = "a\nb" },
        Case("machine.hasACPI: the standard machine has ACPI always; leave acpi=off out") {
            $0.machine.kind = .standard
            $0.machine.hasACPI = false
        },
        Case("machine.showsEmptySlots: virtio slots belong to a microvm; leave empty-slots=on out") {
            $0.machine.kind = .standard
            $0.machine.showsEmptySlots = true
        },
        Case(
            "bootLoader: without firmware a standard machine boots a kernel; name its image, or firmware by "
                + "-drive file=CODE,if=pflash,unit=0,readonly=on"
        ) {
            $0.machine.kind = .standard
            $0.bootLoader = nil
        },
        Case("firmware: holds what only a standard machine starts; remove it, or choose standard_vm") {
            $0.firmware = FirmwareImages(code: "c")
        },
        Case("firmware.variables: is the same file as unit 0; give the variables a file of their own") {
            $0.machine.kind = .standard
            $0.firmware = FirmwareImages(code: "c", variables: "c")
        },
        Case("rootPorts: 'p' needs a PCI bus, which this kind of machine does not have; remove it") {
            $0.rootPorts = [PCIRootPortConfiguration(id: "p")]
        },
        Case("storageDevices[0].placement: this kind of machine has no PCI bus; leave the place out") {
            $0.storageDevices = [disk("a")]
            $0.storageDevices[0].placement = PCIPlacement()
        },
        Case("storageDevices[0].placement: place 32 does not exist; there are 0 to 31") {
            $0.machine.kind = .standard
            $0.storageDevices = [disk("a")]
            $0.storageDevices[0].placement = PCIPlacement(device: 32)
        },
        Case("storageDevices[0].placement: function -1 does not exist; there are 0 to 7") {
            $0.machine.kind = .standard
            $0.storageDevices = [disk("a")]
            $0.storageDevices[0].placement = PCIPlacement(device: 3, function: -1)
        },
        Case("rootPorts[0].id: 'pcie.0' is the root bus; choose another") {
            $0.machine.kind = .standard
            $0.rootPorts = [PCIRootPortConfiguration(id: "pcie.0")]
        },
        Case("rootPorts[0].number: is 256; 0 to 255 are allowed") {
            $0.machine.kind = .standard
            $0.rootPorts = [PCIRootPortConfiguration(id: "p")]
            $0.rootPorts[0].number = 256
        },
        Case("identity.system.product: contains a character that is not ASCII; SMBIOS has no others") {
            $0.machine.kind = .standard
            $0.identity.system.product = "é"
        },
        Case("identity.processors.maximumSpeed: is -1; 0 to 65535 are allowed") {
            $0.machine.kind = .standard
            $0.identity.processors.maximumSpeed = -1
        },
        Case("bootLoader: a machine of kind none boots nothing; choose microvm") { $0.machine.kind = .none },
        Case("storageDevices: a machine of kind none has no devices; choose microvm") {
            $0.machine.kind = .none
            $0.bootLoader = nil
            $0.storageDevices = [disk("a")]
        },
        Case("processors.count: is 0; 1 to 254 are allowed") { $0.processors.count = 0 },
        Case("processors.count: is 255; 1 to 254 are allowed") { $0.processors.count = 255 },
        Case("processors.count: is -9223372036854775808; 1 to 254 are allowed") { $0.processors.count = .min },
        Case("processors.maximumCount: is 1, less than the 2 present at start; give at least that many") {
            $0.processors.count = 2
            $0.processors.maximumCount = 1
        },
        Case("processors.maximumCount: is 255; 1 to 254 are allowed") { $0.processors.maximumCount = 255 },
        Case(
            "processors.topology: sockets * dies * clusters * cores * threads is 1 * 1 * 1 * 3 * 1 = 3, but there are 4 virtual CPUs; "
                + "make the two equal"
        ) {
            $0.processors.count = 4
            $0.processors.topology = ProcessorTopology(cores: 3)
        },
        Case(
            "processors.topology: sockets * dies * clusters * cores * threads is 9223372036854775807 * 9223372036854775807 * 1 * 1 * 1 "
                + "= too many, but there are 1 virtual CPUs; make the two equal"
        ) { $0.processors.topology = ProcessorTopology(sockets: .max, dies: .max) },
        Case("processors.topology.cores: is 0; give at least 1") { $0.processors.topology = ProcessorTopology(cores: 0) },
        Case("processors.topology.dies: is -1; give at least 1") {
            $0.processors.topology = ProcessorTopology(sockets: -1 * -1, dies: -1)
        },
        Case("memory.size: is 127 MiB; 128 MiB to 512 GiB are allowed") { $0.memory.size = .mebibytes(127) },
        Case("memory.size: is 513 GiB; 128 MiB to 512 GiB are allowed") { $0.memory.size = .gibibytes(513) },
        Case("memory.size: is 18446744073709551615 bytes; 128 MiB to 512 GiB are allowed") { $0.memory.size = .gibibytes(.max) },
        Case("memory.size: is 134217729 bytes; give a multiple of 4 KiB") { $0.memory.size = MemorySize(bytes: 128 << 20 + 1) },
        Case("memory.path: is empty; give the path of a file") { $0.memory.path = "" },
        Case("storageDevices: a microvm has 4 slots for block devices, but 5 are given; remove some") {
            $0.storageDevices = (0..<5).map { disk("d\($0)") }
        },
        Case(
            "storageDevices[1].id: 'a' is used twice; choose another",
            "storageDevices[1].image.id: 'a-image' is used twice; choose another"
        ) { $0.storageDevices = [disk("a"), disk("a")] },
        Case("storageDevices[0].id: is empty; give at least one character") { $0.storageDevices = [disk("a") { $0.id = "" }] },
        Case("storageDevices[0].image.path: is 4096 bytes long; at most 4095 are allowed here") {
            $0.storageDevices = [disk("a") { $0.image.path = String(repeating: "x", count: 4096) }]
        },
        Case("storageDevices[0].image.engine: native I/O needs a direct image; turn direct on, or choose another engine") {
            $0.storageDevices = [disk("a") { $0.image.engine = .native }]
        },
        Case("storageDevices[0].image.format: a microvm takes raw images only; convert the image to raw") {
            $0.storageDevices = [disk("a") { $0.image.format = .qcow2 }]
        },
        Case("storageDevices[0].image.requestsPerSecond: is 0; 1 to 1000000 are allowed") {
            $0.storageDevices = [disk("a") { $0.image.requestsPerSecond = 0 }]
        },
        Case("storageDevices[0].serial: is 21 bytes long; at most 20 are allowed") {
            $0.storageDevices = [disk("a") { $0.serial = "123456789012345678901" }]
        },
        Case("storageDevices[0].serial: is 22 bytes long; at most 20 are allowed") {
            $0.storageDevices = [disk("a") { $0.serial = String(repeating: "é", count: 11) }]
        },
        Case("storageDevices[0].queueCount: is 33; 1 to 32 are allowed") {
            $0.storageDevices = [disk("a") { $0.queueCount = 33 }]
        },
        Case("storageDevices[0].queueSize: is 100; powers of two from 2 to 1024 are allowed") {
            $0.storageDevices = [disk("a") { $0.queueSize = 100 }]
        },
        Case("storageDevices[0].queueSize: is -9223372036854775808; powers of two from 2 to 1024 are allowed") {
            $0.storageDevices = [disk("a") { $0.queueSize = .min }]
        },
        Case("storageDevices[0].queueSize: is 2048; powers of two from 2 to 1024 are allowed") {
            $0.storageDevices = [disk("a") { $0.queueSize = 2048 }]
        },
        Case("storageDevices[0].ioThread: there is no iothread 'io'; add it, or name one that exists") {
            $0.storageDevices = [disk("a") { $0.ioThread = "io" }]
        },
        Case("storageDevices[0].bootIndex: is 256; 0 to 255 are allowed") {
            $0.storageDevices = [disk("a") { $0.bootIndex = 256 }]
        },
        Case("storageDevices[1].bootIndex: is 1, which 'a' has already; choose another") {
            $0.storageDevices = [disk("a") { $0.bootIndex = 1 }, disk("b") { $0.bootIndex = 1 }]
        },
        Case(
            "characterDevices[0].backend: standard input and output are used by 'serial_chardev' already; choose another backend"
        ) {
            $0.serialPort = SerialPortConfiguration(backend: .standardIO)
            $0.characterDevices = [CharacterDeviceConfiguration(id: "c", backend: .standardIO)]
        },
        Case("characterDevices[0].id: 'c' is used twice; choose another") {
            $0.serialPort = SerialPortConfiguration(backend: .null, id: "c")
            $0.characterDevices = [CharacterDeviceConfiguration(id: "c", backend: .pseudoTerminal)]
        },
        Case("serialPort.backend: is empty; give the path of a file") {
            $0.serialPort = SerialPortConfiguration(backend: .file(path: ""))
        },
        Case("serialPort.backend: is 108 bytes long; at most 107 are allowed here") {
            $0.serialPort = SerialPortConfiguration(backend: .unixSocket(path: String(repeating: "x", count: 108)))
        },
        Case("serialPort.backend: port 0 cannot be connected to; give 1 to 65535") {
            $0.serialPort = SerialPortConfiguration(backend: .tcpSocket(host: "127.0.0.1", port: 0))
        },
        Case("serialPort.backend: -1 is not a descriptor; give an open one") {
            $0.serialPort = SerialPortConfiguration(backend: .descriptor(-1))
        },
        Case("characterDevices[1].backend: '/s' is used twice; choose another") {
            $0.characterDevices = ["a", "b"].map { CharacterDeviceConfiguration(id: $0, backend: .unixSocket(path: "/s")) }
        },
        Case("ioThreads: 9 are given; at most 8 are allowed") {
            $0.ioThreads = (0..<9).map { IOThreadConfiguration(id: "t\($0)") }
        },
        Case("ioThreads[1].id: 't' is used twice; choose another") {
            $0.ioThreads = ["t", "t"].map { IOThreadConfiguration(id: $0) }
        },
        Case(
            "processors.count: is 0; 1 to 254 are allowed", "memory.size: is 1 MiB; 128 MiB to 512 GiB are allowed",
            "bootLoader: a microvm boots a kernel; name its image", "storageDevices[0].queueCount: is 0; 1 to 32 are allowed"
        ) {
            $0.processors.count = 0
            $0.memory.size = .mebibytes(1)
            $0.bootLoader = nil
            $0.storageDevices = [disk("a") { $0.queueCount = 0 }]
        },
    ]

    @Test("Everything that is wrong is told, and nothing else", arguments: wrong)
    func problems(_ expected: Case) {
        #expect(expected.configuration.problems().map(\.description) == expected.problems)
        #expect(throws: ConfigurationError.self) { try expected.configuration.validate() }
    }

    static let right: [VirtualMachineConfiguration] = [
        bootable(),
        bootable { $0.processors.count = 254 },
        bootable {
            $0.memory.size = .mebibytes(128)
            $0.name = String(repeating: "n", count: 255)
        },
        bootable { $0.memory.size = .gibibytes(512) },
        bootable { $0.memory.size = MemorySize(bytes: 128 << 20 + 4096) },
        bootable {
            $0.processors.count = 3
            $0.processors.maximumCount = 8
            $0.processors.topology = ProcessorTopology(sockets: 2, dies: 1, clusters: 2, cores: 1, threads: 2)
        },
        bootable {
            $0.ioThreads = (0..<8).map { IOThreadConfiguration(id: "t\($0)") }
            $0.storageDevices = (0..<4).map { index in
                disk("d\(index)") {
                    $0.serial = "12345678901234567890"
                    $0.queueCount = 32
                    $0.queueSize = index.isMultiple(of: 2) ? 2 : 1024
                    $0.ioThread = "t7"
                    $0.bootIndex = index == 0 ? 0 : 252 + index
                    $0.image.isDirect = true
                    $0.image.engine = .native
                    $0.image.requestsPerSecond = 1_000_000
                }
            }
        },
        bootable {
            $0.serialPort = SerialPortConfiguration(backend: .standardIO)
            $0.characterDevices = [
                CharacterDeviceConfiguration(id: "a", backend: .unixSocket(path: String(repeating: "s", count: 107))),
                CharacterDeviceConfiguration(id: "b", backend: .tcpSocket(host: "127.0.0.1", port: 65535)),
                CharacterDeviceConfiguration(id: "c", backend: .descriptor(0)),
                CharacterDeviceConfiguration(id: "d", backend: .null), CharacterDeviceConfiguration(id: "e", backend: .null),
            ]
        },
        bootable {
            $0.machine.kind = .none
            $0.bootLoader = nil
        },
    ]

    @Test("What is within every bound is accepted", arguments: right)
    func accepted(_ configuration: VirtualMachineConfiguration) throws {
        #expect(configuration.problems().isEmpty)
        try configuration.validate()
    }

    @Test("The error carries every problem, in one line")
    func error() {
        var configuration = VirtualMachineConfiguration()
        configuration.processors.count = 0
        do {
            try configuration.validate()
            Issue.record("accepted")
        } catch {
            #expect(error.problems == configuration.problems())
            #expect(
                error.description
                    == "processors.count: is 0; 1 to 254 are allowed; bootLoader: a microvm boots a kernel; name its image")
        }
    }
}
