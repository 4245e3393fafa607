internal import Glibc
internal import StratoHost

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
        if (try? OwnedDescriptor(opening: "/sys/module/kvm_pvm", flags: O_RDONLY)) != nil {
            return .limited(reason: "/dev/kvm is provided by kvm_pvm, which emulates a guest's kernel mode")
        }
        if let reason = missingVirtualization() { return .limited(reason: reason) }
        return .complete
    }

    package var description: String {
        switch self {
        case .complete: "KVM runs Linux here"
        case .limited(let reason), .absent(let reason): reason
        }
    }
}
