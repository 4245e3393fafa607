/// Everything that a virtual machine is made of, as a value: nothing on the host is opened or changed by describing it.
///
/// A configuration is checked whole by `validate()` before anything is made from it.
public struct VirtualMachineConfiguration: Sendable, Hashable {
    /// The guest's name, shown to management clients; at most 255 bytes, nil for none.
    public var name: String?

    /// The guest's identity (RFC 9562), `nil` for the all-zero one.
    public var uuid: MachineIdentifier?

    /// Which machine is built.
    public var machine: MachineConfiguration

    /// The virtual CPUs.
    public var processors: ProcessorConfiguration

    /// The guest's RAM.
    public var memory: MemoryConfiguration

    /// What the machine boots; nil only for a standard machine with firmware.
    public var bootLoader: LinuxBootLoader?

    /// Firmware of a standard machine, which then starts the kernel, or finds a system on a disk; nil starts the kernel without.
    public var firmware: FirmwareImages?

    /// What a standard machine tells about itself.
    public var identity: SystemIdentity

    /// Slots of a standard machine.
    public var rootPorts: [PCIRootPortConfiguration]

    /// Disks, in the order in which the guest numbers them.
    public var storageDevices: [StorageDeviceConfiguration]

    /// The first serial port, nil for none.
    public var serialPort: SerialPortConfiguration?

    /// Named character backends, beside that of the serial port, which has its own.
    public var characterDevices: [CharacterDeviceConfiguration]

    /// Threads that devices may be assigned to.
    public var ioThreads: [IOThreadConfiguration]

    /// True leaves the virtual CPUs paused after start until they are resumed.
    public var startsPaused: Bool

    /// True confines the threads that the machine makes for virtual CPUs and devices: the kernel carries out no system call of
    /// theirs but those that they need (seccomp(2)), and any other ends the process by SIGSYS. Threads of the program that
    /// uses the machine stay as they are.
    public var confinesThreads: Bool

    /// Directories beneath which the threads that the machine makes for virtual CPUs and devices can open, make and remove
    /// files (landlock(7)); nil for wherever the user may. What this configuration names is opened before, and needs no place
    /// here. Threads of the program that uses the machine stay as they are.
    public var reachableDirectories: [String]?

    /// A microVM with one virtual CPU, 256 MiB and no device.
    public init() {
        name = nil
        uuid = nil
        machine = MachineConfiguration()
        processors = ProcessorConfiguration()
        memory = MemoryConfiguration()
        bootLoader = nil
        firmware = nil
        identity = SystemIdentity()
        rootPorts = []
        storageDevices = []
        serialPort = nil
        characterDevices = []
        ioThreads = []
        startsPaused = false
        confinesThreads = false
        reachableDirectories = nil
    }
}
