#if arch(x86_64)
extension EndCase {
    /// The ways that a guest has.
    static let byGuest = [
        EndCase(name: "poweroff", trigger: .guest("poweroff"), reason: "guest-shutdown", isByGuest: true),
        EndCase(name: "reboot=k", trigger: .guest("reboot"), words: ["reboot=k"], reason: "guest-reset", isByGuest: true),
        EndCase(name: "reboot=t", trigger: .guest("reboot"), words: ["reboot=t"], reason: "guest-reset", isByGuest: true),
        EndCase(name: "reboot=a", trigger: .guest("reboot"), words: ["reboot=a"], reason: "guest-reset", isByGuest: true),
        EndCase(name: "panic=1", trigger: .guest("panic"), words: ["panic=1"], reason: "guest-reset", isByGuest: true),
        EndCase(
            name: "panic=-1 reboot=t", trigger: .guest("panic"), words: ["panic=-1", "reboot=t"], reason: "guest-reset",
            isByGuest: true),
        EndCase(name: "system_powerdown", trigger: .powerButton, reason: "guest-shutdown", isByGuest: true),
    ]
}
#endif
