/// The properties of each option, class by class.
enum PropertyTable {
    // MARK: Machine

    static let machine = [
        PropertyDefinition("type", "TYPE", "'-machine help' lists them"),
        PropertyDefinition("accel", "kvm", "what runs the guest"),
        PropertyDefinition("acpi", "on|off", "ACPI tables (on)"),
        PropertyDefinition("dump-guest-core", "on|off", "a core dump contains the RAM (on)"),
        PropertyDefinition("mem-share", "on|off", "another process can map the RAM (off)"),
        PropertyDefinition("thp", "on|off", "transparent huge pages for the RAM (as the host is set)"),
        PropertyDefinition("empty-slots", "on|off", "show virtio slots without a device to the guest (off)"),
        PropertyDefinition("boot-markers", "on|off", "log 1 and 2 written to \(HostArchitecture.bootMarkerPort) (off)"),
        PropertyDefinition("usb", "off", "accepted for libvirt"),
        PropertyDefinition("gic-version", "3", "interrupt controller, aarch64 only"),
    ]

    /// The kinds of machine, as `-machine help` lists them.
    static let machineTypes = [
        PropertyDefinition("microvm", "", "boots a Linux kernel in milliseconds: virtio over MMIO, no PCI (default)"),
        PropertyDefinition("none", "", "no virtual machine: a monitor that answers a client's questions"),
        PropertyDefinition(
            "standard_vm", "",
            "PCI Express, ACPI and UEFI firmware; also \(HostArchitecture.standardMachine), standard-vm, standard"),
    ]

    /// The types of `-smbios`, each with its fields.
    static let identities = [
        identity("0", "the firmware", ["vendor", "version", "date"]),
        identity(
            "1", "the system", ["manufacturer", "product", "version", "serial", "uuid", "sku", "family"]),
        identity("2", "the baseboard", ["manufacturer", "product", "version", "serial", "asset", "location"]),
        identity("3", "the chassis", ["manufacturer", "version", "serial", "asset", "sku"]),
        identity(
            "4", "the processors",
            ["sock_pfx", "manufacturer", "version", "serial", "asset", "part", "max-speed", "current-speed"]),
        identity("17", "the memory devices", ["loc_pfx", "bank", "manufacturer", "serial", "asset", "part", "speed"]),
    ]

    private static func identity(_ type: String, _ help: String, _ fields: [String]) -> ClassDefinition {
        ClassDefinition(
            name: type, help: help,
            properties: fields.map { field in
                switch field {
                case "max-speed", "current-speed": PropertyDefinition(field, "N", "in MHz")
                case "speed": PropertyDefinition(field, "N", "in MT/s")
                case "date": PropertyDefinition(field, "MM/DD/YYYY", "when it was made")
                case "uuid": PropertyDefinition(field, "UUID", "as -uuid")
                case "sock_pfx", "loc_pfx": PropertyDefinition(field, "TEXT", "what a number follows")
                default: PropertyDefinition(field, "TEXT", "printable ASCII, up to 255 bytes")
                }
            })
    }

    static let processors = [
        PropertyDefinition("cpus", "N", "present at start, 1 to 254"),
        PropertyDefinition("maxcpus", "N", "present at most (cpus)"),
        PropertyDefinition("sockets", "N", "sockets of the machine (1)"),
        PropertyDefinition("dies", "N", "dies of a socket (1)"),
        PropertyDefinition("clusters", "N", "clusters of a die (1)"),
        PropertyDefinition("cores", "N", "cores of a cluster (what maxcpus leaves)"),
        PropertyDefinition("threads", "N", "threads of a core (1)"),
    ]

    static let processorModel = [
        PropertyDefinition("model", "host", "as the host's"),
        PropertyDefinition("pmu", "on|off", "performance counters, aarch64 only (off)"),
        PropertyDefinition("sve", "on|off", "scalable vectors, aarch64 only (off)"),
        PropertyDefinition("kvm-steal-time", "on|off", "tell the guest what the host took, aarch64 only (off)"),
    ]

    static let memory = [
        PropertyDefinition("size", "N[K|M|G]", "128M to 512G, a multiple of 4K; a number alone counts MiB (256M)"),
        PropertyDefinition("maxmem", "N[K|M|G]", "accepted; RAM cannot be added while the guest runs"),
    ]

    // MARK: Disks

    static let drive = [
        PropertyDefinition("file", "FILE", "regular file or block device"),
        PropertyDefinition("id", "ID", "the name a device refers to (drive0, drive1, ...)"),
        PropertyDefinition("if", "none|pflash", "pflash, for firmware, needs a standard machine (none)"),
        PropertyDefinition("unit", "0|1", "pflash: 0 for code, 1 for variables"),
        PropertyDefinition("format", "raw|qcow2", "qcow2 needs a standard machine (raw)"),
        PropertyDefinition("readonly", "on|off", "the guest cannot write (off)"),
        PropertyDefinition("direct", "on|off", "bypass the host's page cache; off where the file system cannot (on)"),
        PropertyDefinition("aio", "off|threads|native|io_uring", "how requests reach the file (io_uring)"),
        PropertyDefinition("media", "disk|cdrom", "cdrom: read only (disk)"),
        PropertyDefinition("discard", "unmap|ignore", "free what the guest discards (ignore)"),
        PropertyDefinition("detect-zeroes", "off|on|unmap", "write zeros as holes (off)"),
        PropertyDefinition("throttling.iops-total", "N", "requests a second at most, up to 1000000 (no limit)"),
        PropertyDefinition("l2-cache-size", "N[K|M|G]", "qcow2 alone; up to 32M"),
        PropertyDefinition("refcount-cache-size", "N[K|M|G]", "qcow2 alone; up to 32M"),
    ]

