internal import StratoDisk
internal import StratoHost
internal import StratoMachine
internal import StratoVirtio
internal import Synchronization

/// What a machine holds of its host: threads for devices, character backends, disks.
final class MachineResources: Sendable {
    private struct State {
        var ioThreads: [(id: String, thread: EventLoopThread)] = []
        var deviceThread: EventLoopThread?
        var disks: [BlockDeviceInfo] = []
        var images: [DiskImage] = []
        var backends: [(label: String, backend: any CharacterBackend)] = []
    }

    private let loop: EventLoop
    private let logger: Logger
    private let confinement: ThreadConfinement?
    private let filtersSystemCalls: Bool
    private let onQuit: @Sendable () -> Void
    private let state = Mutex(State())

    /// - Parameters:
    ///   - loop: serves the character backends.
    ///   - logger: for what is opened.
    ///   - confinement: what threads of devices enter; nil for threads that may do everything.
    ///   - filtersSystemCalls: whether that keeps threads from starting others.
    ///   - onQuit: called when the keys that leave a terminal are pressed.
    init(
        loop: EventLoop, logger: Logger, confinement: ThreadConfinement?, filtersSystemCalls: Bool,
        onQuit: @escaping @Sendable () -> Void
    ) {
        self.loop = loop
        self.logger = logger
        self.confinement = confinement
        self.filtersSystemCalls = filtersSystemCalls
        self.onQuit = onQuit
    }

    /// Starts a thread that devices can be assigned to.
    ///
    /// - Throws: `LinuxError`.
    func startIOThread(_ id: String) throws(LinuxError) {
        let thread = try EventLoopThread(name: "io-\(id)", confinement: confinement)
        state.withLock { $0.ioThreads.append((id, thread)) }
    }

    /// The loop that serves a device: its I/O thread's, or one that all devices without one share, so that a slow disk
    /// never holds up a management client.
    private func deviceLoop(_ ioThread: String?) throws -> EventLoop {
        try state.withLock { state in
            if let ioThread {
                guard let found = state.ioThreads.first(where: { $0.id == ioThread }) else {
                    throw MachineControlError("there is no iothread '\(ioThread)'")
                }
                return found.thread.loop
            }
            if let thread = state.deviceThread { return thread.loop }
            let thread = try EventLoopThread(name: "devices", confinement: confinement)
            state.deviceThread = thread
            return thread.loop
        }
    }

    /// Opens and locks an image, and makes the device for it.
    func makeBlockDevice(_ device: StorageDeviceConfiguration) throws -> any VirtioDevice {
        var options = DiskImageOptions(
            path: device.image.path, isReadOnly: device.image.isReadOnly, isDirect: device.image.isDirect)
        // What needs no thread of its own, and is asynchronous with and without the page cache.
        options.engine = device.image.engine?.diskEngine ?? .ioUring
        options.isEngineChosen = device.image.engine != nil
        options.passesDiscards = device.image.discard == .unmap
        options.isConfined = filtersSystemCalls
        options.zeroDetection =
            switch device.image.zeroDetection {
            case .off: .off
            case .on: .on
            case .unmap: .unmap
            }
        let image = try DiskImage(options, logger: logger)
        state.withLock { state in
            state.disks.append(BlockDeviceInfo(id: device.id, virtualSize: image.capacity))
            state.images.append(image)
        }
        let blockOptions = VirtioBlock.Options(
            name: device.id, serial: device.serial ?? "", queueCount: device.queueCount ?? 1,
            queueSize: UInt16(clamping: device.queueSize), requestsPerSecond: device.image.requestsPerSecond)
        return try VirtioBlock(blockOptions, image: image, loop: try deviceLoop(device.ioThread), logger: logger)
    }

    /// Tells the user that firmware will find nothing to start, before it looks everywhere for it.
    func warnWithoutSystemPartition() {
        let images = state.withLock { $0.images }
        guard !images.contains(where: { BootableDisk.isBootable($0) }) else { return }
        logger.warn(
            images.isEmpty
                ? "there is no -kernel and no disk: the firmware has nothing to boot"
                : "no disk has an EFI system partition, and there is no -kernel: the firmware will find nothing to boot")
    }

    /// Fills the block and network slots of a microVM that no device takes.
    func makeEmptySlots(beside devices: [MicroVM.SlotDevice]) throws -> [MicroVM.SlotDevice] {
        let loop = try deviceLoop(nil)
        var slots: [MicroVM.SlotDevice] = []
        for kind in [MicroVM.SlotKind.block, .network] {
            for number in devices.count(where: { $0.kind == kind })..<kind.positions.count {
                let contents: VirtioEmptySlot.Kind
                switch kind {
                case .network:
                    // The addresses that StratoVirt gives to interfaces without one, and their successors.
                    contents = .network(address: [0x52, 0x54, 0x00, 0x12, 0x34, 0x56 + UInt8(clamping: number)])
                case .block, .other:
                    contents = .block
                }
                let device = try VirtioEmptySlot(contents, name: "empty \(kind) slot \(number)", loop: loop, logger: logger)
                slots.append(MicroVM.SlotDevice(kind: kind, device: device))
            }
        }
        return slots
    }

    /// Opens a character backend.
    func openBackend(_ configuration: CharacterBackendConfiguration, label: String) throws -> any CharacterBackend {
        let backend = try makeBackend(configuration, label: label)
        state.withLock { $0.backends.append((label, backend)) }
        return backend
    }

    private func makeBackend(
        _ configuration: CharacterBackendConfiguration, label: String
    ) throws -> any CharacterBackend {
        switch configuration {
        case .standardIO:
            try StandardIOCharacterBackend(loop: loop, logger: logger, confinement: confinement, onQuit: onQuit)
        case .pseudoTerminal: try PseudoTerminalCharacterBackend(loop: loop, logger: logger)
        case .file(let path): try FileCharacterBackend(path: path, loop: loop, logger: logger)
        case .unixSocket(let path):
            try SocketCharacterBackend(listeningAt: .unix(path: path), loop: loop, logger: logger)
        case .tcpSocket(let host, let port):
            try SocketCharacterBackend(listeningAt: .tcp(host: host, port: port), loop: loop, logger: logger)
        case .log: LogCharacterBackend(source: label, loop: loop, logger: logger)
        case .descriptor(let number):
            try StandardIOCharacterBackend(descriptor: number, loop: loop, logger: logger, confinement: confinement)
        case .null: NullCharacterBackend()
        }
    }

    var blockDevices: [BlockDeviceInfo] { state.withLock { $0.disks } }

    var characterDevices: [CharacterDeviceInfo] {
        state.withLock { state in
            state.backends.map {
                CharacterDeviceInfo(label: $0.label, filename: $0.backend.filename, isFrontendOpen: true)
            }
        }
    }

    var ioThreads: [IOThreadInfo] {
        state.withLock { state in
            state.ioThreads.map { IOThreadInfo(id: $0.id, threadID: $0.thread.threadID) }
        }
    }

    /// Closes everything. The devices have been shut down.
    func close() {
        let taken = state.withLock { state in
            defer { state = State() }
            return state
        }
        for (_, backend) in taken.backends { backend.close() }
        for (_, thread) in taken.ioThreads { thread.stop() }
        taken.deviceThread?.stop()
    }
}

extension DiskImageConfiguration.Engine {
    /// As the disk knows it.
    fileprivate var diskEngine: DiskImageOptions.Engine {
        switch self {
        case .synchronous: .synchronous
        case .threads: .threads
        case .native: .native
        case .ioUring: .ioUring
        }
    }
}
