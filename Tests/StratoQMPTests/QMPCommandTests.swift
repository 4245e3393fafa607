import StratoQMP
import StratoVMM
import Testing

@Suite("QMP commands")
struct QMPCommandTests {
    /// The answer of a machine, without a server.
    private static func run(
        _ name: String, _ arguments: JSONObject = [:], on machine: FakeMachine = FakeMachine()
    ) throws -> String {
        String(decoding: try QMPCommand.named(name).run(arguments, on: machine).encoded, as: UTF8.self)
    }

    private static func error(
        _ name: String, _ arguments: JSONObject = [:], on machine: FakeMachine = FakeMachine()
    ) throws -> String {
        let error = try #require(throws: QMPError.self) { try run(name, arguments, on: machine) }
        return "\(error.errorClass.rawValue): \(error.description)"
    }

    @Test("every command that is documented is there, once")
    func table() {
        let names = QMPCommand.all.map(\.name)
        #expect(Set(names).count == names.count)
        let wanted = """
            query-status stop cont quit system_reset system_powerdown query-version query-commands query-events query-target \
            query-kvm query-machines query-cpus query-cpus-fast query-block query-chardev query-iothreads query-name query-uuid \
            human-monitor-command qmp_capabilities query-pci qom-list qom-list-types device-list-properties \
            query-command-line-options query-block-jobs query-tpm-models query-tpm-types query-migrate-capabilities
            """
        #expect(Set(wanted.split(separator: " ").map(String.init)) == Set(names))
    }

