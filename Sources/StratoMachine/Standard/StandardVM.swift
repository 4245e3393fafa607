internal import StratoFirmwareTables
package import StratoHost
package import StratoKVM
package import StratoMemory
package import StratoPCI
package import StratoPlatform
internal import StratoVirtio

/// A machine with PCI Express, ACPI and firmware: q35 on x86_64, virt on aarch64.
///
/// What there is beside the devices on PCI buses is the architecture's, in `StandardBoard`.
package final class StandardVM: Machine {
    /// The two flash banks.
    package struct Firmware: Sendable {
        package var code: any FlashStorage
        /// Where variables are kept; without it they go with the machine.
        package var variables: (any FlashStorage)?

        package init(code: any FlashStorage, variables: (any FlashStorage)? = nil) {
            self.code = code
            self.variables = variables
        }
    }

    /// What a standard machine is made of. Everything on the host is open already.
    package struct Description: Sendable {
        package var processorCount = 1
        package var topology: ProcessorLayout
        package var processorFeatures = ProcessorFeatures()
        /// Started by firmware if there is any, else by the monitor. There is one of the two at least.
        package var boot: BootSource?
        package var firmware: Firmware?
        /// In the order in which those without an address get one.
        package var devices: [PCIDeviceDescription] = []
        package var serialBackend: (any CharacterBackend)?
        package var hasBootMarkers = false
        /// What the machine's own threads give up.
        package var confinement = MachineConfinement()
        /// What boot markers are counted from.
        package var startTime = MonotonicClock.now
        /// What the machine says about itself.
        package var identity = SystemDescription()

        package init(topology: ProcessorLayout) {
            self.topology = topology
        }

        /// The kernel that the monitor starts where no firmware does.
        var bootWithoutFirmware: BootSource {
            get throws(MachineError) {
                guard let boot else {
                    throw MachineError(
                        "-kernel: without firmware the standard machine starts a kernel; add -kernel FILE, or -drive "
                            + "file=CODE,if=pflash,unit=0,readonly=on")
                }
                return boot
            }
        }
    }

    package let memory: GuestMemory
    private let board: StandardBoard
    private let processors: [KVMProcessor]
    private let group: ProcessorGroup
    private let link: RequestLink

    /// Builds the machine up to the first instruction, its virtual CPUs not started.
    ///
    /// - Parameters:
    ///   - description: what to build.
    ///   - memory: the guest's RAM, laid out as `StandardBoard.memoryRanges` says.
    ///   - system: the host's KVM.
    ///   - loop: serves the board's clocks.
    ///   - logger: for the devices.
    ///   - onRequest: called when the guest asks for a reset or its end, on a virtual CPU's thread; must not block.
    /// - Throws: `MachineError`.
    package init(
        _ description: Description, memory: GuestMemory, system: KVMSystem, loop: EventLoop, logger: Logger,
        onRequest: @escaping @Sendable (GuestRequest) -> Void
    ) throws(MachineError) {
        let machine = try StandardBoard.makeMachine(description, memory: memory, system: system)
        let ports = Bus(name: "port")
        let mmio = Bus(name: "MMIO")
        let link = RequestLink()
        let board = try StandardBoard(
            machine: machine, description: description, ports: ports, mmio: mmio, loop: loop, logger: logger,
            onRequest: { request in link.send(request) })
        do {
            let bootOrder = try StandardVM.populate(board, with: description, machine, loop, logger)
            try board.offerBootOrder(bootOrder)
            processors = try board.makeProcessors()
            try board.load(into: processors)
        } catch {
            board.shutDown()
            throw error
        }
        group = ProcessorGroup(
            processors: processors, ports: ports, mmio: mmio, logger: logger,
            confinement: description.confinement.processor, onRequest: { link.send($0) })
        self.memory = memory
        self.board = board
        self.link = link
        link.connect(to: group, onRequest)
    }

    // MARK: Devices

    /// Puts the devices on their buses.
    ///
    /// - Returns: the firmware's names of those that it is to boot from, in its order.
    private static func populate(
        _ board: StandardBoard, with description: Description, _ machine: KVMVirtualMachine, _ loop: EventLoop,
        _ logger: Logger
    ) throws(MachineError) -> [String] {
        var population = PCIPopulation(
            board: board, machine: machine, loop: loop, logger: logger, isConfined: description.confinement.filtersSystemCalls)
        // Buses before what is on them, and those with an address before those that take what is left.
        for isPort in [true, false] {
            for hasAddress in [true, false] {
                for device in description.devices where device.isRootPort == isPort && (device.device != nil) == hasAddress {
                    try population.insert(device)
                }
            }
        }
        try population.check()
        return population.bootOrder
    }

    // MARK: Machine

    package func start() throws(MachineError) {
        try building { try group.start() }
    }

    package func release() {
        board.pci.resume()
        group.release()
    }

    package func hold() -> Bool {
        guard group.holdOrRelease() else { return false }
        board.pci.pause()
        board.settle()
        return true
    }

    package func reset() throws(MachineError) {
        try board.reset(processors)
        link.reset()
    }

    package func pressPowerButton() -> Bool {
        board.pressPowerButton()
    }

    package func shutDown() {
        group.end()
        board.shutDown()
    }

    package func registerSummaries() -> [String] { processors.map { $0.registerSummary() } }

    package var processorThreadIDs: [Int32] { group.threadIDs }

    /// The bus below the host bridge, with all that is behind it.
    package var rootBus: PCIBus { board.pci.rootBus }
}

