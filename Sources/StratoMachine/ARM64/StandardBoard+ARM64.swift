#if arch(arm64)
internal import StratoBoot
internal import StratoFirmwareTables
internal import StratoHost
internal import StratoKVM
package import StratoMemory
internal import StratoPCI
internal import StratoPlatform

/// A virt: what a standard machine on aarch64 has beside the devices on its PCI buses.
package final class StandardBoard: Sendable {
    /// Addresses of the board, and shared interrupts.
    enum Layout {
        /// Each has this room.
        static let flashBases: [UInt64] = [0, 0x0400_0000]
        static let flashRoom: UInt64 = 0x0400_0000
        static let firmwareConfigurationBase: UInt64 = 0x0902_0000
        static let eventDeviceBase: UInt32 = 0x0908_0000
        static let memoryWindow: Range<UInt64> = 0x1000_0000..<0x3EFF_0000
        static let portWindowBase: UInt64 = 0x3EFF_0000
        static let portWindowSize: UInt64 = 0x1_0000
        static let memoryBase: UInt64 = 0x4000_0000
        static let highRedistributorBase: UInt64 = 0x7F_8000_0000
        static let configurationSpace: UInt64 = 0x7F_C000_0000
        static let configurationSpaceSize: UInt64 = 256 << 20
        static let highMemoryWindow: Range<UInt64> = 0x80_0000_0000..<0x100_0000_0000

        static let eventDeviceInterrupt: UInt32 = 9
        static let pciInterrupts: ClosedRange<UInt32> = 16...19
    }

    /// Device numbers of bus 0 that the board has.
    package static let reservedDevices: Set<UInt8> = [0]

    /// Where RAM of a given size lies.
    ///
    /// - Parameter size: in bytes, a multiple of 4 KiB.
    /// - Returns: one range.
    /// - Throws: `MachineError` if the size is not one that a machine can have.
    package static func memoryRanges(_ size: UInt64) throws(MachineError) -> [GuestRange] {
        let room = Layout.highRedistributorBase - Layout.memoryBase
        guard size <= room else {
            throw MachineError("-m: this machine has room for \(room >> 30) GiB of memory; give it less")
        }
        guard let range = GuestRange(base: GuestAddress(Layout.memoryBase), size: size) else {
            throw MachineError("-m: a machine needs memory")
        }
        return [range]
    }

    let pci: PCIHostBridge
    let messages: KVMMessageInterrupts

    private let machine: KVMVirtualMachine
    private let processorSet: BoardProcessors
    private let peripherals: ARMPeripherals
    private let eventDevice: GenericEventDevice
    private let tree: ARMMachineTree
    private let start: Start

    /// Who starts the system.
    private enum Start {
        case firmware(BoardFirmware)
        case kernel(LinuxBoot)
    }

    private var firmware: BoardFirmware? {
        if case .firmware(let firmware) = start { firmware } else { nil }
    }

    /// Makes the virtual machine, so that all of the board's addresses are ones that it has.
    ///
    /// - Throws: `MachineError`.
    static func makeMachine(
        _ description: StandardVM.Description, memory: GuestMemory, system: KVMSystem
    ) throws(MachineError) -> KVMVirtualMachine {
        try BoardProcessors.makeMachine(
            processorCount: description.processorCount, memory: memory, system: system,
            highRedistributorBase: Layout.highRedistributorBase,
            lastAddress: highWindow(system)?.last.value ?? Layout.configurationSpace + Layout.configurationSpaceSize - 1)
    }

    /// The upper window of PCI, nil on a host whose KVM does not address it.
    private static func highWindow(_ system: KVMSystem) -> GuestRange? {
        let window = Layout.highMemoryWindow
        guard (window.upperBound - 1) >> UInt64(system.addressBits) == 0 else { return nil }
        return GuestRange(base: GuestAddress(window.lowerBound), size: UInt64(window.count))
    }

    /// Makes the interrupt controllers and the board's devices, and opens kernel and firmware.
    ///
    /// - Parameters:
    ///   - machine: made by `makeMachine` of the same description.
    ///   - description: what to build; devices are inserted by the caller.
    ///   - ports: what functions of PCI have of ports.
    ///   - mmio: gets the board's devices.
    ///   - loop: serves the clocks.
    ///   - logger: for the devices.
    ///   - onRequest: called when the guest asks for a reset or its end; here that comes from KVM itself.
    /// - Throws: `MachineError`.
    init(
        machine: KVMVirtualMachine, description: StandardVM.Description, ports: Bus, mmio: Bus, loop: EventLoop,
        logger: Logger, onRequest: @escaping @Sendable (GuestRequest) -> Void
    ) throws(MachineError) {
        processorSet = try BoardProcessors(
            machine, count: description.processorCount, features: description.processorFeatures,
            highRedistributorBase: Layout.highRedistributorBase)
        messages = KVMMessageInterrupts(machine: machine)
        let router = try building {
            try PCIInterruptRouter(Layout.pciInterrupts.map { try machine.levelInterruptLine($0) })
        }
        let window = Layout.memoryWindow
        let windows = [
            GuestRange(base: GuestAddress(window.lowerBound), size: UInt64(window.count)),
            StandardBoard.highWindow(machine.system),
        ].compactMap { $0 }
        let portRange = GuestRange(base: GuestAddress(0), size: Layout.portWindowSize)
        pci = PCIHostBridge(
            memory: mmio, ports: ports,
            apertures: PCIAddressMap.Windows(memory: windows, ports: [portRange].compactMap { $0 }), interrupts: router,
            logger: logger)
        // What is on its buses by then holds it.
        do {
            try building { [pci] in try pci.rootBus.insert(try PCIGenericHostBridge(), device: 0) }
            try mmio.insert(
                PCIEnhancedConfiguration(host: pci), at: Layout.configurationSpace, size: Layout.configurationSpaceSize)
            try mmio.insert(PortWindow(ports), at: Layout.portWindowBase, size: Layout.portWindowSize)
            peripherals = try ARMPeripherals(
                machine, serialBackend: description.serialBackend,
                markers: description.hasBootMarkers ? BootMarkers(start: description.startTime, logger: logger) : nil,
                loop: loop, mmio: mmio)

            eventDevice = GenericEventDevice(
                interrupt: try building { try machine.interruptLine(Layout.eventDeviceInterrupt) })
            try mmio.insert(
                eventDevice, at: UInt64(Layout.eventDeviceBase), size: GenericEventDevice.registerSize)

            var tree = processorSet.tree(topology: description.topology, memory: machine.memory.ranges)
            peripherals.describe(in: &tree)
            tree.pci = StandardBoard.treeOfPCI(windows)
            if let images = description.firmware {
                let firmware = try StandardBoard.makeFirmware(
                    images, description, machine, mmio: mmio, loop: loop, logger: logger)
                tree.flash = firmware.flash.map { PhysicalRange($0.range) }
                tree.firmwareConfiguration = PhysicalRange(
                    base: Layout.firmwareConfigurationBase, size: FirmwareConfigurationRegisters.size)
                try StandardBoard.addTables(of: tree, to: firmware.configuration)
                start = .firmware(firmware)
            } else {
                let source = try description.bootWithoutFirmware
                tree.commandLine = source.commandLine
                let finishedTree = tree
                start = .kernel(
                    try building {
                        LinuxBoot(
                            kernel: try source.openKernel(),
                            ramdisk: try source.openInitialRamdisk(),
                            tree: finishedTree, seed: BoardProcessors.randomSeed)
                    })
            }
            self.tree = tree
            self.machine = machine
        } catch {
            pci.shutDown()
            throw error
        }
    }

    private static func treeOfPCI(_ windows: [GuestRange]) -> ARMMachineTree.PCIHost {
        ARMMachineTree.PCIHost(
            configurationSpace: PhysicalRange(base: Layout.configurationSpace, size: Layout.configurationSpaceSize),
            ports: PhysicalRange(base: Layout.portWindowBase, size: Layout.portWindowSize),
            windows: windows.map(PhysicalRange.init),
            firstInterrupt: Layout.pciInterrupts.lowerBound)
    }

    // MARK: Firmware

    private static func makeFirmware(
        _ firmware: StandardVM.Firmware, _ description: StandardVM.Description, _ machine: KVMVirtualMachine, mmio: Bus,
        loop: EventLoop, logger: Logger
    ) throws(MachineError) -> BoardFirmware {
        var made = BoardFirmware(memory: machine.memory, logger: logger)
        let storages: [(FlashUnit, any FlashStorage)] = [
            (.code, firmware.code), (.variables, firmware.variables ?? EphemeralFlash()),
        ]
        for ((unit, storage), base) in zip(storages, Layout.flashBases) {
            try building { try unit.check(storage, geometry: .virt) }
            guard let range = GuestRange(base: GuestAddress(base), size: storage.size) else {
                throw MachineError("-drive if=pflash,unit=\(unit.rawValue): \(storage.name) is empty")
            }
            try made.addBank(unit, storage, geometry: .virt, in: range, machine, mmio: mmio, loop: loop, logger: logger)
        }
        try mmio.insert(
            FirmwareConfigurationRegisters(made.configuration), at: Layout.firmwareConfigurationBase,
            size: FirmwareConfigurationRegisters.size)
        try made.describe(description, memory: machine.memory.ranges.map(PhysicalRange.init))
        return made
    }

    /// Offers the machine's ACPI tables, which take the device tree's place for the system that is started.
    private static func addTables(of tree: ARMMachineTree, to configuration: FirmwareConfiguration) throws(MachineError) {
        let tables = ARMMachineTables(
            machine: tree,
            eventDevice: EventDeviceDescription(
                base: Layout.eventDeviceBase,
                interrupt: ARMMachineTables.globalInterrupt(ofShared: Layout.eventDeviceInterrupt)))
        try building {
            let files = try tables.files()
            try configuration.addFile(ACPITableFiles.tablesName, files.tables)
            try configuration.addFile(ACPITableFiles.pointerName, files.pointer)
            try configuration.addFile(ACPITableFiles.loaderName, files.loader)
        }
    }

    /// Tells firmware what to boot from, first to last.
    ///
    /// - Throws: `MachineError`.
    func offerBootOrder(_ paths: [String]) throws(MachineError) {
        try firmware?.offerBootOrder(paths)
    }

    /// Firmware reads of the tree what the machine has, at the start of RAM.
    private func placeTree() throws(MachineError) -> BootState {
        var tree = tree
        tree.randomSeed = BoardProcessors.randomSeed()
        let finishedTree = tree
        return try building {
            let blob = try finishedTree.tree().encode()
            try machine.memory.write(blob, at: GuestAddress(Layout.memoryBase))
            return BootState(programCounter: Layout.flashBases[0], deviceTree: Layout.memoryBase)
        }
    }

    // MARK: Processors

    /// The virtual CPUs, which were made with the board.
    func makeProcessors() throws(MachineError) -> [KVMProcessor] { processorSet.processors }

    /// Puts what is started into memory, and gives the boot processor its registers; the others wait for it to start them.
    ///
    /// - Throws: `MachineError`.
    func load(into processors: [KVMProcessor]) throws(MachineError) {
        switch start {
        case .firmware: try processorSet.setStart(try placeTree())
        case .kernel(let boot): try processorSet.setStart(try building { try boot.place(in: machine.memory) })
        }
    }

    /// Puts processors, controllers, devices and memory back to the first instruction.
    ///
    /// - Throws: `MachineError`.
    func reset(_ processors: [KVMProcessor]) throws(MachineError) {
        pci.reset()
        peripherals.reset()
        eventDevice.reset()
        firmware?.reset()
        try processorSet.reset()
        try load(into: processors)
    }

    // MARK: Life cycle

    /// What the devices of the board have written outlives the host when this returns.
    func settle() { firmware?.settle() }

    /// Tells the guest that its power button was pressed; false without firmware, as the button is ACPI's.
    func pressPowerButton() -> Bool {
        guard firmware != nil else { return false }
        eventDevice.raise(.powerButton)
        return true
    }

    /// Ends the devices. The last call.
    func shutDown() {
        settle()
        pci.shutDown()
    }
}
#endif
