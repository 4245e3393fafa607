internal import Glibc

/// What the host's KVM is good for. It decides whether a guest kernel can be started here at all.
package enum KVMEnvironment: Sendable, Equatable, CustomStringConvertible {
    /// Runs any guest.
    case complete
    /// Answers the whole interface, but runs privileged guest code in software and cannot run Linux.
    case limited(reason: String)
    /// There is none.
    case absent(reason: String)

    /// Looks at the host.
    package static func detect(path: String = "/dev/kvm") -> KVMEnvironment {
        do {
            _ = try KVMSystem(path: path)
        } catch {
            return .absent(reason: error.description)
        }
        var status = stat()
        // SAFETY: the string lives for the length of the call. Asked this way, it needs no right to open anything.
        if unsafe stat("/sys/module/kvm_pvm", &status) == 0 {
            return .limited(reason: "/dev/kvm is provided by kvm_pvm, which emulates a guest's kernel mode")
        }
        if let reason = missingVirtualization() { return .limited(reason: reason) }
        return .complete
    }

    /// Files that `detect` opens, for reading and writing or for reading alone.
    package static let openedPaths = (used: ["/dev/kvm"], read: ["/proc/cpuinfo"])

    package var description: String {
        switch self {
        case .complete: "KVM runs Linux here"
        case .limited(let reason), .absent(let reason): reason
        }
    }
}
