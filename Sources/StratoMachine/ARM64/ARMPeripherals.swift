#if arch(arm64)
internal import StratoFirmwareTables
internal import StratoHost
internal import StratoKVM
internal import StratoMemory
internal import StratoPlatform

/// The serial port and the clock that all boards on aarch64 have.
final class ARMPeripherals: Sendable {
    /// Addresses, and shared interrupts.
    enum Layout {
        static let serialBase: UInt64 = 0x0900_0000
        static let clockBase: UInt64 = 0x0901_0000
        static let serialInterrupt: UInt32 = 1
        static let clockInterrupt: UInt32 = 2
    }

    private let serial: PL011?
    private let clock: PL031

    /// Makes them and puts them on the bus.
    ///
    /// - Parameters:
    ///   - machine: with its interrupt controller.
    ///   - serialBackend: nil for a machine without a serial port.
    ///   - markers: the register of boot markers, which is there without a serial port too; nil for none.
    ///   - loop: where the clock's alarm comes from.
    ///   - mmio: gets the devices.
    /// - Throws: `MachineError`.
    init(
        _ machine: KVMVirtualMachine, serialBackend: (any CharacterBackend)?, markers: BootMarkers?, loop: EventLoop?,
        mmio: Bus
    ) throws(MachineError) {
        var serial: PL011?
        if let serialBackend {
            var onMarker: (@Sendable (UInt8) -> Void)?
            if let markers { onMarker = { value in markers.mark(value) } }
            let device = PL011(
                interrupt: try building { try machine.levelInterruptLine(Layout.serialInterrupt) }, backend: serialBackend,
                onMarker: onMarker)
            try mmio.insert(device, at: Layout.serialBase, size: PL011.registerSize)
            serial = device
        } else if let markers {
            try mmio.insert(markers, at: Layout.serialBase + PL011.bootMarkerOffset, size: 4)
        }
        self.serial = serial
        clock = PL031(interrupt: try building { try machine.levelInterruptLine(Layout.clockInterrupt) }, loop: loop)
        try mmio.insert(clock, at: Layout.clockBase, size: PL031.registerSize)
    }

    /// Puts what there is into a machine's tree.
    func describe(in tree: inout ARMMachineTree) {
        if serial != nil {
            tree.serialPort = ARMMachineTree.Device(
                registers: PhysicalRange(base: Layout.serialBase, size: PL011.registerSize), interrupt: Layout.serialInterrupt)
        }
        tree.clock = ARMMachineTree.Device(
            registers: PhysicalRange(base: Layout.clockBase, size: PL031.registerSize), interrupt: Layout.clockInterrupt)
    }

    func reset() {
        serial?.reset()
        clock.reset()
    }
}
#endif
