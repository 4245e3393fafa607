package import StratoVMM

/// Something that happened, as all clients are told it.
package struct QMPEvent: Sendable {
    /// The names that clients may see.
    package enum Name: String, Sendable, CaseIterable {
        case shutdown = "SHUTDOWN"
        case reset = "RESET"
        case stop = "STOP"
        case resume = "RESUME"
        case powerDown = "POWERDOWN"
    }

    package let name: Name
    package let data: JSONObject
    /// Since 1970 in UTC, when it happened.
    package let microseconds: Int64

    package init(_ name: Name, data: JSONObject = JSONObject(), microseconds: Int64) {
        self.name = name
        self.data = data
        self.microseconds = microseconds
    }

    /// What clients are told of an event of the machine; nil for what is not theirs to know.
    package init?(_ event: MachineEvent, microseconds: Int64) {
        switch event {
        case .built: return nil
        case .stopped: self.init(.stop, microseconds: microseconds)
        case .resumed: self.init(.resume, microseconds: microseconds)
        case .powerDownRequested: self.init(.powerDown, microseconds: microseconds)
        case .reset(let isByGuest):
            let reason = isByGuest ? ShutdownReason.guestReset : .hostQMPReset
            self.init(
                .reset, data: ["guest": .bool(isByGuest), "reason": .string(reason.rawValue)], microseconds: microseconds)
        case .shutdown(let reason):
            self.init(
                .shutdown, data: ["guest": .bool(reason.isGuestInitiated), "reason": .string(reason.rawValue)],
                microseconds: microseconds)
        }
    }

    var json: JSONObject {
        [
            "event": .string(name.rawValue),
            "data": .object(data),
            "timestamp": .object([
                "seconds": .integer(microseconds / 1_000_000),
                "microseconds": .integer(microseconds % 1_000_000),
            ]),
        ]
    }
}
