package import StratoHost
internal import StratoMemory
internal import Synchronization

/// A write to configuration space that has just been carried out.
package struct PCIConfigurationWrite: Sendable {
    /// The bytes that it covers.
    package let range: Range<Int>
    /// The space before.
    package let previous: PCIConfigurationSpace
    fileprivate let value: UInt64

    /// Whether the write covers any byte of a register.
    package func covers(_ offset: Int, _ length: Int) -> Bool {
        range.overlaps(offset..<(offset &+ length))
    }

    /// The byte that was written at an offset, whatever became of it; zero where none was.
    package func byte(at offset: Int) -> UInt8 {
        guard range.contains(offset) else { return 0 }
        return UInt8(truncatingIfNeeded: value &>> UInt64((offset &- range.lowerBound) &* 8))
    }
}

/// What all functions have in common: configuration space, base addresses, INTx and MSI-X.
///
/// A function holds one, and hands configuration accesses to it. It follows the command register, the base addresses, the
/// power state and MSI-X's control word; what else a write means the function decides in the closure that it passes, which
/// runs under the core's lock and must not come back to the core.
package final class PCIFunctionCore: Sendable {
    private struct State {
        var space: PCIConfigurationSpace
        var attachment: PCIAttachment?
        /// One for each base address, while attached.
        var regions: [PCIAddressMap.Region] = []
    }

    package let name: String
    package let pin: PCIInterruptPin
    package let msix: MSIX?

    private let baseAddresses: [PCIBaseAddress]
    private let msixCapability: Int
    private let powerManagement: Int?
    private let initial: PCIConfigurationSpace
    private let state: Mutex<State>

    /// - Parameters:
    ///   - name: of the function.
    ///   - space: with its header and capabilities; the base addresses and the interrupt pin are added here.
    ///   - baseAddresses: of the function.
    ///   - msix: the vectors, and the offset of their capability.
    ///   - powerManagement: the offset of that capability.
    ///   - pin: of the function, if it has one.
    /// - Throws: `PCIError` for base addresses that cannot be.
    package init(
        _ name: String, _ space: PCIConfigurationSpace, baseAddresses: [PCIBaseAddress] = [],
        msix: (table: MSIX, capability: Int)? = nil, powerManagement: Int? = nil, pin: PCIInterruptPin = PCIInterruptPin(0)
    ) throws(PCIError) {
        var space = space
        let isBridge = space.load(UInt8.self, at: PCIRegister.headerType) & ~PCIHeaderType.multifunction == PCIHeaderType.bridge
        var taken = Set<Int>()
        for base in baseAddresses {
            let registers = base.index..<(base.index + base.registerCount)
            guard base.isValid, registers.upperBound <= (isBridge ? 2 : 6), taken.isDisjoint(with: registers) else {
                throw PCIError("\(name): base address register \(base.index) of \(base.size) bytes cannot be")
            }
            taken.formUnion(registers)
            base.define(in: &space)
        }
        if !isBridge { space.enableDecoding(of: baseAddresses) }
        space.define(PCIRegister.interruptPin, value: pin.number)
        self.name = name
        self.baseAddresses = baseAddresses
        self.msix = msix?.table
        msixCapability = msix?.capability ?? 0
        self.powerManagement = powerManagement
        self.pin = pin
        initial = space
        state = Mutex(State(space: space))
    }

    // MARK: Accesses

    /// - Parameters:
    ///   - offset: 0..<4096.
    ///   - width: 1...8 bytes.
    ///   - prepare: may bring registers up to date before they are read.
    package func read(
        at offset: Int, width: Int, preparing prepare: (inout PCIConfigurationSpace) -> Void = { _ in }
    ) -> UInt64 {
        state.withLock { state in
            prepare(&state.space)
            refreshStatus(&state.space)
            return state.space.read(at: offset, width: width)
        }
    }

    private func refreshStatus(_ space: inout PCIConfigurationSpace) {
        let status: UInt16 = space.load(at: PCIRegister.status)
        space.store(
            pin.isPending ? status | PCIStatus.interrupt : status & ~PCIStatus.interrupt, at: PCIRegister.status)
    }

    /// Writes, and follows what is common to all functions.
    ///
    /// - Parameters:
    ///   - value: in the low `width` bytes.
    ///   - offset: 0..<4096.
    ///   - width: 1...8 bytes.
    ///   - follow: acts on what else the write means.
    package func write<Result>(
        _ value: UInt64, at offset: Int, width: Int,
        then follow: (PCIConfigurationWrite, inout PCIConfigurationSpace) -> Result
    ) -> Result {
        state.withLock { state in
            let previous = state.space
            let range = state.space.write(value, at: offset, width: width)
            correctPowerState(&state.space, previous)
            let write = PCIConfigurationWrite(range: range, previous: previous, value: value)
            if range.overlaps(0..<PCIRegister.capabilities) || isPowerChanged(state.space, previous) { place(state) }
            followControl(state.space)
            return follow(write, &state.space)
        }
    }

    package func write(_ value: UInt64, at offset: Int, width: Int) {
        write(value, at: offset, width: width) { _, _ in }
    }

    /// Changes or looks at registers from the device's side.
    package func withSpace<Result, Failure: Error>(
        _ body: (inout PCIConfigurationSpace) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try state.withLock { state throws(Failure) in try body(&state.space) }
    }

    /// Whether the function may access memory, and so send messages.
    package func canMaster(_ space: PCIConfigurationSpace) -> Bool {
        space.command.contains(.busMaster) && isPowered(space)
    }

    private func isPowered(_ space: PCIConfigurationSpace) -> Bool {
        guard let powerManagement else { return true }
        let control: UInt16 = space.load(at: powerManagement + PCIPowerManagement.control)
        return control & PCIPowerManagement.stateMask == 0
    }

    private func isPowerChanged(_ space: PCIConfigurationSpace, _ previous: PCIConfigurationSpace) -> Bool {
        isPowered(space) != isPowered(previous)
    }

    /// A state that the function does not have leaves it in the one it is in (PCI Bus Power Management 1.2, 3.2.4).
    private func correctPowerState(_ space: inout PCIConfigurationSpace, _ previous: PCIConfigurationSpace) {
        guard let powerManagement else { return }
        let offset = powerManagement + PCIPowerManagement.control
        let wanted = space.load(UInt16.self, at: offset) & PCIPowerManagement.stateMask
        guard wanted != 0, wanted != PCIPowerManagement.stateOff else { return }
        space.store(previous.load(UInt16.self, at: offset), at: offset)
    }

    private func place(_ state: State) {
        guard let map = state.attachment?.map else { return }
        let command = state.space.command
        let isPowered = isPowered(state.space)
        map.place(
            zip(state.regions, baseAddresses).map { region, base in
                let isDecoded = isPowered && command.contains(base.kind == .port ? .portSpace : .memorySpace)
                return (region, isDecoded ? base.range(in: state.space) : nil)
            })
    }

    private func followControl(_ space: PCIConfigurationSpace) {
        var isMSIXEnabled = false
        if let msix {
            let control: UInt16 = space.load(at: msixCapability + MSIXCapability.control)
            isMSIXEnabled = control & MSIXCapability.enable != 0
            msix.setControl(
                isEnabled: isMSIXEnabled, isMasked: control & MSIXCapability.functionMask != 0,
                isBusMaster: canMaster(space))
        }
        pin.setDisabled(isMSIXEnabled || space.command.contains(.interruptDisable))
    }

    // MARK: Life cycle

    package func attach(_ attachment: PCIAttachment) {
        state.withLock { state in
            state.attachment = attachment
            state.regions = baseAddresses.map { base in
                attachment.map.addRegion(
                    "\(name) BAR \(base.index)", base.space, in: attachment.scope, device: base.device, onMove: base.onMove)
            }
            msix?.setRequester(attachment.requester)
            pin.connect(to: attachment.interrupts, device: attachment.interruptTurn &+ Int(attachment.device))
            place(state)
        }
    }

    package func detach() {
        state.withLock { state in
            guard let attachment = state.attachment else { return }
            for region in state.regions { attachment.map.removeRegion(region) }
            state.regions = []
            state.attachment = nil
            msix?.setRequester(nil)
            pin.disconnect()
        }
    }

    /// Puts the registers back to what they hold after power-on.
    package func reset() {
        state.withLock { state in
            state.space = initial
            place(state)
            msix?.reset()
            pin.setPending(false)
            followControl(state.space)
        }
    }

    // MARK: State

    /// The configuration space, and MSI-X's table.
    package func save(into encoder: inout StateEncoder) {
        let contents = withSpace { space in
            refreshStatus(&space)
            return space.contents
        }
        encoder.put(contents)
        encoder.put(msix?.saveState() ?? [])
    }

    /// Takes over what `save` gave: outside data.
    ///
    /// - Throws: `StateError`; the registers are then between the old state and the new, and to be reset.
    package func restore(from decoder: inout StateDecoder) throws(StateError) {
        let contents = try decoder.take("configuration space", atMost: PCIConfigurationSpace.Size.express.rawValue)
        let vectors = try decoder.take("MSI-X state", atMost: 1 << 16)
        if let msix {
            try msix.restoreState(vectors)
        } else if !vectors.isEmpty {
            throw .invalid("MSI-X state of a function without it")
        }
        let isRestored = state.withLock { state in
            guard state.space.restore(contents) else { return false }
            place(state)
            followControl(state.space)
            return true
        }
        if !isRestored { throw .invalid("configuration space") }
    }

    private static let stateVersion: UInt32 = 1

    /// The state of a function that has nothing beside its registers.
    package func saveState() -> [UInt8] {
        var encoder = StateEncoder(version: PCIFunctionCore.stateVersion)
        save(into: &encoder)
        return encoder.bytes
    }

    /// Takes over what `saveState` gave: outside data.
    ///
    /// - Throws: `PCIError`; the registers are then as after a reset.
    package func restoreState(_ bytes: [UInt8]) throws(PCIError) {
        do throws(StateError) {
            var decoder = try StateDecoder(bytes, versions: PCIFunctionCore.stateVersion...PCIFunctionCore.stateVersion)
            try restore(from: &decoder)
            try decoder.finish()
        } catch {
            reset()
            throw PCIError("\(name): \(error)")
        }
    }

    // MARK: Summary

    package var summary: PCIFunctionSummary {
        withSpace { space in
            let command = space.command
            return PCIFunctionSummary(
                identity: PCIIdentity(
                    vendor: space.load(at: PCIRegister.vendorID), device: space.load(at: PCIRegister.deviceID),
                    revision: space.load(at: PCIRegister.revision),
                    classCode: UInt32(space.load(UInt16.self, at: PCIRegister.classCode)) << 8
                        | UInt32(space.load(UInt8.self, at: PCIRegister.programmingInterface)),
                    subsystemVendor: space.isBridge ? 0 : space.load(at: PCIRegister.subsystemVendorID),
                    subsystem: space.isBridge ? 0 : space.load(at: PCIRegister.subsystemID)),
                interruptPin: pin.number, interruptLine: space.load(at: PCIRegister.interruptLine),
                regions: baseAddresses.map { base in
                    let isDecoded = command.contains(base.kind == .port ? .portSpace : .memorySpace)
                    return PCIFunctionSummary.Region(
                        index: base.index, kind: base.kind, size: base.size,
                        address: isDecoded ? base.range(in: space)?.base : nil)
                },
                bridge: space.bridgeSummary)
        }
    }
}

extension PCIConfigurationSpace {
    fileprivate var isBridge: Bool {
        load(UInt8.self, at: PCIRegister.headerType) & ~PCIHeaderType.multifunction == PCIHeaderType.bridge
    }

    /// The enable bits of ports and memory exist where there is something to enable (PCI Local Bus 3.0, 6.2.2).
    fileprivate mutating func enableDecoding(of baseAddresses: [PCIBaseAddress]) {
        var bits: PCICommand = []
        for base in baseAddresses { bits.insert(base.kind == .port ? .portSpace : .memorySpace) }
        addWritable(bits.rawValue, at: PCIRegister.command)
    }

    fileprivate var bridgeSummary: PCIFunctionSummary.Bridge? {
        guard isBridge else { return nil }
        return PCIFunctionSummary.Bridge(
            primaryBus: load(at: PCIRegister.primaryBus), secondaryBus: load(at: PCIRegister.secondaryBus),
            subordinateBus: load(at: PCIRegister.subordinateBus), ports: portWindow, memory: memoryWindow,
            prefetchable: prefetchableWindow)
    }
}
