package import StratoFirmwareTables

/// What a machine says about itself in SMBIOS, but for what the machine itself decides: how many processors and how much
/// memory there are.
package struct SystemDescription: Sendable {
    /// Nil lets firmware describe itself, where there is any.
    package var firmware: SMBIOSTable.Firmware?
    package var system = SMBIOSTable.System()
    package var baseboard = SMBIOSTable.Baseboard()
    package var chassis = SMBIOSTable.Chassis()
    /// Its counts are not used.
    package var processors = SMBIOSTable.Processors(sockets: 1)
    /// Its ranges are not used.
    package var memory = SMBIOSTable.Memory(ranges: [])

    package init() {}

    /// The tables of a machine.
    func table(topology: ProcessorLayout, ranges: [PhysicalRange], hasFirmware: Bool) -> SMBIOSTable {
        var processors = processors
        processors.sockets = topology.sockets
        processors.coresPerSocket = topology.dies * topology.clusters * topology.cores
        processors.threadsPerCore = topology.threads
        var memory = memory
        memory.ranges = ranges
        var table = SMBIOSTable(processors: processors, memory: memory)
        table.system = system
        table.baseboard = baseboard
        table.chassis = chassis
        table.firmware = firmware ?? (hasFirmware ? nil : SMBIOSTable.Firmware())
        return table
    }
}
