#if arch(arm64)
extension EndCase {
    /// The ways that a guest has: PSCI's SYSTEM_OFF and SYSTEM_RESET.
    static let byGuest = [
        EndCase(name: "poweroff", trigger: .guest("poweroff"), reason: "guest-shutdown", isByGuest: true),
        EndCase(name: "reboot", trigger: .guest("reboot"), reason: "guest-reset", isByGuest: true),
        EndCase(name: "panic=1", trigger: .guest("panic"), words: ["panic=1"], reason: "guest-reset", isByGuest: true),
        EndCase(name: "panic=-1", trigger: .guest("panic"), words: ["panic=-1"], reason: "guest-reset", isByGuest: true),
    ]
}
#endif
