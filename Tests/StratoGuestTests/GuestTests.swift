import Testing

/// Guests run one after the other: each has the machine for itself, and limits need not be guessed.
@Suite("Guests", .serialized)
enum GuestTests {}
