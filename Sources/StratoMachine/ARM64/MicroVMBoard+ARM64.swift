#if arch(arm64)
internal import StratoBoot
internal import StratoFirmwareTables
internal import StratoHost
internal import StratoKVM
package import StratoMemory
internal import StratoVirtio

/// What a microVM on aarch64 has beside its virtio slots: a GICv3 with its translation service and the architected timer in
/// KVM, a PL011, a PL031, and PSCI for all that has to do with power.
package final class MicroVMBoard: Sendable {
    /// Addresses of the board, and shared interrupts.
    enum Layout {
        static let virtioBase: UInt32 = 0x0A00_0000
        static let memoryBase: UInt64 = 0x4000_0000
        static let highRedistributorBase: UInt64 = 0x40_0000_0000
        static let firstVirtioInterrupt: UInt32 = 32
    }

    /// Interrupts 32...191 are the virtio devices'.
    package static let slotCount = 160

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

    private let machine: KVMVirtualMachine
    private let processorSet: BoardProcessors
    private let peripherals: ARMPeripherals
    private let boot: LinuxBoot

    /// Makes the virtual machine, so that all of the board's addresses are ones that it has.
    ///
    /// - Throws: `MachineError`.
    static func makeMachine(
        _ description: MicroVM.Description, memory: GuestMemory, system: KVMSystem
    ) throws(MachineError) -> KVMVirtualMachine {
        try BoardProcessors.makeMachine(
            processorCount: description.processorCount, memory: memory, system: system,
            highRedistributorBase: Layout.highRedistributorBase)
    }

    /// Makes the virtual CPUs, the interrupt controller and the board's devices, and opens the kernel.
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
        processorSet = try BoardProcessors(
            machine, count: description.processorCount, features: description.processorFeatures,
            highRedistributorBase: Layout.highRedistributorBase)
        peripherals = try ARMPeripherals(
            machine, serialBackend: description.serialBackend,
            markers: description.hasBootMarkers ? BootMarkers(start: description.startTime, logger: logger) : nil,
            loop: description.clockLoop, mmio: mmio)
        var tree = processorSet.tree(topology: description.topology, memory: machine.memory.ranges)
        peripherals.describe(in: &tree)
        tree.virtioDevices = slots.map { slot in
            ARMMachineTree.Device(
                registers: PhysicalRange(base: UInt64(slot.base), size: UInt64(Slot.size)),
                interrupt: slot.interrupt)
        }
        tree.commandLine = description.boot.commandLine
        let source = description.boot
        let finishedTree = tree
        boot = try building {
            LinuxBoot(
                kernel: try source.openKernel(),
                ramdisk: try source.openInitialRamdisk(),
                tree: finishedTree, seed: BoardProcessors.randomSeed)
        }
        self.machine = machine
    }

    // MARK: Processors

    /// The virtual CPUs, which were made with the board.
    func makeProcessors() throws(MachineError) -> [KVMProcessor] { processorSet.processors }

    /// Loads the kernel and gives the boot processor its registers; the others wait for it to start them.
    ///
    /// - Throws: `MachineError`.
    func load(into processors: [KVMProcessor]) throws(MachineError) {
        try processorSet.setStart(try building { try boot.place(in: machine.memory) })
    }

    /// Puts processors, controllers, devices and memory back to the first instruction.
    ///
    /// - Throws: `MachineError`.
    func reset(_ processors: [KVMProcessor]) throws(MachineError) {
        peripherals.reset()
        try processorSet.reset()
        try load(into: processors)
    }

    // MARK: Ends

    /// A microVM on aarch64 has no power button.
    func pressPowerButton() -> Bool { false }
}
#endif
