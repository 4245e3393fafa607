internal import CStratoLinux
internal import Glibc
package import StratoHost

/// A virtual CPU.
///
/// One thread, the one that called `prepareThread`, runs it; only `requestExit` may be called from others.
@safe
package final class KVMProcessor: @unchecked Sendable {
    // SAFETY: the shared area lives as long as this object; apart from `immediate_exit`, which is written atomically, it is
    // touched by the thread that runs the virtual CPU alone.
    package let index: Int
    let machine: KVMVirtualMachine
    private let descriptor: OwnedDescriptor
    private let area: UnsafeMutablePointer<kvm_run>
    private let areaSize: Int
    /// Asked for once: a thread that sends kicks needs no call for it.
    private let process = getpid()

    init(machine: KVMVirtualMachine, index: Int) throws(KVMError) {
        let number = try kvm("create virtual CPU \(index)") { () throws(LinuxError) in
            try LinuxError.check(
                csl_ioctl(machine.number, CSL_KVM_CREATE_VCPU.rawValue, UInt(bitPattern: index)), "KVM_CREATE_VCPU")
        }
        let descriptor = OwnedDescriptor(owning: number)
        let size = machine.system.processorAreaSize
        let mapped = unsafe mmap(nil, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor.number, 0)
        guard let mapped = unsafe mapped, unsafe mapped != MAP_FAILED else {
            throw KVMError("map virtual CPU \(index)", LinuxError(code: errno, operation: "mmap"))
        }
        unsafe area = mapped.assumingMemoryBound(to: kvm_run.self)
        areaSize = size
        self.descriptor = descriptor
        self.machine = machine
        self.index = index
    }

    deinit {
        unsafe munmap(UnsafeMutableRawPointer(area), areaSize)
    }

    /// The descriptor, valid as long as this object lives.
    package var number: Int32 { descriptor.number }

    // MARK: Running

    /// Makes the calling thread the one that runs this virtual CPU: the signal that `requestExit` sends can end `run`,
    /// and reaches the thread at no other time. The thread has it blocked, as every `HostThread` has.
    ///
    /// - Throws: `KVMError`.
    package func prepareThread() throws(KVMError) {
        try kvm("set the signal mask of virtual CPU \(index)") { () throws(LinuxError) in
            try LinuxError.check(csl_kvm_set_signal_mask(descriptor.number, csl_kick_signal()), "KVM_SET_SIGNAL_MASK")
        }
    }

    /// Makes the current or next `run` end with `.interrupted`. May be called from any thread.
    package func requestExit(of thread: HostThread?) {
        unsafe csl_kvm_set_immediate_exit(area, 1)
        if let thread, thread.threadID != 0 {
            // A thread that has ended answers ESRCH, and needs no kick.
            _ = csl_tgkill(process, thread.threadID, csl_kick_signal())
        }
    }

    /// Takes back what `requestExit` asked for, once it has been seen.
    package func acknowledgeExitRequest() {
        unsafe csl_kvm_set_immediate_exit(area, 0)
        while csl_take_pending_signal(csl_kick_signal()) != 0 {}
    }

    /// Runs the guest until it needs something.
    ///
    /// - Throws: `KVMError` for a failure of KVM itself.
    package func run() throws(KVMError) -> ProcessorExit {
        let result = csl_ioctl(descriptor.number, CSL_KVM_RUN.rawValue, 0)
        if result < 0 {
            switch 0 &- result {
            case EINTR, EAGAIN: return .interrupted
            case EFAULT:
                // Untouched pages of a mapping that nothing is behind any more, or never was.
                throw KVMError(
                    "run virtual CPU \(index): the host has no page for the guest's memory; its file became shorter, or there is"
                        + " no room where it is", LinuxError(code: EFAULT, operation: "KVM_RUN"))
            default: throw KVMError("run virtual CPU \(index)", LinuxError(code: 0 &- result, operation: "KVM_RUN"))
            }
        }
        return unsafe decode()
    }

    @unsafe
    private func decode() -> ProcessorExit {
        let reason = unsafe area.pointee.exit_reason
        switch Int32(bitPattern: reason) {
        case KVM_EXIT_IO:
            let io = unsafe area.pointee.io
            guard portDataFits(io.data_offset, io.size, io.count) else { return .unexpected(reason: reason) }
            return Int32(io.direction) == KVM_EXIT_IO_IN
                ? .portRead(port: io.port, width: Int(io.size), count: Int(io.count))
                : .portWrite(port: io.port, width: Int(io.size), count: Int(io.count))
        case KVM_EXIT_MMIO:
            let width = Int(min(8, unsafe area.pointee.mmio.len))
            let address = unsafe area.pointee.mmio.phys_addr
            guard unsafe area.pointee.mmio.is_write != 0 else { return .mmioRead(address: address, width: width) }
            let value = unsafe UnsafeRawPointer(area).loadUnaligned(
                fromByteOffset: csl_kvm_mmio_data_offset(), as: UInt64.self)
            return .mmioWrite(address: address, width: width, value: value & KVMProcessor.mask(width))
        case KVM_EXIT_HLT: return .halt
        case KVM_EXIT_SHUTDOWN: return .shutdown
        case KVM_EXIT_SYSTEM_EVENT: return unsafe .systemEvent(type: area.pointee.system_event.type)
        case KVM_EXIT_INTR: return .interrupted
        case KVM_EXIT_FAIL_ENTRY:
            return unsafe .entryFailed(hardwareReason: area.pointee.fail_entry.hardware_entry_failure_reason)
        case KVM_EXIT_INTERNAL_ERROR: return unsafe .internalError(subcode: area.pointee.internal.suberror)
        default: return .unexpected(reason: reason)
        }
    }

    private func portDataFits(_ offset: UInt64, _ width: UInt8, _ count: UInt32) -> Bool {
        let length = UInt64(width) * UInt64(count)
        return [1, 2, 4].contains(width) && length <= UInt64(areaSize) && offset <= UInt64(areaSize) &- length
    }

    @inline(__always)
    private static func mask(_ width: Int) -> UInt64 {
        width >= 8 ? .max : (UInt64(1) << UInt64(width * 8)) - 1
    }

    // MARK: Data of an exit

    /// The `position`th value that the guest writes in the current `portWrite`.
    package func portData(_ position: Int) -> UInt32 {
        let io = unsafe area.pointee.io
        guard position >= 0, position < Int(io.count), portDataFits(io.data_offset, io.size, io.count) else { return 0 }
        let address = unsafe UnsafeRawPointer(area) + Int(io.data_offset) + position * Int(io.size)
        return switch io.size {
        case 1: unsafe UInt32(address.loadUnaligned(as: UInt8.self))
        case 2: unsafe UInt32(address.loadUnaligned(as: UInt16.self))
        default: unsafe address.loadUnaligned(as: UInt32.self)
        }
    }

    /// Answers the `position`th value of the current `portRead`.
    package func setPortData(_ value: UInt32, _ position: Int) {
        let io = unsafe area.pointee.io
        guard position >= 0, position < Int(io.count), portDataFits(io.data_offset, io.size, io.count) else { return }
        let address = unsafe UnsafeMutableRawPointer(area) + Int(io.data_offset) + position * Int(io.size)
        switch io.size {
        case 1: unsafe address.storeBytes(of: UInt8(truncatingIfNeeded: value), as: UInt8.self)
        case 2: unsafe address.storeBytes(of: UInt16(truncatingIfNeeded: value), as: UInt16.self)
        default: unsafe address.storeBytes(of: value, as: UInt32.self)
        }
    }

    /// Answers the current `mmioRead`.
    package func setMMIOData(_ value: UInt64) {
        unsafe UnsafeMutableRawPointer(area).storeBytes(
            of: value, toByteOffset: csl_kvm_mmio_data_offset(), as: UInt64.self)
    }
}
