package import StratoHost
package import StratoMemory
internal import Synchronization

/// A PCI Express root port with one slot, whose device can come and go while the guest runs (PCI Express Base 4.0, 6.7 and
/// 7.5.3: native hot-plug).
///
/// The slot has an attention button, indicators and a power controller. A device that is there from the start has power; one
/// that is plugged in later gets it from the guest's driver, and one whose removal was asked for goes when the driver has
/// switched its power and its indicator off. The device answers while it is there, has power and the link is not disabled.
///
/// There is no power management capability: a port in a low-power state could report hot-plug only by PME, and there is
/// nothing to save here.
package final class PCIExpressRootPort: PCIBridge {
    /// What a port is made from.
    package struct Options: Sendable {
        /// Names the port and the bus behind it.
        package var name: String
        /// The link's number, unique among the ports of a root complex.
        package var port: UInt8
        /// The slot's number as people see it, 0..<8192, unique among all slots.
        package var slot: UInt16
        package var isMultifunction: Bool

        package init(name: String, port: UInt8, slot: UInt16, isMultifunction: Bool = false) {
            self.name = name
            self.port = port
            self.slot = slot
            self.isMultifunction = isMultifunction
        }
    }

    /// StratoVirt's and QEMU's, so that firmware and drivers know it.
    static let identity = PCIIdentity(vendor: 0x1B36, device: 0x000C, classCode: 0x06_04_00)

    private struct Slot {
        var isRemovalRequested = false
        /// The last level of the hot-plug interrupt: a message is sent when it rises (6.7.3.4).
        var isInterrupting = false
    }

    package let isMultifunction: Bool
    package let secondaryBus: PCIBus
    package var name: String { core.name }

    private let core: PCIFunctionCore
    private let msix: MSIX
    private let express: Int
    private let onEject: @Sendable ([any PCIFunction]) -> Void
    private let isLinkActive = Atomic(false)
    private let slot = Mutex(Slot())
    /// The secondary bus in the address map, while attached.
    private let downstream = Mutex<(map: PCIAddressMap, scope: PCIAddressMap.Scope)?>(nil)

    /// - Parameters:
    ///   - options: of the port.
    ///   - messages: for the port's one vector.
    ///   - logger: told of what the guest does that cannot be.
    ///   - onEject: called with a device's functions, already off the bus, when the guest has let go of them; on the thread
    ///     of whoever wrote the register, without a lock of the port. Whoever is called ends them.
    /// - Throws: `PCIError`.
    package init(
        _ options: Options, messages: any MessageInterruptController, logger: Logger,
        onEject: @escaping @Sendable ([any PCIFunction]) -> Void
    ) throws(PCIError) {
        guard options.slot < PCIExpress.SlotCapabilities.numberLimit else {
            throw PCIError("\(options.name): slot \(options.slot) is not below \(PCIExpress.SlotCapabilities.numberLimit)")
        }
        isMultifunction = options.isMultifunction
        secondaryBus = PCIBus(name: options.name, deviceLimit: 1)
        self.onEject = onEject
        let msix = try MSIX(options.name, vectorCount: 1, controller: messages, logger: logger)
        self.msix = msix
        var space = PCIConfigurationSpace(
            bridge: PCIExpressRootPort.identity, size: .express, isMultifunction: options.isMultifunction)
        let vectors = try space.addMSIX(msix, baseAddress: 0)
        express = try space.addExpress(.rootPort)
        space.defineSlot(at: express, options)
        core = try PCIFunctionCore(
            options.name, space,
            baseAddresses: [PCIBaseAddress(0, .memory32(isPrefetchable: false), size: msix.size, device: msix)],
            msix: (msix, vectors), pin: PCIInterruptPin(1))
        core.withSpace { settle(&$0) }
    }

    // MARK: The slot

    /// Puts a function into the slot before the guest runs: it is there, with power.
    ///
    /// - Throws: `PCIError`.
    package func insert(_ function: any PCIFunction, function number: UInt8 = 0) throws(PCIError) {
        try secondaryBus.insert(function, device: 0, function: number)
        core.withSpace { settle(&$0) }
    }

    /// Plugs a device in while the guest runs, which is told of it and gives it power.
    ///
    /// - Parameter functions: of one device, with their numbers.
    /// - Throws: `PCIError`, and the slot is as it was.
    package func plug(_ functions: [(number: UInt8, object: any PCIFunction)]) throws(PCIError) {
        guard secondaryBus.functions.isEmpty else { throw PCIError("\(name): the slot is taken") }
        guard functions.contains(where: { $0.number == 0 }) else {
            throw PCIError("\(name): a device without a function 0 cannot be plugged in")
        }
        do {
            for function in functions {
                try secondaryBus.insert(function.object, device: 0, function: function.number)
            }
        } catch {
            for function in secondaryBus.functions { secondaryBus.remove(device: 0, function: function.function) }
            throw error
        }
        core.withSpace { space in
            setPresence(true, &space)
            raise(PCIExpress.SlotStatus.presenceChanged, &space)
            follow(&space)
        }
    }

    /// Presses the attention button, by which the guest's driver is asked to let the device go. `onEject` tells when it has;
    /// a device without power goes at once.
    ///
    /// - Throws: `PCIError` if there is nothing to remove, or this was asked already.
    package func requestRemoval() throws(PCIError) {
        let gone = try core.withSpace { space throws(PCIError) in
            guard !secondaryBus.functions.isEmpty else { throw PCIError("\(name): the slot is empty") }
            let isFirst = slot.withLock { slot in
                defer { slot.isRemovalRequested = true }
                return !slot.isRemovalRequested
            }
            // A second press within five seconds would take the first one back (6.7.1.5).
            guard isFirst else { throw PCIError("\(name): the guest has been asked already") }
            let control: UInt16 = space.load(at: express + PCIExpress.Register.slotControl)
            if control & PCIExpress.SlotControl.powerOff != 0 { return eject(&space) }
            raise(PCIExpress.SlotStatus.attentionButton, &space)
            follow(&space)
            return []
        }
        if !gone.isEmpty { onEject(gone) }
    }

    private func setPresence(_ isPresent: Bool, _ space: inout PCIConfigurationSpace) {
        let offset = express + PCIExpress.Register.slotStatus
        let status: UInt16 = space.load(at: offset)
        space.store(
            isPresent ? status | PCIExpress.SlotStatus.isPresent : status & ~PCIExpress.SlotStatus.isPresent, at: offset)
    }

    private func raise(_ event: UInt16, _ space: inout PCIConfigurationSpace) {
        let offset = express + PCIExpress.Register.slotStatus
        space.store(space.load(UInt16.self, at: offset) | event, at: offset)
    }

    /// The slot at power-on: what is in it has power.
    private func settle(_ space: inout PCIConfigurationSpace) {
        let isPresent = !secondaryBus.functions.isEmpty
        setPresence(isPresent, &space)
        let indicator = isPresent ? PCIExpress.SlotControl.indicatorOn : PCIExpress.SlotControl.indicatorOff
        space.store(
            PCIExpress.SlotControl.indicatorOff << PCIExpress.SlotControl.attentionIndicatorShift
                | indicator << PCIExpress.SlotControl.powerIndicatorShift
                | (isPresent ? 0 : PCIExpress.SlotControl.powerOff),
            at: express + PCIExpress.Register.slotControl)
        follow(&space)
        // A link that is up from the start has not changed.
        let offset = express + PCIExpress.Register.slotStatus
        space.store(space.load(UInt16.self, at: offset) & ~PCIExpress.SlotStatus.events, at: offset)
        updateInterrupt(space)
    }

    /// Takes the device off the bus, as it is after a reset: it does nothing more of its own.
    private func eject(_ space: inout PCIConfigurationSpace) -> [any PCIFunction] {
        slot.withLock { $0.isRemovalRequested = false }
        let functions = secondaryBus.functions
        for entry in functions {
            secondaryBus.remove(device: entry.device, function: entry.function)
            entry.object.reset()
        }
        setPresence(false, &space)
        raise(PCIExpress.SlotStatus.presenceChanged, &space)
        follow(&space)
        return functions.map(\.object)
    }

    // MARK: Configuration

    package func readConfiguration(at offset: Int, width: Int) -> UInt64 {
        core.read(at: offset, width: width)
    }

    package func writeConfiguration(_ value: UInt64, at offset: Int, width: Int) {
        let gone = core.write(value, at: offset, width: width) { write, space in
            let control = PCIRegister.bridgeControl
            let resets = PCIBridgeControl.secondaryBusReset
            if space.load(UInt16.self, at: control) & resets & ~write.previous.load(UInt16.self, at: control) != 0 {
                secondaryBus.reset()
            }
            var gone: [any PCIFunction] = []
            if write.covers(express + PCIExpress.Register.slotControl, 2), isReleased(space) { gone = eject(&space) }
            follow(&space)
            return gone
        }
        if !gone.isEmpty { onEject(gone) }
    }

    /// The guest was asked to let the device go, and has switched power and power indicator off (6.7.1.8).
    private func isReleased(_ space: PCIConfigurationSpace) -> Bool {
        guard slot.withLock({ $0.isRemovalRequested }) else { return false }
        let control: UInt16 = space.load(at: express + PCIExpress.Register.slotControl)
        let indicator = control >> PCIExpress.SlotControl.powerIndicatorShift & PCIExpress.SlotControl.indicatorMask
        return control & PCIExpress.SlotControl.powerOff != 0 && indicator == PCIExpress.SlotControl.indicatorOff
    }

    /// Brings link, windows, bus number and interrupt to what the registers say.
    private func follow(_ space: inout PCIConfigurationSpace) {
        secondaryBus.number.set(space.load(at: PCIRegister.secondaryBus))
        let isActive =
            space.load(UInt16.self, at: express + PCIExpress.Register.slotStatus) & PCIExpress.SlotStatus.isPresent != 0
            && space.load(UInt16.self, at: express + PCIExpress.Register.slotControl) & PCIExpress.SlotControl.powerOff == 0
            && space.load(UInt16.self, at: express + PCIExpress.Register.linkControl) & PCIExpress.Link.disable == 0
        let linkStatus = express + PCIExpress.Register.linkStatus
        let status: UInt16 = space.load(at: linkStatus)
        space.store(isActive ? status | PCIExpress.Link.isActive : status & ~PCIExpress.Link.isActive, at: linkStatus)
        if isLinkActive.exchange(isActive, ordering: .acquiringAndReleasing) != isActive {
            raise(PCIExpress.SlotStatus.linkChanged, &space)
            // A device whose link goes down has lost its state (6.6.1).
            if !isActive { secondaryBus.reset() }
        }
        if let (map, scope) = downstream.withLock({ $0 }) {
            map.setWindows(isActive ? space.forwardedWindows : PCIAddressMap.Windows(), of: scope)
        }
        updateInterrupt(space)
    }

    /// 6.7.3.4: the events that are there and enabled, with the interrupt enabled.
    private func updateInterrupt(_ space: PCIConfigurationSpace) {
        let control: UInt16 = space.load(at: express + PCIExpress.Register.slotControl)
        let status: UInt16 = space.load(at: express + PCIExpress.Register.slotStatus)
        var enabled = control & (PCIExpress.SlotControl.attentionButtonEnable | PCIExpress.SlotControl.presenceEnable)
        if control & PCIExpress.SlotControl.linkEnable != 0 { enabled |= PCIExpress.SlotStatus.linkChanged }
        let isInterrupting = control & PCIExpress.SlotControl.interruptEnable != 0 && status & enabled != 0
        let isRising = slot.withLock { slot in
            defer { slot.isInterrupting = isInterrupting }
            return isInterrupting && !slot.isInterrupting
        }
        core.pin.setPending(isInterrupting)
        if isRising { msix.notify(0) }
    }

    package var busRange: ClosedRange<UInt8>? {
        guard isLinkActive.load(ordering: .acquiring) else { return nil }
        return core.withSpace { space in
            let secondary: UInt8 = space.load(at: PCIRegister.secondaryBus)
            let subordinate: UInt8 = space.load(at: PCIRegister.subordinateBus)
            // Bus 0 is the root's: the guest has not numbered the bus yet.
            return secondary != 0 && subordinate >= secondary ? secondary...subordinate : nil
        }
    }

    // MARK: Life cycle

    package func attach(_ attachment: PCIAttachment) {
        core.attach(attachment)
        let scope = attachment.map.addScope(below: attachment.scope)
        downstream.withLock { $0 = (attachment.map, scope) }
        secondaryBus.connect(
            PCIBus.Connection(
                map: attachment.map, scope: scope, interrupts: attachment.interrupts,
                interruptTurn: attachment.interruptTurn &+ Int(attachment.device)))
        core.withSpace { follow(&$0) }
    }

    package func detach() {
        secondaryBus.disconnect()
        if let (map, scope) = downstream.withLock({ $0 }) { map.removeScope(scope) }
        downstream.withLock { $0 = nil }
        core.detach()
    }

    /// The state after power-on. A device whose removal the guest was asked for is gone after it.
    package func reset() {
        core.reset()
        var gone: [any PCIFunction] = []
        core.withSpace { space in
            if slot.withLock({ $0.isRemovalRequested }) { gone = eject(&space) }
            secondaryBus.reset()
            settle(&space)
        }
        if !gone.isEmpty { onEject(gone) }
    }

    package func pause() { secondaryBus.pause() }

    package func resume() { secondaryBus.resume() }

    package func shutDown() {
        secondaryBus.shutDown()
        core.reset()
    }

    package var summary: PCIFunctionSummary { core.summary }

    // MARK: State

    private static let stateVersion: UInt32 = 1

    /// The port's own; the functions in the slot are asked themselves.
    package func saveState() -> [UInt8] {
        var encoder = StateEncoder(version: PCIExpressRootPort.stateVersion)
        core.save(into: &encoder)
        encoder.put(slot.withLock { $0.isRemovalRequested })
        return encoder.bytes
    }

    package func restoreState(_ bytes: [UInt8]) throws(PCIError) {
        // What was asked of the guest before belongs to the state that is left, and would cost the slot its device.
        slot.withLock { $0.isRemovalRequested = false }
        reset()
        do throws(StateError) {
            var decoder = try StateDecoder(
                bytes, versions: PCIExpressRootPort.stateVersion...PCIExpressRootPort.stateVersion)
            try core.restore(from: &decoder)
            let isRemovalRequested: Bool = try decoder.take("request for removal")
            try decoder.finish()
            let isPresent = !secondaryBus.functions.isEmpty
            slot.withLock { $0.isRemovalRequested = isRemovalRequested && isPresent }
            core.withSpace { space in
                setPresence(isPresent, &space)
                restoreLink(&space)
            }
        } catch {
            reset()
            throw PCIError("\(name): \(error)")
        }
    }

    /// Follows the restored registers without taking the link's state for an event.
    private func restoreLink(_ space: inout PCIConfigurationSpace) {
        let offset = express + PCIExpress.Register.slotStatus
        let events = space.load(UInt16.self, at: offset) & PCIExpress.SlotStatus.events
        follow(&space)
        space.store(space.load(UInt16.self, at: offset) & ~PCIExpress.SlotStatus.events | events, at: offset)
        updateInterrupt(space)
    }
}

