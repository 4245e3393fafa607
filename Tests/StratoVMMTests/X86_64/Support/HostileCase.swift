#if arch(x86_64)
import Testing

/// Something that a driver must not do, and what becomes of the device.
struct HostileCase: Sendable, CustomTestStringConvertible {
    enum Outcome: Sendable, Equatable {
        /// The device gives the queue up and asks for a reset; nothing was given back.
        case needsReset
        /// The request is answered with a status byte; the used length, where it is said, is this.
        case answered(UInt8, length: UInt32? = nil)
        /// This many chains are given back, whatever is in them.
        case givenBack(UInt16)
        /// Whatever comes, a reset cures it.
        case anything
    }

    let name: String
    let outcome: Outcome
    var features = GuestDisk.Feature.version1 | GuestDisk.Feature.indirectDescriptors | GuestDisk.Feature.blockWriteZeroes
    /// Fills in the rings that the device is given.
    let prepare: @Sendable (inout RingArea) -> Void
    /// What the guest does once the device runs; notifies it if nil.
    var steps: (@Sendable (inout GuestProgram, RingArea) -> Void)?
    /// What the guest does instead of starting the device.
    var start: (@Sendable (inout GuestProgram, RingArea) -> Void)?

    init(
        _ name: String, _ outcome: Outcome, features: UInt64? = nil,
        steps: (@Sendable (inout GuestProgram, RingArea) -> Void)? = nil,
        prepare: @escaping @Sendable (inout RingArea) -> Void
    ) {
        self.name = name
        self.outcome = outcome
        if let features { self.features = features }
        self.prepare = prepare
        self.steps = steps
    }

    /// A case in which the rings do not matter.
    init(
        _ name: String, start: (@Sendable (inout GuestProgram, RingArea) -> Void)? = nil,
        steps: (@Sendable (inout GuestProgram, RingArea) -> Void)? = nil, outcome: Outcome = .anything
    ) {
        self.init(name, outcome, steps: steps) { $0.request(GuestDisk.Request.read) }
        self.start = start
    }

    var testDescription: String { name }
}
#endif
