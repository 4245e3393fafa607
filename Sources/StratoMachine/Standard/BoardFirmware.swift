internal import StratoFirmwareTables
internal import StratoHost
internal import StratoKVM
internal import StratoMemory
internal import StratoPlatform

/// The firmware of a standard machine: its flash banks, and what it is told of the machine.
struct BoardFirmware: Sendable {
    let configuration: FirmwareConfiguration
    private(set) var flash: [PFlash] = []

    /// - Parameters:
    ///   - memory: what DMA reaches.
    ///   - logger: for the device.
    init(memory: GuestMemory, logger: Logger) {
        configuration = FirmwareConfiguration(memory: memory, logger: logger)
    }

    /// Makes a flash bank of a storage that its unit takes, and puts it on the bus.
    ///
    /// - Throws: `MachineError`.
    mutating func addBank(
        _ unit: FlashUnit, _ storage: any FlashStorage, geometry: FlashGeometry, in range: GuestRange,
        _ machine: KVMVirtualMachine, mmio: Bus, loop: EventLoop, logger: Logger
    ) throws(MachineError) {
        let bank = try building {
            let contents = try GuestMemory([range])
            return try PFlash(
                unit: unit, geometry: geometry, contents: contents, storage: storage,
                mapping: FlashSlot(try machine.makeReadOnlyMemory(contents)), loop: loop, logger: logger)
        }
        try building { try mmio.insert(bank, at: range) }
        flash.append(bank)
    }

    /// Tells what is the same on every board: processors, identity, and the kernel to start.
    ///
    /// - Parameters:
    ///   - description: of the machine.
    ///   - memory: the guest's RAM.
    /// - Throws: `MachineError`.
    func describe(_ description: StandardVM.Description, memory: [PhysicalRange]) throws(MachineError) {
        let count = UInt16(clamping: description.processorCount)
        try building {
            let identity = try description.identity.table(
                topology: description.topology, ranges: memory, hasFirmware: true
            ).files()
            try configuration.set(.processorCount, number: count)
            try configuration.set(.maximumProcessorCount, number: count)
            if let uuid = description.identity.system.uuid { try configuration.set(.uuid, uuid) }
            try configuration.addFile(SMBIOSTable.structuresName, identity.structures)
            try configuration.addFile(SMBIOSTable.entryPointName, identity.entryPoint)
        }
        if let boot = description.boot { try configuration.offer(boot) }
    }

    /// Tells what to boot from, first to last.
    ///
    /// - Throws: `MachineError`.
    func offerBootOrder(_ paths: [String]) throws(MachineError) {
        guard !paths.isEmpty else { return }
        try building {
            try configuration.addFile(FirmwareDevicePath.fileName, FirmwareDevicePath.file(paths))
        }
    }

    func reset() {
        configuration.reset()
        for bank in flash { bank.reset() }
    }

    /// What was written to flash outlives the host when this returns.
    func settle() {
        for bank in flash { bank.flushOrLog() }
    }
}
