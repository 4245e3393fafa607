#if arch(x86_64)
package import StratoMemory
internal import Synchronization

/// The LPC interface bridge of Intel's ICH9, 00:1f.0 (ICH9 data sheet, 316972-004, 13.1): where the power management
/// registers and the root complex's are. What else is behind it on ISA ports the machine has at fixed places.
package final class LPCBridge: PCIFunction {
    /// ICH9, which StratoVirt and QEMU show.
    static let identity = PCIIdentity(vendor: 0x8086, device: 0x2918, revision: 2, classCode: 0x06_01_00)

    /// Where a guest finds it.
    package static let device: UInt8 = 0x1F

    private enum Register {
        /// PMBASE (13.1.13).
        static let powerManagementBase = 0x40
        /// ACPI_CNTL (13.1.14).
        static let powerManagementControl = 0x44
        /// PIRQA_ROUT...PIRQD_ROUT, PIRQE_ROUT...PIRQH_ROUT (13.1.17, 13.1.19).
        static let interruptRoutes = [0x60, 0x61, 0x62, 0x63, 0x68, 0x69, 0x6A, 0x6B]
        /// SIRQ_CNTL (13.1.18).
        static let serialInterrupts = 0x64
        /// RCBA (13.1.34).
        static let rootComplexBase = 0xF0
    }

    private enum PowerManagement {
        /// Ports that PMBASE decodes.
        static let size: UInt64 = 128
        static let address: UInt32 = 0xFF80
        /// RTE: a range of ports; constant.
        static let isPorts: UInt32 = 1
        /// ACPI_EN.
        static let enable: UInt8 = 1 << 7
        /// SCI_IRQ_SEL: where the SCI goes; 0 is interrupt 9.
        static let interruptMask: UInt8 = 7
    }

    private enum InterruptRoute {
        /// IRQEN#: the pin goes to the I/O APIC alone.
        static let disabled: UInt8 = 0x80
        static let writable: UInt8 = 0x8F
    }

    private enum RootComplex {
        static let size: UInt64 = 0x4000
        static let address: UInt32 = 0xFFFF_C000
        static let enable: UInt32 = 1
    }

    /// SFPW: 16 frames, continuous mode off (13.1.18).
    private static let serialInterruptFrames: UInt8 = 0x10

    private struct Placement {
        var map: PCIAddressMap
        var powerManagement: PCIAddressMap.Region
        var rootComplex: PCIAddressMap.Region
    }

    private let core: PCIFunctionCore
    private let powerManagement: any BusDevice
    private let placement = Mutex<Placement?>(nil)

    /// - Parameters:
    ///   - powerManagement: answers the 128 ports at PMBASE.
    ///   - base: of those after power-on, enabled; a multiple of 128; nil leaves it to firmware.
    /// - Throws: `PCIError` for a base that cannot be.
    package init(powerManagement: any BusDevice, base: UInt16?) throws(PCIError) {
        if let base, UInt32(base) & ~PowerManagement.address != 0 {
            throw PCIError("the power management registers cannot be at port 0x\(String(base, radix: 16))")
        }
        self.powerManagement = powerManagement
        var space = PCIConfigurationSpace(device: LPCBridge.identity)
        // Ports, memory and bus mastering cannot be switched off (13.1.3).
        let command: PCICommand = [.portSpace, .memorySpace, .busMaster]
        space.define(
            PCIRegister.command, value: command.rawValue,
            writable: PCICommand([.parityErrorResponse, .systemError]).rawValue)
        space.define(
            Register.powerManagementBase, value: UInt32(base ?? 0) | PowerManagement.isPorts,
            writable: PowerManagement.address)
        space.define(
            Register.powerManagementControl, value: base == nil ? 0 : PowerManagement.enable,
            writable: PowerManagement.enable | PowerManagement.interruptMask)
        for offset in Register.interruptRoutes {
            space.define(offset, value: InterruptRoute.disabled, writable: InterruptRoute.writable)
        }
        space.define(Register.serialInterrupts, value: LPCBridge.serialInterruptFrames, writable: UInt8.max)
        space.define(
            Register.rootComplexBase, value: UInt32(0), writable: RootComplex.address | RootComplex.enable)
        core = try PCIFunctionCore("LPC bridge", space)
    }

    package var name: String { core.name }
    package var isMultifunction: Bool { false }

    package func readConfiguration(at offset: Int, width: Int) -> UInt64 { core.read(at: offset, width: width) }

    package func writeConfiguration(_ value: UInt64, at offset: Int, width: Int) {
        core.write(value, at: offset, width: width) { _, space in place(space) }
    }

    private func place(_ space: PCIConfigurationSpace) {
        guard let placement = placement.withLock({ $0 }) else { return }
        let control: UInt8 = space.load(at: Register.powerManagementControl)
        let base = space.load(UInt32.self, at: Register.powerManagementBase) & PowerManagement.address
        let root: UInt32 = space.load(at: Register.rootComplexBase)
        placement.map.place([
            (
                placement.powerManagement,
                control & PowerManagement.enable == 0
                    ? nil : GuestRange(base: GuestAddress(UInt64(base)), size: PowerManagement.size)
            ),
            (
                placement.rootComplex,
                root & RootComplex.enable == 0
                    ? nil : GuestRange(base: GuestAddress(UInt64(root & RootComplex.address)), size: RootComplex.size)
            ),
        ])
    }

    package func attach(_ attachment: PCIAttachment) {
        core.attach(attachment)
        let map = attachment.map
        placement.withLock {
            $0 = Placement(
                map: map,
                powerManagement: map.addRegion("power management", .port, in: nil, device: powerManagement),
                rootComplex: map.addRegion("root complex registers", .memory, in: nil, device: RootComplexRegisters()))
        }
        core.withSpace { place($0) }
    }

    package func detach() {
        let placement = self.placement.withLock { placement in
            defer { placement = nil }
            return placement
        }
        if let placement {
            placement.map.removeRegion(placement.powerManagement)
            placement.map.removeRegion(placement.rootComplex)
        }
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

/// The ICH9's root complex register block (ICH9 data sheet, 10.1). Of all that it controls in a chip set nothing is here; a
/// guest that looks reads so. The watchdog's reset is wired off, so that no driver waits for one.
private final class RootComplexRegisters: BusDevice {
    /// GCS, general control and status (10.1.75).
    private static let generalControl: UInt64 = 0x3410
    /// NR: no reboot.
    private static let noReboot: UInt8 = 1 << 5

    func read(at offset: UInt64, width: Int) -> UInt64 {
        var value: UInt64 = 0
        for index in 0..<min(max(width, 0), 8) where offset &+ UInt64(index) == RootComplexRegisters.generalControl {
            value |= UInt64(RootComplexRegisters.noReboot) &<< UInt64(index &* 8)
        }
        return value
    }

    func write(_ value: UInt64, at offset: UInt64, width: Int) {}
}
#endif
