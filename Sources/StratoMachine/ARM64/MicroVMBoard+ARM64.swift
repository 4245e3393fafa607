#if arch(arm64)
internal import StratoBoot
internal import StratoFirmwareTables
internal import StratoHost
internal import StratoKVM
package import StratoMemory
internal import StratoPlatform
internal import StratoVirtio

/// What a microVM on aarch64 has beside its virtio slots: a GICv3 with its translation service and the architected timer in
/// KVM, a PL011, a PL031, and PSCI for all that has to do with power.
package final class MicroVMBoard: Sendable {
    /// A virtio-mmio register block and its interrupt.
    package struct Slot: Sendable, Equatable {
        package let base: UInt32
        package let interrupt: UInt32
    }

    /// Addresses of the board, and shared interrupts.
    enum Layout {
        static let distributorBase: UInt64 = 0x0800_0000
        static let translationServiceBase: UInt64 = 0x0808_0000
        static let redistributorBase: UInt64 = 0x080A_0000
        static let lowRedistributorCount = 123
        /// Where those go that find no room there, or behind RAM where it reaches further.
        static let highRedistributorBase: UInt64 = 0x40_0000_0000
        static let highRedistributorAlignment: UInt64 = 0x20_0000
        static let serialBase: UInt64 = 0x0900_0000
        static let clockBase: UInt64 = 0x0901_0000
        static let virtioBase: UInt32 = 0x0A00_0000
        static let memoryBase: UInt64 = 0x4000_0000

        static let serialInterrupt: UInt32 = 1
        static let clockInterrupt: UInt32 = 2
        static let firstVirtioInterrupt: UInt32 = 32
    }

    /// Interrupts 32...191 are the virtio devices'.
    package static let slotCount = 160

    private static let slotSize = UInt32(VirtioMMIOTransport.size)

    /// The slot at a position, 0..<`slotCount`.
    package static func slot(_ position: Int) -> Slot {
        Slot(
            base: Layout.virtioBase + UInt32(position) * slotSize,
            interrupt: Layout.firstVirtioInterrupt + UInt32(position))
    }

    /// Where RAM of a given size lies.
    ///
    /// - Parameter size: in bytes, a multiple of 4 KiB.
    /// - Returns: one range.
    /// - Throws: `MachineError` if the size is not one that a machine can have.
    package static func memoryRanges(_ size: UInt64) throws(MachineError) -> [GuestRange] {
        guard let range = GuestRange(base: GuestAddress(Layout.memoryBase), size: size) else {
            throw MachineError("-m: a machine needs memory")
        }
        return [range]
    }

    /// Where the redistributors are: one range, or two.
    static func redistributors(_ processorCount: Int, memoryEnd: UInt64) -> [KVMInterruptController.Redistributors] {
        let low = KVMInterruptController.Redistributors(
            base: Layout.redistributorBase, count: min(processorCount, Layout.lowRedistributorCount))
        guard processorCount > low.count else { return [low] }
        let mask = Layout.highRedistributorAlignment - 1
        let base = max(Layout.highRedistributorBase, (memoryEnd &+ mask) & ~mask)
        return [low, KVMInterruptController.Redistributors(base: base, count: processorCount - low.count)]
    }

    private let machine: KVMVirtualMachine
    private let processors: [KVMProcessor]
    private let affinities: [UInt64]
    private let controller: KVMInterruptController
    private let boot: LinuxBoot
    private let serial: PL011?
    private let clock: PL031

    /// Makes the virtual machine, so that all of the board's addresses are ones that it has.
    ///
    /// - Throws: `MachineError`.
    static func makeMachine(
        _ description: MicroVM.Description, memory: GuestMemory, system: KVMSystem
    ) throws(MachineError) -> KVMVirtualMachine {
        let limit = system.maximumProcessorCount
        guard description.processorCount <= limit else {
            throw MachineError(
                "-smp: KVM on this host runs at most \(limit) virtual CPUs in a machine, not \(description.processorCount)")
        }
        let ranges = redistributors(description.processorCount, memoryEnd: memoryEnd(memory))
        let last = ranges.map { range in
            range.base &+ UInt64(range.count) &* KVMInterruptController.redistributorSize &- 1
        }
        return try building {
            try KVMVirtualMachine(
                system: system, memory: memory, lastDeviceAddress: GuestAddress(last.max() ?? 0))
        }
    }

    private static func memoryEnd(_ memory: GuestMemory) -> UInt64 {
        memory.ranges.last.map { $0.last.value &+ 1 } ?? Layout.memoryBase
    }

    /// Makes the virtual CPUs, the interrupt controller and the board's devices, and opens the kernel.
    ///
    /// KVM wants all virtual CPUs before the interrupt controller, and that before any interrupt line.
    ///
    /// - Parameters:
    ///   - machine: made by `makeMachine` of the same description.
    ///   - description: what to build.
    ///   - slots: the virtio slots that are taken, for the device tree.
    ///   - ports: stays empty; this architecture has none.
    ///   - mmio: gets the board's devices.
    ///   - logger: for the devices.
    ///   - onRequest: called when the guest asks for its end; here that comes from KVM itself.
    /// - Throws: `MachineError`.
    init(
        machine: KVMVirtualMachine, description: MicroVM.Description, slots: [Slot], ports: Bus, mmio: Bus, logger: Logger,
        onRequest: @escaping @Sendable (GuestRequest) -> Void
    ) throws(MachineError) {
        let processors = try building {
            try (0..<description.processorCount).map { index in
                let processor = try machine.makeProcessor(index: index)
                try processor.reset(isPoweredOff: index > 0)
                return processor
            }
        }
        let affinities = try building { try processors.map { try $0.affinity() } }
        let layout = KVMInterruptController.Layout(
            distributor: Layout.distributorBase, translationService: Layout.translationServiceBase,
            redistributors: MicroVMBoard.redistributors(processors.count, memoryEnd: MicroVMBoard.memoryEnd(machine.memory)))
        controller = try building { try KVMInterruptController(machine: machine, layout: layout) }

        let markers = description.hasBootMarkers ? BootMarkers(start: description.startTime, logger: logger) : nil
        var serial: PL011?
        if let backend = description.serialBackend {
            let line = try building { try machine.levelInterruptLine(Layout.serialInterrupt) }
            var onMarker: (@Sendable (UInt8) -> Void)?
            if let markers { onMarker = { value in markers.mark(value) } }
            let device = PL011(interrupt: line, backend: backend, onMarker: onMarker)
            try MicroVMBoard.insert(device, mmio, Layout.serialBase, PL011.registerSize)
            serial = device
        } else if let markers {
            try MicroVMBoard.insert(markers, mmio, Layout.serialBase + PL011.bootMarkerOffset, 4)
        }
        let clockLine = try building { try machine.levelInterruptLine(Layout.clockInterrupt) }
        clock = PL031(interrupt: clockLine, loop: description.clockLoop)
        try MicroVMBoard.insert(clock, mmio, Layout.clockBase, PL031.registerSize)

        let tree = MicroVMBoard.tree(
            description, memory: machine.memory.ranges, affinities, layout, slots, hasSerialPort: serial != nil)
        boot = try building {
            let source = description.boot
            return LinuxBoot(
                kernel: try BootFile(option: "-kernel", opening: source.kernelPath),
                ramdisk: try source.initialRamdiskPath.map { try BootFile(option: "-initrd", opening: $0) },
                tree: tree, seed: MicroVMBoard.randomBytes)
        }
        self.machine = machine
        self.processors = processors
        self.affinities = affinities
        self.serial = serial
    }

    private static func insert(_ device: any BusDevice, _ bus: Bus, _ base: UInt64, _ size: UInt64) throws(MachineError) {
        guard let range = GuestRange(base: GuestAddress(base), size: size) else {
            throw MachineError("no range of \(size) bytes at \(base)")
        }
        try building { try bus.insert(device, at: range) }
    }

    @Sendable
    private static func randomBytes() -> [UInt8] {
        var generator = SystemRandomNumberGenerator()
        return (0..<LinuxBoot.seedSize).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
    }

    private static func tree(
        _ description: MicroVM.Description, memory: [GuestRange], _ affinities: [UInt64],
        _ layout: KVMInterruptController.Layout, _ slots: [Slot], hasSerialPort: Bool
    ) -> ARMMachineTree {
        let topology = description.topology.visible
        let processors = affinities.enumerated().map { index, affinity in
            let place = topology.position(of: index)
            return ARMMachineTree.Processor(
                affinity: affinity,
                position: ARMMachineTree.Position(
                    socket: place.socket, cluster: place.cluster, core: place.core, thread: place.thread))
        }
        var tree = ARMMachineTree(
            processors: processors, memory: memory.map { PhysicalRange(base: $0.base.value, size: $0.size) },
            interruptController: ARMMachineTree.InterruptController(
                distributor: PhysicalRange(base: layout.distributor, size: KVMInterruptController.distributorSize),
                redistributors: layout.redistributors.map {
                    PhysicalRange(base: $0.base, size: UInt64($0.count) * KVMInterruptController.redistributorSize)
                },
                translationService: PhysicalRange(
                    base: layout.translationService, size: KVMInterruptController.translationServiceSize)))
        if hasSerialPort {
            tree.serialPort = ARMMachineTree.Device(
                registers: PhysicalRange(base: Layout.serialBase, size: PL011.registerSize), interrupt: Layout.serialInterrupt)
        }
        tree.clock = ARMMachineTree.Device(
            registers: PhysicalRange(base: Layout.clockBase, size: PL031.registerSize), interrupt: Layout.clockInterrupt)
        tree.virtioDevices = slots.map { slot in
            ARMMachineTree.Device(
                registers: PhysicalRange(base: UInt64(slot.base), size: UInt64(slotSize)), interrupt: slot.interrupt)
        }
        tree.commandLine = description.boot.commandLine
        return tree
    }

    // MARK: Processors

    /// The virtual CPUs, which were made with the board.
    func makeProcessors() throws(MachineError) -> [KVMProcessor] { processors }

    /// Loads the kernel and gives the boot processor its registers; the others wait for it to start them.
    ///
    /// - Throws: `MachineError`.
    func load(into processors: [KVMProcessor]) throws(MachineError) {
        try building {
            let state = try boot.place(in: machine.memory)
            try processors.first?.setStart(
                ProcessorStart(programCounter: state.programCounter, arguments: [state.deviceTree, 0, 0, 0]))
        }
    }

    /// Puts processors, controllers, devices and memory back to the first instruction.
    ///
    /// - Throws: `MachineError`.
    func reset(_ processors: [KVMProcessor]) throws(MachineError) {
        serial?.reset()
        clock.reset()
        try building {
            for processor in processors { try processor.reset(isPoweredOff: processor.index > 0) }
            try controller.reset(affinities: affinities)
        }
        try load(into: processors)
    }

    // MARK: Ends

    /// A microVM on aarch64 has no power button.
    func pressPowerButton() -> Bool { false }
}
#endif