    private static let disk = [
        PropertyDefinition("drive", "ID", "the -drive with the contents"),
        PropertyDefinition("id", "ID", "the device's name (the drive's)"),
        PropertyDefinition("serial", "TEXT", "serial number, up to 20 bytes"),
        PropertyDefinition("num-queues", "N", "request queues, 1 to 32 (1; on PCI one for each virtual CPU)"),
        PropertyDefinition("queue-size", "N", "entries of a queue, a power of two up to 1024 (256)"),
        PropertyDefinition("iothread", "ID", "the -object iothread that serves the device"),
        PropertyDefinition("bootindex", "N", "the firmware's order of trying, 0 to 255"),
    ]

    private static let place = [
        PropertyDefinition("bus", "ID", "pcie.0, or a pcie-root-port (pcie.0)"),
        PropertyDefinition("addr", "SLOT[.FUNCTION]", "the place on the bus, such as 0x3 or 3.1 (the first free one)"),
        PropertyDefinition("multifunction", "on|off", "the slot has several functions (off)"),
    ]

    static let blockDevice = ClassDefinition(
        name: "virtio-blk-device", help: "disk, up to 4 of a microvm", properties: disk)

    /// What StratoVirt has on a PCI bus under the same name with `-pci`.
    static let blockDeviceOnPCI = ClassDefinition(
        name: "virtio-blk-pci", help: "disk of a standard machine", properties: disk + place)

    static let rootPort = ClassDefinition(
        name: "pcie-root-port", help: "slot of a standard machine, with a bus that has its id",
        properties: [
            PropertyDefinition("id", "ID", "its name and that of its bus"),
            PropertyDefinition("port", "N", "its number, 0 to 255, also with 0x (the next free one)"),
            PropertyDefinition("chassis", "N", "accepted; a slot's number is its port's"),
        ] + place)

    static let devices = [blockDevice, blockDeviceOnPCI, rootPort]

    /// StratoVirt's devices that this version does not have, without the `-device` or `-pci` that follows some.
    static let devicesOfLaterVersions = [
        "ivshmem-scream", "nec-usb-xhci", "pcie-demo-dev", "pvpanic", "ramfb", "scsi-cd", "scsi-hd",
        "usb-camera", "usb-consumer", "usb-host", "usb-kbd", "usb-storage", "usb-tablet", "usb-uas", "vfio-pci", "vhost-user-blk",
        "vhost-user-fs", "vhost-user-gpu", "vhost-vsock", "virtconsole", "virtio-balloon", "virtio-gpu", "virtio-input",
        "virtio-mem", "virtio-multitouch", "virtio-net", "virtio-pmem", "virtio-rng", "virtio-scsi", "virtio-serial",
        "virtserialport",
    ]

    static let objects = [
        ClassDefinition(
            name: "iothread", help: "a thread of its own for devices", properties: [PropertyDefinition("id", "ID", "its name")])
    ]

    /// StratoVirt's objects that this version does not have.
    static let objectsOfLaterVersions = [
        "authz-simple", "memory-backend-file", "memory-backend-memfd", "memory-backend-ram", "rng-random", "tls-creds-x509",
    ]

    // MARK: Character devices

    private static let socket = [
        PropertyDefinition("path", "PATH", "Unix socket to listen on"),
        PropertyDefinition("port", "N", "TCP port to listen on"),
        PropertyDefinition("host", "IP", "address to listen on (127.0.0.1)"),
        PropertyDefinition("server", "", "listen; has to be given"),
        PropertyDefinition("nowait", "", "do not wait for a client; has to be given"),
        PropertyDefinition("wait", "off", "the same as nowait"),
    ]

    static let serialPorts = [
        ClassDefinition(name: "stdio", help: "standard input and output; Ctrl-a x ends the machine", properties: []),
        ClassDefinition(name: "pty", help: "a new pseudo terminal", properties: []),
        ClassDefinition(
            name: "file", help: "output alone, appended to a file",
            properties: [PropertyDefinition("path", "FILE", "made if it does not exist")]),
        ClassDefinition(name: "socket", help: "a socket for one client at a time", properties: socket),
        ClassDefinition(name: "redirect-to-log", help: "output alone, as lines of the log", properties: []),
        ClassDefinition(name: "null", help: "nothing: no input, output is dropped", properties: []),
    ]

    static let characterDevices = serialPorts.map { kind in
        ClassDefinition(
            name: kind.name, help: kind.help, properties: [PropertyDefinition("id", "ID", "its name")] + kind.properties)
    }

    // MARK: Management

    static let monitorSocket = [
        PropertyDefinition("server", "", "listen; has to be given"),
        PropertyDefinition("nowait", "", "do not wait for a client; has to be given"),
        PropertyDefinition("wait", "off", "the same as nowait"),
        PropertyDefinition("iothread", "ID", "accepted; the main thread serves clients"),
    ]

    static let landlock = [
        PropertyDefinition("state", "on|off", "on unless there are QMP clients, who may add files later"),
        PropertyDefinition("path", "DIR", "a directory whose files stay in reach; on with QMP clients, too"),
    ]

    static let monitor = [
        PropertyDefinition("chardev", "ID", "the -chardev socket to listen on"),
        PropertyDefinition("id", "ID", "accepted"),
        PropertyDefinition("mode", "control", "QMP is all there is"),
    ]
}
