#if arch(x86_64)
internal import StratoBoot
internal import StratoHost
internal import StratoKVM
package import StratoMemory
internal import StratoFirmwareTables
internal import StratoPlatform
internal import StratoVirtio

/// What a microVM on x86_64 has beside its virtio slots: the interrupt controllers and the timer in KVM, a 16550A, a
/// keyboard controller that can only reset, and the registers that ACPI without fixed hardware is made of.
package final class MicroVMBoard: Sendable {
    /// Addresses of the board. RAM leaves the last gibibyte below 4 GiB to devices.
    enum Layout {
        static let lowMemoryEnd: UInt64 = 0xC000_0000
        static let eventDeviceBase: UInt32 = 0xF000_0000
        static let virtioBase: UInt32 = 0xF010_0000
        static let sleepControlPort: UInt16 = 0xCE9
        static let sleepStatusPort: UInt16 = 0xCEA

        static let firstVirtioInterrupt: UInt32 = 5
        /// Above the interrupts that StratoVirt gives to virtio devices, and the first that ISA devices never had.
        static let eventDeviceInterrupt: UInt32 = 16
    }

    /// Interrupts 5...15 are the virtio devices'.
    package static let slotCount = 11

    /// Where RAM of a given size lies.
    ///
    /// - Parameter size: in bytes, a multiple of 4 KiB.
    /// - Returns: one range, or two with the gap for devices between them.
    /// - Throws: `MachineError` if the size is not one that a machine can have.
    package static func memoryRanges(_ size: UInt64) throws(MachineError) -> [GuestRange] {
        try PCMemory.ranges(size, lowEnd: Layout.lowMemoryEnd)
    }

    private let machine: KVMVirtualMachine
    private let processorSet: BoardProcessors
    private let boot: LinuxBoot
    private let serial: Serial16550?
    private let keyboard: I8042
    private let eventDevice: GenericEventDevice?

    /// Makes the virtual machine that the board is built in.
    ///
    /// - Throws: `MachineError`.
    static func makeMachine(
        _ description: MicroVM.Description, memory: GuestMemory, system: KVMSystem
    ) throws(MachineError) -> KVMVirtualMachine {
        try building { try KVMVirtualMachine(system: system, memory: memory) }
    }

    /// Makes the interrupt controllers and the board's devices, and opens the kernel.
    ///
    /// - Parameters:
    ///   - machine: without virtual CPUs.
    ///   - description: what to build.
    ///   - slots: the virtio slots that are taken, for the tables.
    ///   - ports: gets the board's devices.
    ///   - mmio: gets the board's devices.
    ///   - logger: for the devices.
    ///   - onRequest: called when the guest asks for its end.
    /// - Throws: `MachineError`.
    init(
        machine: KVMVirtualMachine, description: MicroVM.Description, slots: [Slot], ports: Bus, mmio: Bus, logger: Logger,
        onRequest: @escaping @Sendable (GuestRequest) -> Void
    ) throws(MachineError) {
        let processorSet = try BoardProcessors(
            machine, count: description.processorCount, layout: description.topology)
        let apicIDs = processorSet.apicIDs

        try building { try machine.makeInterruptController() }
        let markers = description.hasBootMarkers ? BootMarkers(start: description.startTime, logger: logger) : nil
        serial = try PCSerialPort.make(machine, description.serialBackend, markers, ports)
        keyboard = I8042 { onRequest(.reset) }
        try ports.insert(keyboard, at: I8042.basePort, size: I8042.portCount)
        var tables: MicroVMTables?
        var eventDevice: GenericEventDevice?
        if description.hasACPI {
            let sleep = SleepControl { onRequest(.powerOff) }
            try ports.insert(sleep, at: UInt64(Layout.sleepControlPort), size: SleepControl.registerCount)
            let line = try building { try machine.interruptLine(Layout.eventDeviceInterrupt) }
            let device = GenericEventDevice(interrupt: line)
            try mmio.insert(device, at: UInt64(Layout.eventDeviceBase), size: GenericEventDevice.registerSize)
            eventDevice = device
            tables = MicroVMBoard.acpiTables(apicIDs, slots, hasSerialPort: serial != nil)
        }
        self.machine = machine
        self.processorSet = processorSet
        self.eventDevice = eventDevice
        boot = try building {
            let source = description.boot
            return try LinuxBoot(
                microVM: try source.openKernel(),
                ramdisk: try source.openInitialRamdisk(),
                commandLine: MicroVMBoard.commandLine(source.commandLine, slots),
                apicIDs: apicIDs, acpi: tables)
        }
    }

    /// A kernel without ACPI finds its devices by these parameters; one with ACPI has them bound already, and says busy.
    private static func commandLine(_ given: String, _ slots: [Slot]) -> String {
        var line = given
        for slot in slots {
            if !line.isEmpty { line += " " }
            line += "virtio_mmio.device=\(Slot.size)@0x\(String(slot.base, radix: 16)):\(slot.interrupt)"
        }
        return line
    }

    private static func acpiTables(_ apicIDs: [UInt32], _ slots: [Slot], hasSerialPort: Bool) -> MicroVMTables {
        var tables = MicroVMTables(
            apicIDs: apicIDs,
            eventDevice: MicroVMTables.EventDevice(
                base: Layout.eventDeviceBase, interrupt: Layout.eventDeviceInterrupt),
            sleepControlPort: Layout.sleepControlPort, sleepStatusPort: Layout.sleepStatusPort)
        tables.virtioDevices = slots.map { slot in
            MicroVMTables.VirtioDevice(base: slot.base, size: Slot.size, interrupt: slot.interrupt)
        }
        if hasSerialPort {
            tables.serialPort = MicroVMTables.SerialPort(port: PCSerialPort.base, interrupt: PCSerialPort.interrupt)
        }
        return tables
    }

    // MARK: Processors

    /// Makes the virtual CPUs, identified but not started.
    ///
    /// - Throws: `MachineError`.
    func makeProcessors() throws(MachineError) -> [KVMProcessor] {
        try processorSet.make(hasFirmware: false)
    }

    /// Loads the kernel and gives the boot processor its registers; the others wait for it to start them.
    ///
    /// - Throws: `MachineError`.
    func load(into processors: [KVMProcessor]) throws(MachineError) {
        try building {
            let state = try boot.place(in: machine.memory, isMemoryFresh: true)
            try processors.first?.setStart(ProcessorStart(state))
        }
        try processorSet.capture(processors)
    }

    /// Puts processors, controllers, devices and memory back to the first instruction.
    ///
    /// - Throws: `MachineError`.
    func reset(_ processors: [KVMProcessor]) throws(MachineError) {
        serial?.reset()
        eventDevice?.reset()
        let state = try building { try boot.place(in: machine.memory, isMemoryFresh: false) }
        try processorSet.restore(processors)
        // The kernel's file may have been replaced in the meantime.
        try building { try processors.first?.setStart(ProcessorStart(state)) }
    }

    // MARK: Ends

    /// Tells the guest that its power button was pressed; false without ACPI.
    func pressPowerButton() -> Bool {
        guard let eventDevice else { return false }
        eventDevice.raise(.powerButton)
        return true
    }
}
#endif
