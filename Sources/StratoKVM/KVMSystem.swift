internal import CStratoLinux
internal import Glibc
internal import StratoHost

/// The host's KVM: `/dev/kvm`, what it can do, and what virtual machines are made from.
package final class KVMSystem: Sendable {
    /// The one version of the interface there has ever been (Linux, Documentation/virt/kvm/api.rst, 4.1).
    private static let interfaceVersion: Int32 = 12

    private let device: OwnedDescriptor

    /// The size of the area that a virtual CPU shares with this process, in bytes.
    let processorAreaSize: Int

    /// Opens KVM.
    ///
    /// - Parameter path: the device, or another name of it.
    /// - Throws: `KVMError`, saying whether the device is missing, closed to this user or of another version.
    package init(path: String = "/dev/kvm") throws(KVMError) {
        let descriptor: OwnedDescriptor
        do {
            descriptor = try OwnedDescriptor(opening: path, flags: O_RDWR)
        } catch {
            throw KVMError(KVMSystem.explanation(path, error))
        }
        let version = csl_ioctl(descriptor.number, CSL_KVM_GET_API_VERSION.rawValue, 0)
        guard version == KVMSystem.interfaceVersion else {
            throw KVMError("\(path) is not KVM: its interface has version \(version), not \(KVMSystem.interfaceVersion)")
        }
        let size = csl_ioctl(descriptor.number, CSL_KVM_GET_VCPU_MMAP_SIZE.rawValue, 0)
        guard size >= Int32(MemoryLayout<kvm_run>.size) else {
            throw KVMError("\(path): the virtual CPU's shared area has \(size) bytes, which is too small")
        }
        processorAreaSize = Int(size)
        device = descriptor
    }

    private static func explanation(_ path: String, _ error: LinuxError) -> String {
        switch error.code {
        case ENOENT:
            "\(path) does not exist: load the kvm module of this host, or enable virtualization in its firmware"
        case EACCES, EPERM:
            "\(path) may not be opened by this user: add the user to the group that owns it, usually kvm"
        default:
            "\(error)"
        }
    }

    /// The descriptor, valid as long as this object lives.
    package var number: Int32 { device.number }

    /// The value of a capability, 0 for one that is not there.
    package func capability(_ number: Int32) -> Int32 {
        max(0, csl_ioctl(device.number, CSL_KVM_CHECK_EXTENSION.rawValue, UInt(bitPattern: Int(number))))
    }

    /// The most virtual CPUs that a machine can have.
    package var maximumProcessorCount: Int {
        let limit = capability(KVM_CAP_MAX_VCPUS)
        // Kernels that do not say have the limit that this capability replaced (api.rst, 4.7).
        return limit > 0 ? Int(limit) : max(4, Int(capability(KVM_CAP_NR_VCPUS)))
    }
}