    @Test("what is about the monitor itself needs no machine")
    func needs() {
        let atOnce = Set(QMPCommand.all.filter { $0.need != .machine }.map(\.name))
        #expect(
            atOnce == [
                "qmp_capabilities", "quit", "query-version", "query-commands", "query-events", "query-target", "query-kvm",
                "query-machines", "query-name", "query-uuid", "qom-list", "qom-list-types", "device-list-properties",
                "query-command-line-options", "query-block-jobs", "query-tpm-models", "query-tpm-types",
                "query-migrate-capabilities",
            ])
    }

    @Test(
        "query-status tells each status in QEMU's words",
        arguments: [
            (MachineStatus.prelaunch, "{\"running\":false,\"singlestep\":false,\"status\":\"prelaunch\"}"),
            (.running, "{\"running\":true,\"singlestep\":false,\"status\":\"running\"}"),
            (.paused, "{\"running\":false,\"singlestep\":false,\"status\":\"paused\"}"),
            (.ended, "{\"running\":false,\"singlestep\":false,\"status\":\"shutdown\"}"),
        ])
    func status(_ status: MachineStatus, _ answer: String) throws {
        #expect(try Self.run("query-status", on: FakeMachine(status)) == answer)
    }

    @Test(
        "commands that change the machine's state reach it, and pass on why it refuses",
        arguments: [
            ("stop", "pause"), ("cont", "resume"), ("system_reset", "reset"), ("system_powerdown", "powerdown"),
        ])
    func lifeCycle(_ command: String, _ call: String) throws {
        let machine = FakeMachine()
        #expect(try Self.run(command, on: machine) == "{}")
        #expect(machine.calls == [call])
        machine.refuse("vCPU 3 does not stop")
        #expect(try Self.error(command, on: machine) == "GenericError: vCPU 3 does not stop")
    }

    @Test("quit ends the machine")
    func quit() throws {
        let machine = FakeMachine()
        #expect(try Self.run("quit", on: machine) == "{}")
        #expect(machine.calls == ["shutdown host-qmp-quit"])
    }

    @Test("what clients ask to learn what the monitor can do")
    func introspection() throws {
        #expect(
            try Self.run("query-version")
                == "{\"qemu\":{\"micro\":1,\"minor\":0,\"major\":5},\"package\":\"StratoVirt-2.5.0\"}")
        #expect(try Self.run("query-kvm") == "{\"enabled\":true,\"present\":true}")
        #expect(try Self.run("query-target") == "{\"arch\":\"\(ExpectedTarget.name)\"}")
        #expect(
            try Self.run("query-events")
                == "[{\"name\":\"SHUTDOWN\"},{\"name\":\"RESET\"},{\"name\":\"STOP\"},{\"name\":\"RESUME\"},{\"name\":\"POWERDOWN\"}]"
        )
        #expect(
            try Self.run("query-machines") == """
                [{"hotpluggable-cpus":false,"name":"none","numa-mem-supported":false,"cpu-max":1,"deprecated":false},\
                {"hotpluggable-cpus":false,"name":"microvm","numa-mem-supported":false,"cpu-max":254,"deprecated":false},\
                {"hotpluggable-cpus":false,"name":"\(ExpectedTarget.standardMachine)","numa-mem-supported":false,\
                "cpu-max":254,"deprecated":false}]
                """)
        #expect(
            try Self.run("query-commands")
                == "[" + QMPCommand.all.map { "{\"name\":\"\($0.name)\"}" }.joined(separator: ",") + "]")
    }

    @Test("query-pci shows the functions, their ranges, and what is behind a bridge, in QEMU's form")
    func pci() throws {
        #expect(try Self.run("query-pci") == "[]")
        let machine = FakeMachine()
        var disk = PCIFunctionInfo(
            id: "d", bus: 1, device: 0, function: 0, vendorID: 0x1AF4, deviceID: 0x1042, subsystemVendorID: 0x1AF4,
            subsystemID: 0x1042, classCode: 0x0100, interruptPin: 1, interruptLine: 11,
            regions: [
                .init(index: 1, isMemory: true, is64Bit: false, isPrefetchable: false, size: 4096, address: 0xC000_0000),
                .init(index: 2, isMemory: true, is64Bit: true, isPrefetchable: false, size: 16384, address: nil),
            ])
        var port = disk
        port.id = "p"
        port.bus = 0
        port.device = 5
        port.deviceID = 0xC
        port.classCode = 0x0604
        port.regions = []
        disk.bus = 1
        port.bridge = PCIFunctionInfo.Bridge(
            secondaryBus: 1, subordinateBus: 1, ports: nil, memory: 0xC000_0000...0xC00F_FFFF, prefetchable: nil,
            functions: [disk])
        machine.pciFunctions = [port]
        #expect(
            try Self.run("query-pci", on: machine) == """
                [{"bus":0,"devices":[{"bus":0,"slot":5,"function":0,"class_info":{"class":1540,"desc":"PCI bridge"},\
                "id":{"device":12,"vendor":6900,"subsystem-vendor":6900,"subsystem":4162},"irq":11,"irq_pin":1,"qdev_id":"p",\
                "regions":[],"pci_bridge":{"bus":{"number":0,"secondary":1,"subordinate":1,"io_range":{"base":1,"limit":0},\
                "memory_range":{"base":3221225472,"limit":3222274047},"prefetchable_range":{"base":1,"limit":0}},\
                "devices":[{"bus":1,"slot":0,"function":0,"class_info":{"class":256,"desc":"SCSI controller"},\
                "id":{"device":4162,"vendor":6900,"subsystem-vendor":6900,"subsystem":4162},"irq":11,"irq_pin":1,"qdev_id":"d",\
                "regions":[{"bar":1,"type":"memory","address":3221225472,"size":4096,"prefetch":false,"mem_type_64":false},\
                {"bar":2,"type":"memory","address":-1,"size":16384,"prefetch":false,"mem_type_64":true}]}]}}]}]
                """)
    }

    @Test("what libvirt asks of the object model is answered for what is there")
    func objectModel() throws {
        var configuration = VirtualMachineConfiguration()
        configuration.machine.kind = .standard
        configuration.rootPorts = [PCIRootPortConfiguration(id: "p")]
        configuration.storageDevices = [
            StorageDeviceConfiguration(id: "d", image: DiskImageConfiguration(id: "i", path: "/i"))
        ]
        let machine = FakeMachine(.running, configuration)
        #expect(
            try Self.run("qom-list", ["path": .string("/machine/peripheral")], on: machine)
                == "[{\"name\":\"p\",\"type\":\"child<pcie-root-port>\"},{\"name\":\"d\",\"type\":\"child<virtio-blk-pci>\"}]")
        #expect(try Self.run("qom-list", ["path": .string("/machine")], on: machine) == "[]")
        let unknown = try Self.run("device-list-properties", ["typename": .string("no-such-device")])
        #expect(unknown == "[{\"name\":\"disable-legacy\",\"type\":\"OnOffAuto\"}]")
        #expect(
            try Self.run("device-list-properties", ["typename": .string("virtio-blk-pci")]).contains("\"num-queues\""))
        #expect(try Self.run("query-command-line-options", ["option": .string("drive")]).contains("detect-zeroes"))
        #expect(try Self.run("query-command-line-options", ["option": .string("none")]) == "[]")
        #expect(try Self.run("qom-list-types").contains("{\"name\":\"virtio-blk-pci\",\"parent\":\"device\"}"))
        #expect(try Self.error("qom-list") == "GenericError: Parameter 'path' is missing")
    }

    @Test("the guest's name and identity, given or not")
    func identity() throws {
        #expect(try Self.run("query-name") == "{}")
        #expect(try Self.run("query-uuid") == "{\"UUID\":\"00000000-0000-0000-0000-000000000000\"}")
        var configuration = VirtualMachineConfiguration()
        configuration.name = "böse \"vm\""
        configuration.uuid = MachineIdentifier("550E8400-e29b-41d4-a716-446655440000")
        let machine = FakeMachine(.running, configuration)
        #expect(try Self.run("query-name", on: machine) == "{\"name\":\"b\\u00f6se \\\"vm\\\"\"}")
        #expect(try Self.run("query-uuid", on: machine) == "{\"UUID\":\"550e8400-e29b-41d4-a716-446655440000\"}")
    }

    @Test("virtual CPUs in the old form and the new one")
    func processors() throws {
        let machine = FakeMachine()
        machine.processors = [
            ProcessorInfo(index: 0, socket: 0, die: 0, cluster: 0, core: 0, thread: 0, threadID: 4711),
            ProcessorInfo(index: 1, socket: 1, die: 2, cluster: 3, core: 4, thread: 5, threadID: 4712),
        ]
        let word = ExpectedTarget.processorArchitecture
        let first = ExpectedTarget.properties(socket: 0, die: 0, cluster: 0, core: 0, thread: 0)
        let second = ExpectedTarget.properties(socket: 1, die: 2, cluster: 3, core: 4, thread: 5)
        #expect(
            try Self.run("query-cpus", on: machine) == """
                [{"current":true,"qom_path":"/machine/unattached/device[0]","halted":false,"props":\(first),"CPU":0,\
                "thread_id":4711,"arch":"\(word)"},\
                {"current":false,"qom_path":"/machine/unattached/device[1]","halted":false,"props":\(second),"CPU":1,\
                "thread_id":4712,"arch":"\(word)"}]
                """)
        #expect(
            try Self.run("query-cpus-fast", on: machine) == """
                [{"cpu-index":0,"qom-path":"/machine/unattached/device[0]","thread-id":4711,"props":\(first),\
                "target":"\(ExpectedTarget.name)"},\
                {"cpu-index":1,"qom-path":"/machine/unattached/device[1]","thread-id":4712,"props":\(second),\
                "target":"\(ExpectedTarget.name)"}]
                """)
    }

    @Test("disks with all that QEMU's schema has as always present, but for the image's size")
    func blockDevices() throws {
        var configuration = VirtualMachineConfiguration()
        var image = DiskImageConfiguration(id: "rootfs", path: "/tmp/root.img", isReadOnly: true, isDirect: true)
        image.requestsPerSecond = 500
        image.zeroDetection = .unmap
        configuration.storageDevices = [StorageDeviceConfiguration(id: "blk0", image: image)]
        let machine = FakeMachine(.running, configuration)
        machine.blockDevices = [BlockDeviceInfo(id: "blk0", virtualSize: 65536)]
        #expect(
            try Self.run("query-block", on: machine) == """
                [{"device":"rootfs","qdev":"blk0","locked":false,"removable":false,"type":"unknown","inserted":{\
                "file":"/tmp/root.img","node-name":"rootfs","image":{"filename":"/tmp/root.img","format":"raw","virtual-size":65536},\
                "ro":true,"drv":"raw","backing_file_depth":0,"encrypted":false,\
                "encryption_key_missing":false,"detect_zeroes":"unmap","bps":0,"bps_rd":0,"bps_wr":0,"iops":500,"iops_rd":0,\
                "iops_wr":0,"cache":{"writeback":true,"direct":true,"no-flush":false},"write_threshold":0}}]
                """)
        #expect(try Self.run("query-block") == "[]")
    }

    @Test("character backends and device threads")
    func others() throws {
        let machine = FakeMachine()
        #expect(try Self.run("query-chardev", on: machine) == "[]")
        #expect(try Self.run("query-iothreads", on: machine) == "[]")
        machine.characterDevices = [
            CharacterDeviceInfo(label: "serial_chardev", filename: "pty:/dev/pts/3", isFrontendOpen: true)
        ]
        machine.ioThreads = [IOThreadInfo(id: "io1", threadID: 77)]
        #expect(
            try Self.run("query-chardev", on: machine)
                == "[{\"frontend-open\":true,\"filename\":\"pty:/dev/pts/3\",\"label\":\"serial_chardev\"}]")
        #expect(
            try Self.run("query-iothreads", on: machine)
                == "[{\"id\":\"io1\",\"thread-id\":77,\"poll-max-ns\":0,\"poll-grow\":0,\"poll-shrink\":0}]")
    }

    @Test(
        "the monitor for people answers in text",
        arguments: [
            ("info registers", MachineStatus.running, "CPU#0\\r\\nrip=fff0\\r\\nCPU#1\\r\\nrip=0\\r\\n"),
            ("info status", .running, "VM status: running\\r\\n"),
            ("  info   status ", .paused, "VM status: paused\\r\\n"),
            ("info status", .prelaunch, "VM status: paused (prelaunch)\\r\\n"),
            ("info status", .ended, "VM status: paused (shutdown)\\r\\n"),
            ("info nothing", .running, "unknown command: 'info nothing'\\r\\n"),
            ("", .running, ""),
        ])
    func humanMonitor(_ line: String, _ status: MachineStatus, _ answer: String) throws {
        #expect(
            try Self.run("human-monitor-command", ["command-line": .string(line)], on: FakeMachine(status)) == "\"\(answer)\"")
    }

    @Test("arguments that are missing, unknown or of a wrong kind are named")
    func arguments() throws {
        #expect(try Self.error("human-monitor-command") == "GenericError: Parameter 'command-line' is missing")
        #expect(
            try Self.error("human-monitor-command", ["command-line": .integer(1)])
                == "GenericError: Invalid parameter type for 'command-line', expected: string")
        #expect(
            try Self.error("human-monitor-command", ["command-line": .string("info status"), "cpu-index": .string("0")])
                == "GenericError: Invalid parameter type for 'cpu-index', expected: integer")
        #expect(
            try Self.error("human-monitor-command", ["command-line": .string("info status"), "cpu-index": .integer(9)])
                == "GenericError: Parameter 'cpu-index' expects a CPU number")
        #expect(try Self.error("stop", ["force": .bool(true)]) == "GenericError: Parameter 'force' is unexpected")
        #expect(
            try Self.error("qmp_capabilities", ["enable": .string("oob")])
                == "GenericError: Invalid parameter type for 'enable', expected: array")
        #expect(
            try Self.error("qmp_capabilities", ["enable": .array([.integer(1)])])
                == "GenericError: Invalid parameter type for 'enable', expected: array of strings")
        #expect(
            try Self.error("qmp_capabilities", ["enable": .array([.string("oob")])])
                == "GenericError: Capability oob not available")
        #expect(try Self.run("qmp_capabilities", ["enable": .array([])]) == "{}")
    }

    @Test("a command that there is none of has a class of its own")
    func unknown() throws {
        #expect(try Self.error("query-balloons") == "CommandNotFound: The command query-balloons has not been found")
        #expect(try Self.error("") == "CommandNotFound: The command  has not been found")
        #expect(try Self.error("STOP") == "CommandNotFound: The command STOP has not been found")
    }

    @Test(
        "every event and its fields",
        arguments: [
            (MachineEvent.stopped, "{\"event\":\"STOP\",\"data\":{}}"),
            (.resumed, "{\"event\":\"RESUME\",\"data\":{}}"),
            (.powerDownRequested, "{\"event\":\"POWERDOWN\",\"data\":{}}"),
            (.reset(guest: true), "{\"event\":\"RESET\",\"data\":{\"guest\":true,\"reason\":\"guest-reset\"}}"),
            (.reset(guest: false), "{\"event\":\"RESET\",\"data\":{\"guest\":false,\"reason\":\"host-qmp-system-reset\"}}"),
            (.shutdown(.guestShutdown), "{\"event\":\"SHUTDOWN\",\"data\":{\"guest\":true,\"reason\":\"guest-shutdown\"}}"),
            (.shutdown(.guestReset), "{\"event\":\"SHUTDOWN\",\"data\":{\"guest\":true,\"reason\":\"guest-reset\"}}"),
            (.shutdown(.guestPanic), "{\"event\":\"SHUTDOWN\",\"data\":{\"guest\":true,\"reason\":\"guest-panic\"}}"),
            (.shutdown(.hostQMPQuit), "{\"event\":\"SHUTDOWN\",\"data\":{\"guest\":false,\"reason\":\"host-qmp-quit\"}}"),
            (
                .shutdown(.hostQMPReset),
                "{\"event\":\"SHUTDOWN\",\"data\":{\"guest\":false,\"reason\":\"host-qmp-system-reset\"}}"
            ),
            (.shutdown(.hostSignal), "{\"event\":\"SHUTDOWN\",\"data\":{\"guest\":false,\"reason\":\"host-signal\"}}"),
            (.shutdown(.hostError), "{\"event\":\"SHUTDOWN\",\"data\":{\"guest\":false,\"reason\":\"host-error\"}}"),
        ])
    func events(_ event: MachineEvent, _ text: String) throws {
        let server = try TestServer()
        let client = try server.connect()
        server.machine.emit(event)
        #expect(try withoutTimestamp(client.readLine()) == text)
        #expect(QMPEvent(.built, microseconds: 0) == nil)
    }

    @Test("an event's time is split at the microsecond")
    func eventTime() throws {
        let event = try #require(QMPEvent(.stopped, microseconds: 1_700_000_000_000_001))
        #expect(event.microseconds == 1_700_000_000_000_001)
        #expect(event.name == .stop)
    }
}