extension PCIConfigurationSpace {
    fileprivate mutating func defineSlot(at express: Int, _ options: PCIExpressRootPort.Options) {
        typealias Register = PCIExpress.Register
        typealias Slot = PCIExpress.SlotCapabilities
        store(
            load(UInt16.self, at: express + Register.capabilities) | PCIExpress.Capabilities.slotImplemented,
            at: express + Register.capabilities)
        store(
            load(UInt32.self, at: express + Register.linkCapabilities) | PCIExpress.Link.activeReporting
                | UInt32(options.port) << PCIExpress.Link.portNumberShift,
            at: express + Register.linkCapabilities)
        addWritable(PCIExpress.Link.disable, at: express + Register.linkControl)
        define(
            express + Register.slotCapabilities,
            value: Slot.attentionButton | Slot.powerController | Slot.attentionIndicator | Slot.powerIndicator | Slot.surprise
                | Slot.hotPlug | Slot.noCommandCompleted | UInt32(options.slot) << Slot.numberShift)
        define(express + Register.slotControl, value: UInt16(0), writable: PCIExpress.SlotControl.writable)
        define(express + Register.slotStatus, value: UInt16(0), clearable: PCIExpress.SlotStatus.events)
        define(express + Register.rootControl, value: UInt16(0), writable: PCIExpress.rootControlWritable)
        define(express + Register.rootStatus, value: UInt32(0), clearable: PCIExpress.rootStatusClearable)
    }
}
