/// Why a virtual CPU came back from the guest (Linux, Documentation/virt/kvm/api.rst, chapter 5).
package enum ProcessorExit: Sendable, Equatable {
    /// Reads `count` values of `width` bytes from a port, one after the other; answered by `setPortData`.
    case portRead(port: UInt16, width: Int, count: Int)
    /// Writes `count` values of `width` bytes to a port; they are read by `portData`.
    case portWrite(port: UInt16, width: Int, count: Int)
    /// Reads from an address without memory; answered by `setMMIOData`.
    case mmioRead(address: UInt64, width: Int)
    /// Writes to an address without memory.
    case mmioWrite(address: UInt64, width: Int, value: UInt64)
    /// Halted. With the interrupt controller in the kernel it stays in there.
    case halt
    /// A triple fault.
    case shutdown
    /// Something the guest asked its firmware for; `type` is one of KVM_SYSTEM_EVENT.
    case systemEvent(type: UInt32)
    /// A signal or `requestExit` ended it.
    case interrupted
    /// The hardware refused the virtual CPU's state.
    case entryFailed(hardwareReason: UInt64)
    /// KVM gave up on the guest; `subcode` is one of KVM_INTERNAL_ERROR.
    case internalError(subcode: UInt32)
    /// A reason that this program did not ask to be told.
    case unexpected(reason: UInt32)
}
