/// Where a machine is in its life.
///
///     preparing ──► prelaunch ──► running ◄──► paused
///         │             │            │           │
///         └─────────────┴────────────┴───────────┴──► ended
///
/// `prelaunch` is a machine that was built with its virtual CPUs held (`-S`). `ended` is final.
package enum MachineStatus: String, Sendable, CaseIterable {
    /// Being built; only questions about the monitor itself can be answered.
    case preparing
    /// Built, and no virtual CPU has run.
    case prelaunch
    /// Virtual CPUs run.
    case running
    /// Virtual CPUs are held, device requests in flight are finished.
    case paused
    /// Nothing runs any more.
    case ended
}

/// Why a machine ended; the raw value is QEMU's spelling of `ShutdownCause`.
package enum ShutdownReason: String, Sendable, CaseIterable {
    /// The guest powered off.
    case guestShutdown = "guest-shutdown"
    /// The guest asked for a reset, by a register or by a triple fault, and the machine ends on one.
    case guestReset = "guest-reset"
    /// The guest reported that it crashed.
    case guestPanic = "guest-panic"
    /// A client said `quit`.
    case hostQMPQuit = "host-qmp-quit"
    /// A client said `system_reset`, and the machine ends on one.
    case hostQMPReset = "host-qmp-system-reset"
    /// SIGTERM, SIGINT or SIGHUP, the escape keys of a terminal, or the embedding program.
    case hostSignal = "host-signal"
    /// The machine cannot go on: KVM failed, or a virtual CPU ended in an internal error.
    case hostError = "host-error"

    /// The guest asked for it.
    package var isGuestInitiated: Bool {
        switch self {
        case .guestShutdown, .guestReset, .guestPanic: true
        case .hostQMPQuit, .hostQMPReset, .hostSignal, .hostError: false
        }
    }

    /// The exit status of a process that serves one machine.
    package var exitStatus: Int32 { self == .hostError ? 1 : 0 }
}

/// What happened to a machine, in the order in which it happened.
package enum MachineEvent: Sendable, Equatable {
    /// The machine is built: commands that need it can be carried out.
    case built
    /// Virtual CPUs are held.
    case stopped
    /// Virtual CPUs run again.
    case resumed
    /// The machine started anew; `guest` tells who asked.
    case reset(guest: Bool)
    /// The guest was asked to power off.
    case powerDownRequested
    /// The last event of a machine.
    case shutdown(ShutdownReason)
}

/// A virtual CPU as management clients see it.
package struct ProcessorInfo: Sendable, Equatable {
    package var index: Int
    package var socket: Int
    package var die: Int
    package var cluster: Int
    package var core: Int
    package var thread: Int
    /// The kernel's identifier of the host thread, 0 before it has started.
    package var threadID: Int32

    package init(index: Int, socket: Int, die: Int, cluster: Int, core: Int, thread: Int, threadID: Int32) {
        self.index = index
        self.socket = socket
        self.die = die
        self.cluster = cluster
        self.core = core
        self.thread = thread
        self.threadID = threadID
    }
}

/// A character backend as management clients see it.
package struct CharacterDeviceInfo: Sendable, Equatable {
    package var label: String
    /// QEMU's form: `pty:/dev/pts/3`, `stdio`, `file:/path`, `unix:/path,server`.
    package var filename: String
    /// A guest's device is connected to it.
    package var isFrontendOpen: Bool

    package init(label: String, filename: String, isFrontendOpen: Bool) {
        self.label = label
        self.filename = filename
        self.isFrontendOpen = isFrontendOpen
    }
}

/// A disk as management clients see it.
package struct BlockDeviceInfo: Sendable, Equatable {
    /// The device's id.
    package var id: String
    /// What the guest sees, in bytes.
    package var virtualSize: UInt64

    package init(id: String, virtualSize: UInt64) {
        self.id = id
        self.virtualSize = virtualSize
    }
}

/// A device thread as management clients see it.
package struct IOThreadInfo: Sendable, Equatable {
    package var id: String
    package var threadID: Int32

    package init(id: String, threadID: Int32) {
        self.id = id
        self.threadID = threadID
    }
}

/// A command that could not be carried out: what a client is told.
package struct MachineControlError: Error, Sendable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}

/// What a management client, a terminal's escape keys or an embedding program can do to a machine.
///
/// Every method may be called from any thread. None blocks for longer than the machine needs to hold its virtual CPUs.
package protocol MachineControl: AnyObject, Sendable {
    var configuration: VirtualMachineConfiguration { get }
    var status: MachineStatus { get }

    /// Calls `observer` for every later event, in order, on a thread of the machine's choice; it must not block.
    func observe(_ observer: @escaping @Sendable (MachineEvent) -> Void)

    /// Holds the virtual CPUs. A machine that is held already stays so.
    func pause() throws(MachineControlError)

    /// Lets the virtual CPUs run. A running machine goes on.
    func resume() throws(MachineControlError)

    /// Starts the machine anew, or ends it where it cannot be reset.
    func reset() throws(MachineControlError)

    /// Asks the guest to power off, as by a power button.
    func requestPowerDown() throws(MachineControlError)

    /// Ends the machine at once; the answer comes before the end.
    func shutDown(_ reason: ShutdownReason)

    /// One line with the registers of each virtual CPU; those of a running machine are held for a moment.
    func registerSummaries() throws(MachineControlError) -> [String]

    var processors: [ProcessorInfo] { get }
    var blockDevices: [BlockDeviceInfo] { get }
    /// What is on the root bus, with what is behind it; none on a machine without PCI.
    var pciFunctions: [PCIFunctionInfo] { get }
    var characterDevices: [CharacterDeviceInfo] { get }
    var ioThreads: [IOThreadInfo] { get }
}
