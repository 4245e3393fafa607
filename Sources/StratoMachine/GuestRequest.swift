/// What a guest asked its machine for, or what became of it.
package enum GuestRequest: Sendable, Equatable {
    /// The guest powered off.
    case powerOff
    /// The guest asked for a reset by a controller made for it, or reset its processor by a triple fault.
    case reset
    /// The guest reported that it crashed.
    case crashed
    /// The firmware or the system needs what the machine does not have; the text says what, and what to do.
    case refused(String)
    /// A virtual CPU cannot go on; the text says why.
    case failed(String)
}
