internal import StratoVMM

/// Every option there is, in the order in which the help text shows them.
enum OptionTable {
    static let options: [OptionDefinition] = [
        // MARK: Machine
        OptionDefinition(
            ["machine"], .machine, .properties("TYPE[,PROPERTY=VALUE...]", leading: .valueOf("type"), PropertyTable.machine),
            help: "kind of machine: microvm (default), standard_vm or none",
            handler: { builder, option throws(CommandLineError) in try builder.setMachine(option) }),
        OptionDefinition(
            ["accel"], .machine, .text("kvm"),
            help: "what runs the guest: kvm is all there is",
            handler: { builder, option throws(CommandLineError) in try builder.setAccelerator(option.word, label: option.label) }),
        OptionDefinition(
            ["smp"], .machine, .properties("[cpus=]N[,PROPERTY=N...]", leading: .valueOf("cpus"), PropertyTable.processors),
            help: "virtual CPUs, 1 to 254 (1), and how they are arranged",
            handler: { builder, option throws(CommandLineError) in try builder.setProcessors(option) }),
        OptionDefinition(
            ["cpu"], .machine, .properties("host[,PROPERTY=on|off...]", leading: .valueOf("model"), PropertyTable.processorModel),
            help: "model of the virtual CPUs: host is all there is",
            handler: { builder, option throws(CommandLineError) in try builder.setProcessorModel(option) }),
        OptionDefinition(
            ["m"], .machine, .properties("[size=]N[K|M|G]", leading: .valueOf("size"), PropertyTable.memory),
            help: "RAM, 128M to 512G (256M); a number alone counts MiB",
            handler: { builder, option throws(CommandLineError) in try builder.setMemory(option) }),
        OptionDefinition(
            ["mem-path"], .machine, .text("PATH"),
            help: "file, or directory such as a hugetlbfs mount, that holds the RAM",
            handler: { builder, option in builder.configuration.memory.path = option.word }),
        OptionDefinition(
            ["mem-prealloc"], .machine, .flag,
            help: "make all RAM present before the guest starts",
            handler: { builder, _ in builder.configuration.memory.isPreallocated = true }),
        OptionDefinition(
            ["name"], .machine, .text("NAME"),
            help: "the guest's name, as management clients see it",
            handler: { builder, option throws(CommandLineError) in try builder.setName(option) }),
        OptionDefinition(
            ["uuid"], .machine, .text("UUID"),
            help: "the guest's identity: 8-4-4-4-12 hexadecimal digits",
            handler: { builder, option throws(CommandLineError) in try builder.setIdentity(option) }),
        OptionDefinition(
            ["smbios"], .machine, .classes("type=N[,FIELD=TEXT...]", PropertyTable.identities), isRepeatable: true,
            help: "what a standard machine says about itself",
            handler: { builder, option throws(CommandLineError) in try builder.addIdentity(option) }),
        OptionDefinition(
            ["S", "freeze"], .machine, .flag,
            help: "leave the virtual CPUs paused until a client says cont",
            handler: { builder, _ in builder.configuration.startsPaused = true }),

        // MARK: Kernel
        OptionDefinition(
            ["kernel"], .boot, .text("FILE"),
            help: "kernel image; needed unless firmware finds a system on a disk",
            handler: { builder, option in builder.kernel = option.word }),
        OptionDefinition(
            ["initrd"], .boot, .text("FILE"),
            help: "initial RAM disk",
            handler: { builder, option in builder.initialRamdisk = option.word }),
        OptionDefinition(
            ["append"], .boot, .words("PARAMETERS"), isRepeatable: true,
            help: "kernel command line; several are joined by a space",
            handler: { builder, option in builder.kernelParameters.append(contentsOf: option.words) }),

        // MARK: Disks
        OptionDefinition(
            ["drive"], .storage, .properties("file=FILE[,PROPERTY=VALUE...]", leading: .none, PropertyTable.drive),
            isRepeatable: true,
            help: "image that a disk's contents are in",
            handler: { builder, option throws(CommandLineError) in try builder.addDrive(option) }),
        OptionDefinition(
            ["device"], .storage, .classes("KIND[,PROPERTY=VALUE...]", PropertyTable.devices), isRepeatable: true,
            help: "device of the guest",
            handler: { builder, option throws(CommandLineError) in try builder.addDevice(option) }),
        OptionDefinition(
            ["object"], .storage, .classes("KIND,id=ID", PropertyTable.objects), isRepeatable: true,
            help: "thread that serves devices, up to 8",
            handler: { builder, option throws(CommandLineError) in try builder.addObject(option) }),

        // MARK: Serial ports and character devices
        OptionDefinition(
            ["serial"], .character, .classes("KIND[,PROPERTY=VALUE...]", PropertyTable.serialPorts),
            help: "first serial port, or chardev:ID for a -chardev",
            handler: { builder, option throws(CommandLineError) in try builder.setSerialPort(option) }),
        OptionDefinition(
            ["chardev"], .character, .classes("KIND,id=ID[,PROPERTY=VALUE...]", PropertyTable.characterDevices),
            isRepeatable: true,
            help: "named character device; kinds as for -serial",
            handler: { builder, option throws(CommandLineError) in try builder.addCharacterDevice(option) }),

        // MARK: Management
        OptionDefinition(
            ["qmp"], .management,
            .properties("unix:PATH|tcp:IP:PORT,server,nowait", leading: .addressOf("address"), PropertyTable.monitorSocket),
            isRepeatable: true,
            help: "socket on which QMP clients are served",
            handler: { builder, option throws(CommandLineError) in try builder.addMonitor(option) }),
        OptionDefinition(
            ["mon"], .management, .properties("chardev=ID[,mode=control]", leading: .valueOf("chardev"), PropertyTable.monitor),
            isRepeatable: true,
            help: "the same on a -chardev socket",
            handler: { builder, option throws(CommandLineError) in try builder.addMonitorReference(option) }),

        // MARK: Process
        OptionDefinition(
            ["D"], .process, .optional("FILE"),
            help: "log to a file, or to standard error; STRATOVIRT_LOG_LEVEL is error, warn, info (default), debug or trace",
            handler: { builder, option throws(CommandLineError) in try builder.setLog(option) }),
        OptionDefinition(
            ["daemonize"], .process, .flag,
            help: "leave the terminal once the machine has started",
            handler: { builder, _ in builder.isDaemon = true }),
        OptionDefinition(
            ["pidfile"], .process, .text("FILE"),
            help: "with -daemonize: file that gets the process id",
            handler: { builder, option throws(CommandLineError) in try builder.setPIDFile(option) }),
        OptionDefinition(
            ["disable-seccomp"], .process, .flag,
            help: "let threads ask everything of the kernel, not only what they need",
            handler: { builder, _ in builder.filtersSystemCalls = false }),
        OptionDefinition(
            ["landlock"], .process, .properties("on|off|path=DIR", leading: .valueOf("state"), PropertyTable.landlock),
            isRepeatable: true,
            help: "whether files but those named here can be opened later, and beneath which directories",
            handler: { builder, option throws(CommandLineError) in try builder.addLandlock(option) }),
        OptionDefinition(["h", "help"], .process, .flag, help: "print this text"),
        OptionDefinition(["V", "version"], .process, .flag, help: "print the version"),

        // MARK: Ignored
        ignored("boot"), ignored("display"), ignored("msg"), ignored("no-user-config"), ignored("nodefaults"),
        ignored("nographic"), ignored("overcommit"), ignored("realtime"), ignored("rtc"), ignored("sandbox"), ignored("usb"),
    ]

    /// StratoVirt's options for what this version does not have: refused by name, so that nobody looks for a misspelling.
    static let optionsOfLaterVersions = [
        "battery", "cameradev", "global", "hardware-signature", "incoming", "mod-test", "netdev", "no-shutdown", "numa",
        "trace", "vnc", "windows_emu_pid",
    ]

    private static func ignored(_ name: String) -> OptionDefinition {
        OptionDefinition([name], .ignored, .ignored, isRepeatable: true, help: "", handler: { _, _ in })
    }
}
