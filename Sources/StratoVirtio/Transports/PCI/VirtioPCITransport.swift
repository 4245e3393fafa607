package import StratoHost
package import StratoMemory
package import StratoPCI
internal import Synchronization

/// A virtio device on PCI (virtio 1.2, 4.1): modern only, with MSI-X in base address register 1 and all other registers in
/// base address register 2.
///
/// The device takes from its queues only while the guest lets the function be a bus master: a driver, or a kernel that
/// follows after a crash, switches that off to be sure that memory is not written any more. The write that does so returns
/// when nothing is in flight.
package final class VirtioPCITransport: PCIFunction {
    /// Where the function is to be put.
    package enum Placement: Sendable {
        /// On bus 0, as a conventional device.
        case rootBus
        /// Behind a PCI Express port, as an endpoint with power management and a reset of its own.
        case port
    }

    /// Base address registers, as StratoVirt has them.
    private enum BaseAddress {
        static let msix = 1
        static let registers = 2
    }

    /// Whether the device may work: each reason alone keeps it from it.
    private struct Gate {
        /// The machine is paused.
        var isHeld = false
        /// The guest lets the function access memory.
        var isMaster = false
        var isOpen: Bool { isMaster && !isHeld }
    }

    package let isMultifunction: Bool
    package var name: String { core.name }
    package var device: any VirtioDevice { registers.driver.device }

    private let core: PCIFunctionCore
    private let msix: MSIX
    private let interrupt: VirtioPCIInterrupt
    private let registers: VirtioPCIRegisters
    private let express: Int?
    /// The capability by which firmware without memory mappings reaches the registers.
    private let access: Int
    private let limiter: LogLimiter
    private let gate = Mutex(Gate())

    /// - Parameters:
    ///   - device: behind this transport for good.
    ///   - memory: what the device reaches.
    ///   - placement: decides what capabilities the function has.
    ///   - isMultifunction: of function 0 of a device with others.
    ///   - messages: for a vector for each queue and one for changes of the configuration.
    ///   - doorbells: nil lets every notification come as a register access.
    ///   - logger: told of refusals.
    /// - Throws: `PCIError` for a device that has too many queues.
    package init(
        device: any VirtioDevice, memory: GuestMemory, placement: Placement, isMultifunction: Bool = false,
        messages: any MessageInterruptController, doorbells: (any DoorbellRegistry)?, logger: Logger
    ) throws(PCIError) {
        let queueCount = device.queueMaximumSizes.count
        guard queueCount <= VirtioPCIRegisters.Layout.queueLimit else {
            throw PCIError("\(device.name): \(queueCount) queues are more than \(VirtioPCIRegisters.Layout.queueLimit)")
        }
        let msix = try MSIX(device.name, vectorCount: queueCount + 1, controller: messages, logger: logger)
        var space = PCIConfigurationSpace(
            device: VirtioPCIIdentity.identity(of: device.type), size: placement == .port ? .express : .conventional,
            isMultifunction: isMultifunction)
        let vectors = try space.addMSIX(msix, baseAddress: BaseAddress.msix)
        access = try space.addVirtio()
        var power: Int?
        var express: Int?
        if placement == .port {
            power = try space.addPowerManagement()
            express = try space.addExpress(.endpoint, hasFunctionLevelReset: true)
        }
        let pin = PCIInterruptPin(1)
        let interrupt = VirtioPCIInterrupt(msix: msix, pin: pin, queueCount: queueCount)
        let registers = VirtioPCIRegisters(
            device: device, memory: memory, interrupt: interrupt, doorbells: doorbells, logger: logger)
        core = try PCIFunctionCore(
            device.name, space,
            baseAddresses: [
                PCIBaseAddress(BaseAddress.msix, .memory32(isPrefetchable: false), size: msix.size, device: msix),
                PCIBaseAddress(
                    BaseAddress.registers, .memory64(isPrefetchable: false), size: VirtioPCIRegisters.Layout.size,
                    device: registers, onMove: { registers.move(to: $0) }),
            ],
            msix: (msix, vectors), powerManagement: power, pin: pin)
        self.isMultifunction = isMultifunction
        self.msix = msix
        self.interrupt = interrupt
        self.registers = registers
        self.express = express
        limiter = LogLimiter(source: "virtio-pci \(device.name)", logger: logger)
        // A function that is no bus master yet must not be.
        device.pause()
    }

    // MARK: Configuration

    package func readConfiguration(at offset: Int, width: Int) -> UInt64 {
        core.read(at: offset, width: width) { space in
            let data = access + VirtioPCICapability.Field.data
            guard offset < data + VirtioPCICapability.Field.dataSize, offset + width > data,
                let target = accessTarget(space)
            else { return }
            space.store(
                UInt32(truncatingIfNeeded: target.device.read(at: target.offset, width: target.width)), at: data)
        }
    }

    package func writeConfiguration(_ value: UInt64, at offset: Int, width: Int) {
        let isReset = core.write(value, at: offset, width: width) { write, space in
            let data = access + VirtioPCICapability.Field.data
            if write.covers(data, VirtioPCICapability.Field.dataSize) {
                if let target = accessTarget(space) {
                    let value = space.read(at: data, width: target.width)
                    target.device.write(value, at: target.offset, width: target.width)
                } else {
                    limiter.log(.warn, "refused an access by pci_cfg_data that names no register")
                }
            }
            setMaster(core.canMaster(space))
            return isFunctionReset(write)
        }
        if isReset { reset() }
    }

    /// What an access to pci_cfg_data reaches; nil for one that the driver has not set up as it must (4.1.4.9.2).
    private func accessTarget(_ space: PCIConfigurationSpace) -> (device: any BusDevice, offset: UInt64, width: Int)? {
        typealias Field = VirtioPCICapability.Field
        let offset = UInt64(space.load(UInt32.self, at: access + Field.offset))
        let width = Int(space.load(UInt32.self, at: access + Field.length))
        guard width == 1 || width == 2 || width == 4, offset % UInt64(width) == 0 else { return nil }
        let target: (device: any BusDevice, size: UInt64)
        switch Int(space.load(UInt8.self, at: access + Field.baseAddress)) {
        case BaseAddress.msix: target = (msix, msix.size)
        case BaseAddress.registers: target = (registers, VirtioPCIRegisters.Layout.size)
        default: return nil
        }
        return offset < target.size ? (target.device, offset, width) : nil
    }

    /// Initiate Function Level Reset (PCI Express Base 4.0, 7.5.3.4).
    private func isFunctionReset(_ write: PCIConfigurationWrite) -> Bool {
        express.map { PCIExpress.isFunctionLevelReset(write, at: $0) } ?? false
    }

    // MARK: Life cycle

    private func setMaster(_ isMaster: Bool) {
        change { $0.isMaster = isMaster }
    }

    private func change(_ change: (inout Gate) -> Void) {
        gate.withLock { gate in
            let wasOpen = gate.isOpen
            change(&gate)
            guard gate.isOpen != wasOpen else { return }
            gate.isOpen ? device.resume() : device.pause()
        }
    }

    package func pause() { change { $0.isHeld = true } }

    package func resume() { change { $0.isHeld = false } }

    package func attach(_ attachment: PCIAttachment) { core.attach(attachment) }

    package func detach() { core.detach() }

    package func reset() {
        core.reset()
        setMaster(false)
        registers.driver.reset()
    }

    package func shutDown() {
        core.reset()
        registers.driver.shutDown()
    }

    package var summary: PCIFunctionSummary { core.summary }

    // MARK: State

    private static let stateVersion: UInt32 = 1

    package func saveState() -> [UInt8] {
        var encoder = StateEncoder(version: VirtioPCITransport.stateVersion)
        core.save(into: &encoder)
        let queues = device.queueMaximumSizes.indices
        VirtioPCIState(
            registers: registers.driver.saveState(), configurationVector: interrupt.configurationVector,
            queueVectors: queues.map { interrupt.vector(of: $0) }
        ).encode(into: &encoder)
        return encoder.bytes
    }

    package func restoreState(_ bytes: [UInt8]) throws(PCIError) {
        reset()
        do {
            try restore(bytes)
        } catch {
            reset()
            throw PCIError("\(name): \(error)")
        }
    }

    private func restore(_ bytes: [UInt8]) throws {
        var decoder = try StateDecoder(
            bytes, versions: VirtioPCITransport.stateVersion...VirtioPCITransport.stateVersion)
        try core.restore(from: &decoder)
        let state = try VirtioPCIState(from: &decoder)
        try decoder.finish()
        try registers.driver.restoreState(state.registers)
        interrupt.configurationVector = state.configurationVector
        for (index, vector) in state.queueVectors.enumerated() { interrupt.setVector(vector, of: index) }
        setMaster(core.withSpace { core.canMaster($0) })
    }
}

