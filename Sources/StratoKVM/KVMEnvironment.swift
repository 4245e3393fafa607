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
        if let limit { return .limited(reason: limit) }
        return .complete
    }

    /// Why a KVM that is there cannot run a guest's kernel mode, nil if it can. Opens no file: a thread may ask that is not
    /// allowed to.
    package static var limit: String? {
        var status = stat()
        // SAFETY: the string lives for the length of the call.
        if unsafe stat("/sys/module/kvm_pvm", &status) == 0 {
            return "/dev/kvm is provided by kvm_pvm, which emulates a guest's kernel mode"
        }
        return missingVirtualization
    }

    package var description: String {
        switch self {
        case .complete: "KVM runs Linux here"
        case .limited(let reason), .absent(let reason): reason
        }
    }
}
