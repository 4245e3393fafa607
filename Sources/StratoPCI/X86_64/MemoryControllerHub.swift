#if arch(x86_64)
package import StratoHost
package import StratoMemory
internal import Synchronization

/// The host bridge of Intel's Q35, 00:00.0 (Intel 3 Series Express Chipset Family data sheet, 316966-002, 5.1): where
/// memory-mapped configuration space is, and that there is no system management mode.
package final class MemoryControllerHub: PCIFunction {
    static let identity = PCIIdentity(vendor: 0x8086, device: 0x29C0, revision: 2, classCode: 0x06_00_00)

    private enum Register {
        /// Not of Intel's: firmware that runs in system management mode writes ones, and finds them again where the machine
        /// has no extended TSEG.
        static let extendedSegment = 0x50
        /// PCIEXBAR (5.1.14).
        static let configurationBase = 0x60
        /// PAM0...PAM6 (5.1.16 to 5.1.22).
        static let attributeMaps = 0x90
        /// SMRAM (5.1.29).
        static let managementMemory = 0x9D
        /// ESMRAMC (5.1.30).
        static let extendedManagementMemory = 0x9E
    }

    /// PCIEXBAR's bits (5.1.14).
    private enum ConfigurationBase {
        static let enable: UInt64 = 1 << 0
        static let lengthShift: UInt64 = 1
        static let lengthMask: UInt64 = 3
        /// Bits 35:26; how many of them count depends on the length.
        static let address: UInt64 = 0xF_FC00_0000
        static let writable = address | lengthMask << lengthShift | enable
        /// Buses by the length field; the last value is reserved.
        static let busCounts: [UInt64] = [256, 128, 64]
    }

    /// What firmware asks the extended TSEG register with.
    private static let segmentQuery: UInt16 = 0xFFFF
    /// C_BASE_SEG is wired to 0xA0000; no other bit can be set, so that management memory is never open (5.1.29).
    private static let managementMemoryClosed: UInt8 = 0x02
    /// All of 0xC0000...0xFFFFF is RAM, to read and to write.
    private static let allMemory: UInt8 = 0x33

    private let core: PCIFunctionCore
    private let configuration: any BusDevice
    private let initialBase: UInt64?
    private let onMove: @Sendable (GuestRange?) -> Void
    private let onManagementQuery: @Sendable () -> Void
    private let limiter: LogLimiter
    /// Where the guest wants configuration space, for `onMove`, which is told whether it got it.
    private let wanted = WantedRange()
    private let placement = Mutex<(map: PCIAddressMap, region: PCIAddressMap.Region)?>(nil)

    private final class WantedRange: Sendable {
        let value = Mutex<GuestRange?>(nil)
    }

    /// - Parameters:
    ///   - configuration: memory-mapped configuration space, which this places.
    ///   - base: where that is after power-on, with 256 buses: a multiple of 256 MiB below 64 GiB; nil leaves it to firmware.
    ///   - logger: told of settings that are reserved.
    ///   - onMove: called with where the guest reaches configuration space from then on, and with nil when it does not any
    ///     more. Must not come back here.
    ///   - onManagementQuery: called when firmware looks for system management mode, which it then needs and does not find.
    /// - Throws: `PCIError` for a base that cannot be.
    package init(
        configuration: any BusDevice, base: UInt64?, logger: Logger,
        onMove: @escaping @Sendable (GuestRange?) -> Void = { _ in },
        onManagementQuery: @escaping @Sendable () -> Void = {}
    ) throws(PCIError) {
        if let base {
            let size = ConfigurationBase.busCounts[0] * PCIEnhancedConfiguration.busSize
            guard base % size == 0, base & ~ConfigurationBase.address == 0 else {
                throw PCIError("configuration space cannot be at \(GuestAddress(base))")
            }
        }
        self.configuration = configuration
        initialBase = base
        self.onMove = onMove
        self.onManagementQuery = onManagementQuery
        limiter = LogLimiter(source: "pci host bridge", logger: logger)
        var space = PCIConfigurationSpace(device: MemoryControllerHub.identity)
        space.define(Register.extendedSegment, value: UInt16(0), writable: UInt16.max)
        space.define(
            Register.configurationBase, value: base.map { $0 | ConfigurationBase.enable } ?? 0,
            writable: ConfigurationBase.writable)
        space.define(Register.attributeMaps, value: MemoryControllerHub.allMemory & 0x30)
        for index in 1...6 { space.define(Register.attributeMaps + index, value: MemoryControllerHub.allMemory) }
        space.define(Register.managementMemory, value: MemoryControllerHub.managementMemoryClosed)
        space.define(Register.extendedManagementMemory, value: UInt8(0))
        core = try PCIFunctionCore("host bridge", space)
    }

    package var name: String { core.name }
    package var isMultifunction: Bool { false }

    package func readConfiguration(at offset: Int, width: Int) -> UInt64 { core.read(at: offset, width: width) }

    package func writeConfiguration(_ value: UInt64, at offset: Int, width: Int) {
        let isQuery = core.write(value, at: offset, width: width) { write, space in
            if write.covers(Register.configurationBase, 8) { place(space) }
            return write.covers(Register.extendedSegment, 2)
                && space.load(UInt16.self, at: Register.extendedSegment) == MemoryControllerHub.segmentQuery
        }
        if isQuery { onManagementQuery() }
    }

    private func range(_ space: PCIConfigurationSpace) -> GuestRange? {
        let register: UInt64 = space.load(at: Register.configurationBase)
        guard register & ConfigurationBase.enable != 0 else { return nil }
        let length = Int(register >> ConfigurationBase.lengthShift & ConfigurationBase.lengthMask)
        guard length < ConfigurationBase.busCounts.count else {
            limiter.log(.warn, "PCIEXBAR has a reserved length")
            return nil
        }
        let size = ConfigurationBase.busCounts[length] * PCIEnhancedConfiguration.busSize
        // Bits below the length are not compared (5.1.14).
        return GuestRange(base: GuestAddress(register & ConfigurationBase.address & ~(size - 1)), size: size)
    }

    private func place(_ space: PCIConfigurationSpace) {
        guard let (map, region) = placement.withLock({ $0 }) else { return }
        let range = range(space)
        wanted.value.withLock { $0 = range }
        map.place([(region, range)])
    }

    package func attach(_ attachment: PCIAttachment) {
        core.attach(attachment)
        let region = attachment.map.addRegion("configuration space", .memory, in: nil, device: configuration) {
            [wanted, onMove] address in onMove(address == nil ? nil : wanted.value.withLock { $0 })
        }
        placement.withLock { $0 = (attachment.map, region) }
        core.withSpace { place($0) }
    }

    package func detach() {
        if let (map, region) = placement.withLock({ $0 }) { map.removeRegion(region) }
        placement.withLock { $0 = nil }
        core.detach()
    }

    package func reset() {
        core.reset()
        core.withSpace { place($0) }
    }

    package func shutDown() {}
    package var summary: PCIFunctionSummary { core.summary }
    package func saveState() -> [UInt8] { core.saveState() }

    package func restoreState(_ bytes: [UInt8]) throws(PCIError) {
        defer { core.withSpace { place($0) } }
        try core.restoreState(bytes)
    }
}
#endif