extension PCIDeviceDescription {
    fileprivate var isRootPort: Bool { if case .rootPort = contents { true } else { false } }
}

/// Fills a board's PCI buses.
private struct PCIPopulation {
    private struct Port {
        let function: PCIExpressRootPort
        let place: (device: UInt8, function: UInt8)
    }

    private let board: StandardBoard
    private let machine: KVMVirtualMachine
    private let loop: EventLoop
    private let logger: Logger
    private let isConfined: Bool
    private var ports: [String: Port] = [:]
    private var bootable: [(index: Int, path: String)] = []

    init(board: StandardBoard, machine: KVMVirtualMachine, loop: EventLoop, logger: Logger, isConfined: Bool) {
        self.board = board
        self.machine = machine
        self.loop = loop
        self.logger = logger
        self.isConfined = isConfined
    }

    /// The firmware's names of what it is to boot from, first to last.
    var bootOrder: [String] { bootable.sorted { $0.index < $1.index }.map(\.path) }

    mutating func insert(_ device: PCIDeviceDescription) throws(MachineError) {
        let isOnRoot = device.bus == PCIDeviceDescription.rootBus
        let port = ports[device.bus]
        guard isOnRoot || port != nil else {
            let known = [PCIDeviceDescription.rootBus] + ports.keys.sorted()
            throw MachineError(
                "-device \(device.id): there is no bus '\(device.bus)'; there are \(known.joined(separator: ", "))")
        }
        let bus = port?.function.secondaryBus ?? board.pci.rootBus
        guard let number = device.device ?? bus.freeDevice(besides: isOnRoot ? StandardBoard.reservedDevices : []) else {
            throw MachineError("-device \(device.id): bus '\(device.bus)' is full; name another")
        }
        let place = (device: number, function: device.function)
        do {
            switch device.contents {
            case .rootPort(let portNumber):
                guard isOnRoot else {
                    throw MachineError("-device \(device.id): a root port is on \(PCIDeviceDescription.rootBus)")
                }
                let function = try PCIExpressRootPort(
                    PCIExpressRootPort.Options(
                        name: device.id, port: portNumber, slot: UInt16(portNumber),
                        isMultifunction: device.isMultifunction),
                    messages: board.messages, logger: logger,
                    // Not on the virtual CPU's thread, which may not close what a device has of the host's.
                    onEject: { [loop] functions in
                        loop.execute { for function in functions { function.shutDown() } }
                    })
                try bus.insert(function, device: place.device, function: place.function)
                ports[device.id] = Port(function: function, place: place)
            case .virtio(let contents):
                if isConfined { contents.prepare(for: machine.memory) }
                let function = try VirtioPCITransport(
                    device: contents, memory: machine.memory, placement: isOnRoot ? .rootBus : .port,
                    isMultifunction: device.isMultifunction, messages: board.messages, doorbells: machine, logger: logger)
                if let port {
                    try port.function.insert(function, function: place.function)
                } else {
                    try bus.insert(function, device: place.device, function: place.function)
                }
                if let index = device.bootIndex, contents.type == .block {
                    let path = FirmwareDevicePath.virtioBlock([port?.place, place].compactMap { $0 })
                    bootable.append((index, path))
                }
            }
        } catch let error as MachineError {
            throw error
        } catch {
            throw MachineError("-device \(error)")
        }
    }

    /// Makes sure that the guest finds all of them.
    func check() throws(MachineError) {
        do {
            try board.pci.rootBus.checkDevices()
            for port in ports.values { try port.function.secondaryBus.checkDevices() }
        } catch {
            throw MachineError("-device \(error)")
        }
    }
}
