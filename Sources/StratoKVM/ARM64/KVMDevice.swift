#if arch(arm64)
internal import CStratoLinux
internal import Glibc
internal import StratoHost

/// A device that KVM itself emulates, set up and read by attributes (Linux, Documentation/virt/kvm/api.rst, 4.79 and 4.80).
struct KVMDevice: ~Copyable {
    private let descriptor: OwnedDescriptor
    private let name: String

    /// Makes a device.
    ///
    /// - Parameters:
    ///   - type: one of KVM_DEV_TYPE.
    ///   - name: for errors: `the interrupt controller`.
    ///   - machine: where it is made; it lives as long as the machine.
    /// - Throws: `KVMError`, saying so if this KVM has no such device.
    init(_ type: kvm_device_type, name: String, in machine: KVMVirtualMachine) throws(KVMError) {
        var request = kvm_create_device()
        request.type = type.rawValue
        // SAFETY: the structure lives for the length of the call.
        let result = unsafe csl_ioctl_pointer(machine.number, CSL_KVM_CREATE_DEVICE.rawValue, &request)
        guard result != 0 &- ENODEV else { throw KVMError("KVM on this host does not have \(name)") }
        try kvm("make \(name)") { () throws(LinuxError) in
            try LinuxError.check(result, "KVM_CREATE_DEVICE")
        }
        descriptor = OwnedDescriptor(owning: Int32(bitPattern: request.fd))
        self.name = name
    }

    /// Sets an attribute, whose value is as wide as KVM's documentation of the device says.
    func set<Value: FixedWidthInteger & BitwiseCopyable>(
        _ group: Int32, _ attribute: UInt64, to value: Value, _ attempt: String
    ) throws(KVMError) {
        var value = value
        // SAFETY: KVM reads the value, which lives for the length of the call, and no more.
        let result = unsafe withUnsafeMutablePointer(to: &value) { pointer in
            unsafe transfer(CSL_KVM_SET_DEVICE_ATTR.rawValue, group, attribute, pointer)
        }
        try check(result, attempt)
    }

    /// Does what an attribute without a value stands for.
    func command(_ group: Int32, _ attribute: Int32, _ attempt: String) throws(KVMError) {
        let result = unsafe transfer(CSL_KVM_SET_DEVICE_ATTR.rawValue, group, UInt64(UInt32(bitPattern: attribute)), nil)
        try check(result, attempt)
    }

    /// Reads an attribute.
    func get<Value: FixedWidthInteger & BitwiseCopyable>(
        _ group: Int32, _ attribute: UInt64, as type: Value.Type = Value.self, _ attempt: String
    ) throws(KVMError) -> Value {
        var value = Value.zero
        // SAFETY: KVM writes the value, which lives for the length of the call, and no more.
        let result = unsafe withUnsafeMutablePointer(to: &value) { pointer in
            unsafe transfer(CSL_KVM_GET_DEVICE_ATTR.rawValue, group, attribute, pointer)
        }
        try check(result, attempt)
        return value
    }

    @unsafe
    private func transfer(_ request: UInt, _ group: Int32, _ attribute: UInt64, _ value: UnsafeMutableRawPointer?) -> Int32 {
        unsafe transferAttribute(descriptor.number, request, group, attribute, value)
    }

    private func check(_ result: Int32, _ attempt: String) throws(KVMError) {
        let name = name
        try kvm("\(attempt) of \(name)") { () throws(LinuxError) in
            try LinuxError.check(result, "ioctl")
        }
    }
}

/// Reads or sets an attribute of a device or a virtual CPU (api.rst, 4.80).
@unsafe
func transferAttribute(
    _ descriptor: Int32, _ request: UInt, _ group: Int32, _ attribute: UInt64, _ value: UnsafeMutableRawPointer?
) -> Int32 {
    var structure = kvm_device_attr()
    structure.group = UInt32(bitPattern: group)
    structure.attr = attribute
    structure.addr = UInt64(UInt(bitPattern: value))
    return unsafe csl_ioctl_pointer(descriptor, request, &structure)
}
#endif
