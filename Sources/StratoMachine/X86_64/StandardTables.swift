#if arch(x86_64)
internal import StratoFirmwareTables
internal import StratoHost
internal import StratoMemory
internal import Synchronization

/// The ACPI tables of a q35 as it is at the moment: firmware moves configuration space, then asks for them.
final class StandardTables: Sendable {
    private let initial: StandardMachineTables
    private let logger: Logger
    private let configurationSpace = Mutex<MCFG.Window?>(nil)

    init(apicIDs: [UInt32], windows: MemoryWindows, hasSerialPort: Bool, hasFirmware: Bool, logger: Logger) {
        typealias Layout = StandardBoard.Layout
        var tables = StandardMachineTables(
            apicIDs: apicIDs, configurationSpace: nil,
            windows: windows.ranges.map(PhysicalRange.init),
            eventDevice: EventDeviceDescription(
                base: Layout.eventDeviceBase, interrupt: Layout.eventDeviceInterrupt))
        tables.powerManagement.base = Layout.powerManagementPort
        tables.powerManagement.generalPurposeEvents = .ich9
        tables.sleepControlPort = Layout.sleepControlPort
        tables.sleepStatusPort = Layout.sleepStatusPort
        if hasSerialPort {
            tables.serialPort = SerialPortDescription(port: PCSerialPort.base, interrupt: PCSerialPort.interrupt)
        }
        if hasFirmware { tables.firmwareConfiguration = StandardMachineTables.FirmwareConfiguration() }
        initial = tables
        self.logger = logger
    }

    /// Where the guest reaches configuration space from now on; nil while it does not.
    func setConfigurationSpace(_ range: GuestRange?) {
        configurationSpace.withLock { window in
            window = range.map { MCFG.Window(base: $0.base.value, busCount: Int($0.size / MCFG.Window.bytesPerBus)) }
        }
    }

    /// The machine as it is.
    func description() -> StandardMachineTables {
        var tables = initial
        tables.configurationSpace = configurationSpace.withLock { $0 }
        return tables
    }

    /// The files for firmware; empty ones where it has set up what tables cannot say.
    ///
    /// - Parameter size: of the file with the tables, which firmware knows already.
    func files(size: Int) -> [[UInt8]] {
        do {
            let files = try description().files(size: size)
            return [files.tables, files.pointer, files.loader]
        } catch {
            logger.error("ACPI tables: \(error)")
            return []
        }
    }
}
#endif
