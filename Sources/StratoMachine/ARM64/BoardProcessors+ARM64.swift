#if arch(arm64)
internal import StratoBoot
internal import StratoFirmwareTables
internal import StratoKVM
internal import StratoMemory

/// A board's virtual CPUs, and the interrupt controller that KVM makes for them.
///
/// KVM wants all virtual CPUs before the interrupt controller, and that before any interrupt line: everything is made here at once.
final class BoardProcessors: Sendable {
    /// Where the interrupt controller is, on every board.
    private enum Layout {
        static let distributorBase: UInt64 = 0x0800_0000
        static let translationServiceBase: UInt64 = 0x0808_0000
        static let redistributorBase: UInt64 = 0x080A_0000
        static let lowRedistributorCount = 123
        static let highRedistributorAlignment: UInt64 = 0x20_0000
    }

    let processors: [KVMProcessor]
    private let affinities: [UInt64]
    private let layout: KVMInterruptController.Layout
    private let controller: KVMInterruptController
    private let features: ProcessorFeatures

    /// The performance monitors' private interrupt, as a GIC counts it.
    private static let monitorInterrupt = 16 + ARMMachineTree.PrivateInterrupt.performanceMonitors

    /// Makes the virtual machine, so that all of a board's addresses are ones that it has.
    ///
    /// - Parameters:
    ///   - processorCount: how many virtual CPUs it is for.
    ///   - memory: the guest's RAM.
    ///   - system: the host's KVM.
    ///   - highRedistributorBase: where redistributors go that find no room below, or behind RAM where it reaches further.
    ///   - lastAddress: the highest address of the board's other devices.
    /// - Throws: `MachineError`.
    static func makeMachine(
        processorCount: Int, memory: GuestMemory, system: KVMSystem, highRedistributorBase: UInt64, lastAddress: UInt64 = 0
    ) throws(MachineError) -> KVMVirtualMachine {
        let limit = system.maximumProcessorCount
        guard processorCount <= limit else {
            throw MachineError(
                "-smp: KVM on this host runs at most \(limit) virtual CPUs in a machine, not \(processorCount)")
        }
        let ranges = redistributors(processorCount, memory, highRedistributorBase)
        let ends = ranges.map { $0.base &+ UInt64($0.count) &* KVMInterruptController.redistributorSize &- 1 }
        return try building {
            try KVMVirtualMachine(
                system: system, memory: memory, lastDeviceAddress: GuestAddress(ends.reduce(lastAddress, max)))
        }
    }

    /// Where the redistributors are: one range, or two.
    private static func redistributors(
        _ processorCount: Int, _ memory: GuestMemory, _ highBase: UInt64
    ) -> [KVMInterruptController.Redistributors] {
        let low = KVMInterruptController.Redistributors(
            base: Layout.redistributorBase, count: min(processorCount, Layout.lowRedistributorCount))
        guard processorCount > low.count else { return [low] }
        let mask = Layout.highRedistributorAlignment - 1
        let memoryEnd = memory.ranges.last.map { $0.last.value &+ 1 } ?? 0
        let base = max(highBase, (memoryEnd &+ mask) & ~mask)
        return [low, KVMInterruptController.Redistributors(base: base, count: processorCount - low.count)]
    }

    /// - Parameters:
    ///   - machine: made by `makeMachine` with the same number.
    ///   - count: how many.
    ///   - features: what they can do.
    ///   - highRedistributorBase: as given to `makeMachine`.
    /// - Throws: `MachineError`.
    init(
        _ machine: KVMVirtualMachine, count: Int, features: ProcessorFeatures, highRedistributorBase: UInt64
    ) throws(MachineError) {
        let processors = try building {
            try (0..<count).map { index in
                let processor = try machine.makeProcessor(index: index)
                try processor.reset(isPoweredOff: index > 0, features: features)
                return processor
            }
        }
        affinities = try building { try processors.map { try $0.affinity() } }
        let layout = KVMInterruptController.Layout(
            distributor: Layout.distributorBase, translationService: Layout.translationServiceBase,
            redistributors: BoardProcessors.redistributors(count, machine.memory, highRedistributorBase))
        controller = try building { try KVMInterruptController(machine: machine, layout: layout) }
        try building {
            for processor in processors {
                try processor.finalize(features, monitorInterrupt: BoardProcessors.monitorInterrupt)
            }
        }
        self.features = features
        self.layout = layout
        self.processors = processors
    }

    /// The tree of a machine with these processors and this memory, and nothing else yet.
    func tree(topology: ProcessorLayout, memory: [GuestRange]) -> ARMMachineTree {
        let topology = topology.visible
        let descriptions = affinities.enumerated().map { index, affinity in
            let place = topology.position(of: index)
            return ARMMachineTree.Processor(
                affinity: affinity,
                position: ARMMachineTree.Position(
                    socket: place.socket, cluster: place.cluster, core: place.core, thread: place.thread))
        }
        var tree = ARMMachineTree(
            processors: descriptions, memory: memory.map(PhysicalRange.init),
            interruptController: ARMMachineTree.InterruptController(
                distributor: PhysicalRange(base: layout.distributor, size: KVMInterruptController.distributorSize),
                redistributors: layout.redistributors.map {
                    PhysicalRange(base: $0.base, size: UInt64($0.count) * KVMInterruptController.redistributorSize)
                },
                translationService: PhysicalRange(
                    base: layout.translationService, size: KVMInterruptController.translationServiceSize)))
        tree.hasPerformanceMonitors = features.hasPMU
        return tree
    }

    /// Puts processors and controller back to how they were made; the boot processor needs its start then.
    ///
    /// - Throws: `MachineError`.
    func reset() throws(MachineError) {
        try building {
            for processor in processors { try processor.reset(isPoweredOff: processor.index > 0, features: features) }
            try controller.reset(affinities: affinities)
        }
    }

    /// Gives the boot processor its registers.
    ///
    /// - Throws: `MachineError`.
    func setStart(_ state: BootState) throws(MachineError) {
        try building {
            try processors.first?.setStart(
                ProcessorStart(programCounter: state.programCounter, arguments: [state.deviceTree, 0, 0, 0]))
        }
    }

    /// Random bytes for the kernel's generator.
    @Sendable
    static func randomSeed() -> [UInt8] {
        var generator = SystemRandomNumberGenerator()
        return (0..<LinuxBoot.seedSize).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
    }
}
#endif
