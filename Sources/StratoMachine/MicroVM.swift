package import StratoHost
package import StratoKVM
package import StratoMemory
package import StratoVirtio

/// The smallest machine that boots Linux: virtio devices on memory-mapped registers, one serial port, and what is needed
/// to find them and to end.
///
/// What the board adds to the virtio slots (interrupt controller, serial port, clocks, power) is the architecture's, in
/// `MicroVMBoard`.
package final class MicroVM: Machine {
    /// A virtio device and the kind of slot that it takes.
    package struct SlotDevice: Sendable {
        package let kind: SlotKind
        package let device: any VirtioDevice

        package init(kind: SlotKind, device: any VirtioDevice) {
            self.kind = kind
            self.device = device
        }
    }

    /// The first slots are kept for block devices, the next for network devices, so that a device's address and interrupt
    /// depend on its own kind alone.
    package enum SlotKind: Sendable, Hashable, CaseIterable {
        case block, network, other

        /// The positions of a kind's slots.
        package var positions: Range<Int> {
            switch self {
            case .block: 0..<4
            case .network: 4..<6
            case .other: 6..<MicroVMBoard.slotCount
            }
        }
    }

    /// What a microVM is made of. Everything on the host is open already.
    package struct Description: Sendable {
        package var processorCount = 1
        package var topology: ProcessorLayout
        package var processorFeatures = ProcessorFeatures()
        package var boot: BootSource
        /// In the order in which each kind's slots are filled.
        package var devices: [SlotDevice] = []
        package var serialBackend: (any CharacterBackend)?
        package var hasACPI = true
        package var hasBootMarkers = false
        /// What the machine's own threads give up.
        package var confinement = MachineConfinement()
        /// Where the alarm of the board's clock comes from, on boards that have one; nil for a clock without.
        package var clockLoop: EventLoop?
        /// What boot markers are counted from.
        package var startTime = MonotonicClock.now

        package init(boot: BootSource, topology: ProcessorLayout) {
            self.boot = boot
            self.topology = topology
        }
    }

    package let memory: GuestMemory
    private let machine: KVMVirtualMachine
    private let board: MicroVMBoard
    private let processors: [KVMProcessor]
    private let group: ProcessorGroup
    private let transports: [VirtioMMIOTransport]
    private let link: RequestLink

    /// Builds the machine up to the first instruction, its virtual CPUs not started.
    ///
    /// - Parameters:
    ///   - description: what to build.
    ///   - memory: the guest's RAM, laid out as `MicroVMBoard.memoryRanges` says.
    ///   - system: the host's KVM.
    ///   - logger: for the devices.
    ///   - onRequest: called when the guest asks for its end, on a virtual CPU's thread; must not block.
    /// - Throws: `MachineError`.
    package init(
        _ description: Description, memory: GuestMemory, system: KVMSystem, logger: Logger,
        onRequest: @escaping @Sendable (GuestRequest) -> Void
    ) throws(MachineError) {
        let machine = try MicroVMBoard.makeMachine(description, memory: memory, system: system)
        let ports = Bus(name: "port")
        let mmio = Bus(name: "MMIO")
        let link = RequestLink()
        var slots: [MicroVMBoard.Slot] = []
        var slotDevices: [any VirtioDevice] = []
        for kind in SlotKind.allCases {
            let devices = description.devices.filter { $0.kind == kind }
            guard devices.count <= kind.positions.count else {
                throw MachineError("a microVM has room for \(kind.positions.count) devices of a kind, not \(devices.count)")
            }
            slots += zip(kind.positions, devices).map { position, _ in MicroVMBoard.slot(position) }
            slotDevices += devices.map(\.device)
        }
        let board = try MicroVMBoard(
            machine: machine, description: description, slots: slots, ports: ports, mmio: mmio, logger: logger,
            onRequest: { request in link.send(request) })
        var transports: [VirtioMMIOTransport] = []
        for (slot, device) in zip(slots, slotDevices) {
            let base = GuestAddress(UInt64(slot.base))
            let transport = try building {
                VirtioMMIOTransport(
                    device: device, memory: memory, base: base, interrupt: try machine.interruptLine(slot.interrupt),
                    doorbells: machine, logger: logger)
            }
            if description.confinement.filtersSystemCalls { device.prepare(for: memory) }
            try mmio.insert(transport, at: base.value, size: VirtioMMIOTransport.size)
            transports.append(transport)
        }
        let processors = try board.makeProcessors()
        try board.load(into: processors)
        group = ProcessorGroup(
            processors: processors, ports: ports, mmio: mmio, logger: logger,
            confinement: description.confinement.processor, onRequest: { link.send($0) })
        self.memory = memory
        self.machine = machine
        self.board = board
        self.processors = processors
        self.transports = transports
        self.link = link
        link.connect(to: group, onRequest)
    }

    /// Starts the threads of the virtual CPUs, which wait for `release`.
    ///
    /// - Throws: `MachineError`.
    package func start() throws(MachineError) {
        try building { try group.start() }
    }

    /// Lets the guest run.
    package func release() {
        for transport in transports { transport.device.resume() }
        group.release()
    }

    /// Stops the guest, then its devices: requests in flight are finished.
    ///
    /// - Returns: false if a virtual CPU did not stop in time; the guest then goes on.
    package func hold() -> Bool {
        guard group.holdOrRelease() else { return false }
        for transport in transports { transport.device.pause() }
        return true
    }

    /// Puts the held machine back to its first instruction.
    ///
    /// - Throws: `MachineError`.
    package func reset() throws(MachineError) {
        for transport in transports { transport.reset() }
        try board.reset(processors)
        link.reset()
    }

    /// Tells the guest that its power button was pressed.
    ///
    /// - Returns: false if the guest has no such button.
    package func pressPowerButton() -> Bool {
        board.pressPowerButton()
    }

    /// Ends the virtual CPUs and the devices. The last call.
    package func shutDown() {
        group.end()
        for transport in transports { transport.shutDown() }
    }

    /// One line with the registers of each virtual CPU of the held machine.
    package func registerSummaries() -> [String] { processors.map { $0.registerSummary() } }

    /// The kernel's identifiers of the virtual CPUs' threads.
    package var processorThreadIDs: [Int32] { group.threadIDs }
}