extension PCIConfigurationSpace {
    /// The capabilities of virtio.
    ///
    /// - Returns: where the one for access by configuration space is.
    fileprivate mutating func addVirtio() throws(PCIError) -> Int {
        typealias Layout = VirtioPCIRegisters.Layout
        typealias Field = VirtioPCICapability.Field
        func body(_ kind: VirtioPCICapability.Kind, _ offset: UInt64, _ length: UInt64, _ extra: [UInt8] = []) -> [UInt8] {
            VirtioPCICapability.body(kind, baseAddress: 2, offset: offset, length: length, extra: extra)
        }
        _ = try addVendor(body(.common, Layout.common, VirtioPCIRegisters.Common.size))
        _ = try addVendor(body(.interruptStatus, Layout.interruptStatus, 1))
        _ = try addVendor(body(.device, Layout.device, Layout.structureSize))
        let stride = UInt8(truncatingIfNeeded: Layout.notificationStride)
        _ = try addVendor(body(.notification, Layout.notification, Layout.structureSize, [stride, 0, 0, 0]))
        let access = try addVendor(
            VirtioPCICapability.body(
                .configurationAccess, baseAddress: 0, offset: 0, length: 0, extra: [0, 0, 0, 0]))
        define(access + Field.baseAddress, value: UInt8(0), writable: UInt8.max)
        for field in [Field.offset, Field.length, Field.data] {
            define(access + field, value: UInt32(0), writable: UInt32.max)
        }
        return access
    }
}
