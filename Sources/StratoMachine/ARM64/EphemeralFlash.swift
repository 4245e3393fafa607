#if arch(arm64)
internal import Glibc
internal import StratoHost
internal import StratoMemory
internal import StratoPlatform

/// Erased flash whose contents go with the machine.
final class EphemeralFlash: FlashStorage {
    /// Enough for the variables of any firmware.
    private static let capacity: UInt64 = 1 << 20

    private static let erased: UInt8 = 0xFF

    var name: String { "variables without a file" }
    var size: UInt64 { EphemeralFlash.capacity }
    var isReadOnly: Bool { false }

    func load(into memory: GuestMemory, at address: GuestAddress, count: Int) throws(LinuxError) {
        guard let buffer = memory.buffer(at: address, count: count) else {
            throw LinuxError(code: EFAULT, operation: "erase flash")
        }
        buffer.fill(EphemeralFlash.erased)
    }

    func write(_ bytes: Span<UInt8>, at offset: UInt64) throws(LinuxError) {}

    func synchronize() throws(LinuxError) {}
}
#endif
