internal import Synchronization

/// The number of a bus, which the guest gives it.
package final class PCIBusNumber: Sendable {
    private let number: Atomic<UInt8>

    package init(_ number: UInt8 = 0) {
        self.number = Atomic(number)
    }

    package var value: UInt8 { number.load(ordering: .acquiring) }

    func set(_ value: UInt8) { number.store(value, ordering: .releasing) }
}

/// Who a message comes from.
struct PCIRequester: Sendable {
    let bus: PCIBusNumber
    let deviceFunction: UInt8

    /// Bus, device and function (PCI Express Base 4.0, 2.2.6.2).
    var identifier: UInt32 { UInt32(bus.value) << 8 | UInt32(deviceFunction) }
}

/// Where a function was put: what it needs to be reached and to interrupt.
package struct PCIAttachment: Sendable {
    package let map: PCIAddressMap
    /// The bus of the function in the map.
    package let scope: PCIAddressMap.Scope
    package let interrupts: PCIInterruptRouter?
    /// The device numbers of the bridges above, summed up: what INTx is turned by on its way.
    package let interruptTurn: Int
    package let bus: PCIBusNumber
    package let device: UInt8
    package let function: UInt8

    var requester: PCIRequester { PCIRequester(bus: bus, deviceFunction: device << 3 | function & 7) }
}

/// One function of a PCI device.
///
///     ┌──────────┐  attach   ┌──────────┐
///     │ detached │ ────────► │ attached │ ⟲ reset
///     └──────────┘ ◄──────── └──────────┘
///          │        detach
///          ▼ shutDown
///       (ended)
///
/// - `detached`: nobody reaches the function's ranges, and its interrupts go nowhere.
/// - `attached`: on a bus; the guest decides where its ranges are. `reset` brings it back to the state after power-on.
///
/// Configuration accesses come from virtual CPUs, several at once. Lock order: a bridge, then the functions below it, then
/// the address map, then what is behind a function's registers, then its interrupts.
package protocol PCIFunction: AnyObject, Sendable {
    /// What the function is called in errors and the log.
    var name: String { get }

    /// Function 0 says that the device may have others (PCI Local Bus 3.0, 6.2.1). Constant.
    var isMultifunction: Bool { get }

    /// Reads configuration space; what the function does not have reads as the specification says, else as ones.
    ///
    /// - Parameters:
    ///   - offset: 0..<4096.
    ///   - width: 1...8 bytes; the access ends inside the 4096.
    func readConfiguration(at offset: Int, width: Int) -> UInt64

    /// Writes configuration space.
    func writeConfiguration(_ value: UInt64, at offset: Int, width: Int)

    /// The function is on a bus from now on.
    func attach(_ attachment: PCIAttachment)

    /// The function is on no bus any more: its ranges are gone by the time this returns.
    func detach()

    /// The state after power-on: nothing decoded, no interrupt, nothing in flight.
    func reset()

    /// Finishes what is in flight and takes no more.
    func pause()

    /// Goes on.
    func resume()

    /// Gives back all that the function has of the host's. The last call, after `detach`.
    func shutDown()

    /// All that the guest can tell of the function. To be asked while it is paused and no virtual CPU runs.
    func saveState() -> [UInt8]

    /// Takes over what `saveState` gave: outside data. The function is attached.
    ///
    /// - Throws: `PCIError`; the function is then as after a reset.
    func restoreState(_ bytes: [UInt8]) throws(PCIError)

    /// What there is to tell of the function.
    var summary: PCIFunctionSummary { get }
}

extension PCIFunction {
    package func pause() {}
    package func resume() {}
}

/// A function with a bus behind it.
package protocol PCIBridge: PCIFunction {
    var secondaryBus: PCIBus { get }

    /// The bus numbers that the bridge forwards configuration accesses to; nil while it forwards none.
    var busRange: ClosedRange<UInt8>? { get }
}
