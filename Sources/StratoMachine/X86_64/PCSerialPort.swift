#if arch(x86_64)
internal import StratoHost
internal import StratoKVM
internal import StratoMemory
internal import StratoPlatform

/// A PC's first serial port, which every board on x86_64 has where a machine has one at all.
enum PCSerialPort {
    static let base: UInt16 = 0x3F8
    static let interrupt: UInt32 = 4

    /// The scratch register, which is there for boot markers without a serial port too.
    static let bootMarkerPort: UInt16 = 0x3FF

    /// Makes it and puts it on the bus.
    ///
    /// - Parameters:
    ///   - machine: with its interrupt controllers.
    ///   - backend: nil for a machine without a serial port.
    ///   - markers: nil for none.
    ///   - ports: gets the device.
    /// - Throws: `MachineError`.
    static func make(
        _ machine: KVMVirtualMachine, _ backend: (any CharacterBackend)?, _ markers: BootMarkers?, _ ports: Bus
    ) throws(MachineError) -> Serial16550? {
        guard let backend else {
            if let markers { try ports.insert(markers, at: UInt64(bootMarkerPort), size: 1) }
            return nil
        }
        var onScratchWrite: (@Sendable (UInt8) -> Void)?
        if let markers { onScratchWrite = { value in markers.mark(value) } }
        let device = Serial16550(
            interrupt: try building { try machine.interruptLine(interrupt) }, backend: backend, onScratchWrite: onScratchWrite)
        try ports.insert(device, at: UInt64(base), size: Serial16550.registerCount)
        return device
    }
}
#endif
