#if arch(x86_64)
internal import StratoBoot
internal import StratoFirmwareTables
internal import StratoHost
internal import StratoKVM
package import StratoMemory
internal import StratoPCI
internal import StratoPlatform
internal import Synchronization

/// A q35: what a standard machine on x86_64 has beside the devices on its PCI buses.
package final class StandardBoard: Sendable {
    /// Addresses of the board. Below 4 GiB the upper half belongs to devices.
    enum Layout {
        static let lowMemoryEnd: UInt64 = 0x8000_0000

        /// Where memory-mapped configuration space is, until firmware moves it, and how many buses it has.
        static let configurationSpace: UInt64 = 0xB000_0000
        static let configurationSpaceSize: UInt64 = 256 << 20

        /// What of the upper half functions of PCI can be in; configuration space lies inside.
        static let memoryWindow: Range<UInt64> = 0x8000_0000..<0xFC00_0000
        /// Where they are placed where no firmware does that.
        static let assignedMemory: Range<UInt64> = 0xC000_0000..<0xF000_0000
        static let assignedPorts: Range<UInt64> = 0xC000..<0x1_0000
        /// The window above RAM begins at a multiple of this.
        static let highWindowAlignment: UInt64 = 1 << 30

        /// Above what firmware gives to PCI.
        static let eventDeviceBase: UInt32 = 0xFC00_0000
        /// The end of the lower flash bank and the beginning of what is at fixed addresses below it.
        static let flashEnd: UInt64 = 0x1_0000_0000
        static let flashRoom: UInt64 = 16 << 20
        /// Where the first processor starts in real mode on a PC: a copy of the end of the firmware.
        static let firmwareShadow: UInt64 = 0xE_0000

        static let sleepControlPort: UInt16 = 0xCE9
        static let sleepStatusPort: UInt16 = 0xCEA
        static let powerManagementPort: UInt16 = 0x600

        static let pciInterrupts: ClosedRange<UInt32> = 16...19
        /// The first that neither ISA nor PCI has.
        static let eventDeviceInterrupt: UInt32 = 20
    }

    /// Device numbers of bus 0 that the chip set has.
    package static let reservedDevices: Set<UInt8> = [0, LPCBridge.device]

    /// Where RAM of a given size lies.
    ///
    /// - Parameter size: in bytes, a multiple of 4 KiB.
    /// - Returns: one range, or two with the gap for devices between them.
    /// - Throws: `MachineError` if the size is not one that a machine can have.
    package static func memoryRanges(_ size: UInt64) throws(MachineError) -> [GuestRange] {
        try PCMemory.ranges(size, lowEnd: Layout.lowMemoryEnd)
    }

    let pci: PCIHostBridge
    let messages: KVMMessageInterrupts

    private let machine: KVMVirtualMachine
    private let processorSet: BoardProcessors
    private let serial: Serial16550?
    private let configurationPorts: PCIConfigurationPorts
    private let resetControl: ResetControl
    private let powerManagement: PowerManagementBlock
    private let clock: CMOSClock
    private let eventDevice: GenericEventDevice
    private let tables: StandardTables
    private let start: Start

    /// Who starts the system.
    private enum Start {
        case firmware(BoardFirmware)
        /// The monitor, which places the functions of PCI as well.
        case kernel(LinuxBoot, PCIResourceAssignment)
    }

    private var firmware: BoardFirmware? {
        if case .firmware(let firmware) = start { firmware } else { nil }
    }

    /// Makes the virtual machine that the board is built in.
    ///
    /// - Throws: `MachineError`.
    static func makeMachine(
        _ description: StandardVM.Description, memory: GuestMemory, system: KVMSystem
    ) throws(MachineError) -> KVMVirtualMachine {
        try building { try KVMVirtualMachine(system: system, memory: memory) }
    }

    /// Makes the interrupt controllers and the board's devices, and opens kernel and firmware.
    ///
    /// - Parameters:
    ///   - machine: without virtual CPUs.
    ///   - description: what to build; devices are inserted by the caller.
    ///   - ports: gets the board's devices.
    ///   - mmio: gets the board's devices.
    ///   - loop: serves the clocks.
    ///   - logger: for the devices.
    ///   - onRequest: called when the guest asks for a reset or its end.
    /// - Throws: `MachineError`.
    init(
        machine: KVMVirtualMachine, description: StandardVM.Description, ports: Bus, mmio: Bus, loop: EventLoop,
        logger: Logger, onRequest: @escaping @Sendable (GuestRequest) -> Void
    ) throws(MachineError) {
        let processorSet = try BoardProcessors(machine, count: description.processorCount, layout: description.topology)
        let hasFirmware = description.firmware != nil
        let windows = try MemoryWindows(machine.memory, addressBits: processorSet.physicalAddressBits())
        try building { try machine.makeInterruptController() }
        messages = KVMMessageInterrupts(machine: machine)
        let router = try building {
            try PCIInterruptRouter(Layout.pciInterrupts.map { try machine.levelInterruptLine($0) })
        }
        pci = PCIHostBridge(
            memory: mmio, ports: ports, apertures: windows.apertures, interrupts: router, logger: logger)

        // What is on its buses by then holds it.
        do {
            let markers = description.hasBootMarkers ? BootMarkers(start: description.startTime, logger: logger) : nil
            serial = try PCSerialPort.make(machine, description.serialBackend, markers, ports)
            let keyboard = I8042 { onRequest(.reset) }
            try ports.insert(keyboard, at: I8042.basePort, size: I8042.portCount)
            resetControl = ResetControl { onRequest(.reset) }
            configurationPorts = PCIConfigurationPorts(host: pci, resetControl: resetControl)
            try ports.insert(configurationPorts, at: PCIConfigurationPorts.port, size: PCIConfigurationPorts.portCount)
            clock = CMOSClock(
                interrupt: try building { try machine.levelInterruptLine(UInt32(CMOSClock.interruptNumber)) }, loop: loop)
            try ports.insert(clock, at: CMOSClock.basePort, size: CMOSClock.portCount)
            let memory = machine.memory.ranges
            clock.setMemorySize(
                below4GiB: memory.first?.size ?? 0, above4GiB: memory.count > 1 ? memory[memory.count - 1].size : 0)
            powerManagement = PowerManagementBlock(
                bus: nil,
                interrupt: try building { try machine.levelInterruptLine(UInt32(PowerManagementBlock.interruptNumber)) },
                loop: loop, onPowerOff: { onRequest(.powerOff) })
            let sleep = SleepControl { onRequest(.powerOff) }
            try ports.insert(sleep, at: UInt64(Layout.sleepControlPort), size: SleepControl.registerCount)
            eventDevice = GenericEventDevice(
                interrupt: try building { try machine.interruptLine(Layout.eventDeviceInterrupt) })
            try mmio.insert(
                eventDevice, at: UInt64(Layout.eventDeviceBase), size: GenericEventDevice.registerSize)

            let tables = StandardTables(
                apicIDs: processorSet.apicIDs, windows: windows, hasSerialPort: serial != nil, hasFirmware: hasFirmware,
                logger: logger)
            try StandardBoard.insertChipSet(
                pci, powerManagement: powerManagement, tables, hasFirmware: hasFirmware, logger: logger, onRequest: onRequest)
            self.machine = machine
            self.processorSet = processorSet
            self.tables = tables
            if let firmware = description.firmware {
                start = .firmware(
                    try StandardBoard.makeFirmware(
                        firmware, description, machine, processorSet, tables, ports: ports, mmio: mmio, loop: loop,
                        logger: logger))
            } else {
                start = try StandardBoard.makeKernelStart(description, machine, processorSet, tables, windows)
            }
        } catch {
            pci.shutDown()
            throw error
        }
    }

    private static func insertChipSet(
        _ pci: PCIHostBridge, powerManagement: PowerManagementBlock, _ tables: StandardTables, hasFirmware: Bool,
        logger: Logger, onRequest: @escaping @Sendable (GuestRequest) -> Void
    ) throws(MachineError) {
        try building {
            let hub = try MemoryControllerHub(
                configuration: PCIEnhancedConfiguration(host: pci),
                base: hasFirmware ? nil : Layout.configurationSpace, logger: logger,
                onMove: { tables.setConfigurationSpace($0) },
                onManagementQuery: {
                    onRequest(
                        .refused(
                            "-drive if=pflash,unit=0: this firmware needs system management mode (secboot and ms images do), "
                                + "which the machine does not have; use OVMF_CODE.fd or OVMF_CODE_4M.fd"))
                })
            try pci.rootBus.insert(hub, device: 0)
            let bridge = try LPCBridge(
                powerManagement: powerManagement, base: hasFirmware ? nil : Layout.powerManagementPort)
            try pci.rootBus.insert(bridge, device: LPCBridge.device)
        }
    }

    // MARK: Firmware

    private static func makeFirmware(
        _ firmware: StandardVM.Firmware, _ description: StandardVM.Description, _ machine: KVMVirtualMachine,
        _ processorSet: BoardProcessors, _ tables: StandardTables, ports: Bus, mmio: Bus, loop: EventLoop, logger: Logger
    ) throws(MachineError) -> BoardFirmware {
        var made = BoardFirmware(memory: machine.memory, logger: logger)
        var end = Layout.flashEnd
        for (unit, storage) in [(FlashUnit.code, firmware.code), (.variables, firmware.variables)] {
            guard let storage else { continue }
            try building { try unit.check(storage, geometry: .pc) }
            let room = end - (Layout.flashEnd - Layout.flashRoom)
            guard storage.size <= room, let range = GuestRange(base: GuestAddress(end - storage.size), size: storage.size) else {
                throw MachineError(
                    "-drive if=pflash,unit=\(unit.rawValue): \(storage.name) has \(storage.size) bytes, and of the "
                        + "\(Layout.flashRoom >> 20) MiB below 4 GiB \(room) are left")
            }
            try made.addBank(unit, storage, geometry: .pc, in: range, machine, mmio: mmio, loop: loop, logger: logger)
            if unit == .code, let bank = made.flash.first { try checkResetVector(bank, named: storage.name) }
            end = range.base.value
        }
        let configuration = made.configuration
        try ports.insert(
            FirmwareConfigurationPorts(configuration), at: FirmwareConfigurationPorts.basePort,
            size: FirmwareConfigurationPorts.portCount)
        let memory = machine.memory.ranges.map(PhysicalRange.init)
        try building {
            try configuration.addFile(
                E820Table.fileName, try E820Table(memory.map { E820Table.Entry($0, .memory) }).encode())
            let size = try tables.description().files().tables.count
            try configuration.addBuiltFiles(
                [ACPITableFiles.tablesName, ACPITableFiles.pointerName, ACPITableFiles.loaderName],
                build: { tables.files(size: size) })
        }
        try made.describe(description, memory: memory)
        return made
    }

    /// A PC's first instruction is in the last 16 bytes (Intel SDM, volume 3A, 9.1.4).
    private static func checkResetVector(_ bank: PFlash, named name: String) throws(MachineError) {
        let size = 16
        let end = try building {
            try bank.contents.read(size, at: GuestAddress(bank.range.base.value + bank.range.size - UInt64(size)))
        }
        // Erased flash, or zeros: what a variable store ends with.
        guard !end.allSatisfy({ $0 == 0xFF }), !end.allSatisfy({ $0 == 0 }) else {
            throw MachineError(
                "-drive if=pflash,unit=0: \(name) is no firmware for this machine: there is nothing where the processor starts. "
                    + "Is it the variables file? That one goes to unit=1")
        }
    }

    /// Tells firmware what to boot from, first to last.
    ///
    /// - Throws: `MachineError`.
    func offerBootOrder(_ paths: [String]) throws(MachineError) {
        try firmware?.offerBootOrder(paths)
    }

    /// Puts a copy of the firmware's end below 1 MiB.
    private func writeShadow(_ flash: [PFlash]) throws(MachineError) {
        guard let code = flash.first else { return }
        let count = Int(FlashUnit.shadowSize)
        try building {
            let bytes = try code.contents.read(
                count, at: GuestAddress(code.range.base.value + code.range.size - FlashUnit.shadowSize))
            try machine.memory.write(bytes, at: GuestAddress(Layout.firmwareShadow))
        }
    }

    // MARK: Kernel without firmware

    private static func makeKernelStart(
        _ description: StandardVM.Description, _ machine: KVMVirtualMachine, _ processorSet: BoardProcessors,
        _ tables: StandardTables, _ windows: MemoryWindows
    ) throws(MachineError) -> Start {
        let source = try description.bootWithoutFirmware
        let memory = machine.memory.ranges.map(PhysicalRange.init)
        let boot = try building {
            var placed = try tables.description().place()
            placed += try description.identity.table(
                topology: description.topology, ranges: memory, hasFirmware: false
            ).place()
            // A larger one would lie where SMBIOS is; a kernel with that many processors has ACPI.
            let table = try MPTable(apicIDs: processorSet.apicIDs)
            if table.size <= MPTable.baseMemoryAreaSize { placed.append(try table.place()) }
            var boot = LinuxBoot(
                kernel: try source.openKernel(),
                ramdisk: try source.openInitialRamdisk(),
                commandLine: source.commandLine, tables: placed, rsdpAddress: StandardMachineTables.rsdpAddress)
            boot.reservedRanges = [
                GuestRange(base: GuestAddress(Layout.configurationSpace), size: Layout.configurationSpaceSize)
            ].compactMap { $0 }
            return boot
        }
        return .kernel(boot, PCIResourceAssignment(try windows.pools()))
    }

    // MARK: Processors

    /// Makes the virtual CPUs, identified but not started.
    ///
    /// - Throws: `MachineError`.
    func makeProcessors() throws(MachineError) -> [KVMProcessor] {
        try processorSet.make(hasFirmware: firmware != nil)
    }

    /// Puts what is started into memory, and gives the boot processor its registers; the others wait for it to start them.
    /// The devices are on their buses.
    ///
    /// - Throws: `MachineError`.
    func load(into processors: [KVMProcessor]) throws(MachineError) {
        try place(processors, isMemoryFresh: true)
        try processorSet.capture(processors)
    }

    private func place(_ processors: [KVMProcessor], isMemoryFresh: Bool) throws(MachineError) {
        switch start {
        case .firmware(let firmware):
            // The processor's own reset state is where firmware starts.
            try writeShadow(firmware.flash)
        case .kernel(let boot, let assignment):
            try building {
                try assignment.assign(to: pci)
                let state = try boot.place(in: machine.memory, isMemoryFresh: isMemoryFresh)
                try processors.first?.setStart(ProcessorStart(state))
            }
        }
    }

    /// Puts processors, controllers, devices and memory back to the first instruction.
    ///
    /// - Throws: `MachineError`.
    func reset(_ processors: [KVMProcessor]) throws(MachineError) {
        pci.reset()
        configurationPorts.reset()
        resetControl.reset()
        powerManagement.reset()
        clock.reset()
        eventDevice.reset()
        serial?.reset()
        firmware?.reset()
        try processorSet.restore(processors)
        try place(processors, isMemoryFresh: false)
    }

    // MARK: Life cycle

    /// What the devices of the board have written outlives the host when this returns.
    func settle() { firmware?.settle() }

    /// Tells the guest that its power button was pressed.
    ///
    /// - Returns: true, as there is one.
    func pressPowerButton() -> Bool {
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
