package import StratoMemory

/// A range of memory or ports that a function has, and whose place the guest chooses (PCI Local Bus 3.0, 6.2.5).
package struct PCIBaseAddress: Sendable {
    package enum Kind: Sendable, Hashable {
        case memory32(isPrefetchable: Bool)
        case memory64(isPrefetchable: Bool)
        case port
    }

    /// Bits of a base address register that the guest cannot change.
    private enum Bits {
        static let port: UInt32 = 1 << 0
        static let memory64: UInt32 = 1 << 2
        static let prefetchable: UInt32 = 1 << 3
        static let memoryFlags: UInt32 = 0xF
        static let portFlags: UInt32 = 0x3
    }

    /// Of the register, 0...5; a 64-bit one takes the next register too.
    package let index: Int
    package let kind: Kind
    /// In bytes, a power of two.
    package let size: UInt64
    /// What answers there.
    package let device: any BusDevice
    /// Called with the address from which on the guest reaches the range, nil when it does not reach it any more. Whoever is
    /// called must not come back to the function or its bus.
    package let onMove: (@Sendable (GuestAddress?) -> Void)?

    package init(
        _ index: Int, _ kind: Kind, size: UInt64, device: any BusDevice,
        onMove: (@Sendable (GuestAddress?) -> Void)? = nil
    ) {
        self.index = index
        self.kind = kind
        self.size = size
        self.device = device
        self.onMove = onMove
    }

    /// The register's offset in configuration space.
    package var offset: Int { PCIRegister.baseAddresses + index * 4 }

    /// How many registers it takes.
    var registerCount: Int {
        if case .memory64 = kind { 2 } else { 1 }
    }

    var space: PCIAddressMap.Space { kind == .port ? .port : .memory }

    /// The bits that say of which kind it is.
    private var flags: UInt32 {
        switch kind {
        case .port: Bits.port
        case .memory32(let isPrefetchable): isPrefetchable ? Bits.prefetchable : 0
        case .memory64(let isPrefetchable): Bits.memory64 | (isPrefetchable ? Bits.prefetchable : 0)
        }
    }

    /// A memory range is at least 128 bytes (6.2.5.1 asks for 16; PCI Express Base 4.0, 7.5.1.2.1, for 128); ports are at
    /// most 256.
    var isValid: Bool {
        guard size.nonzeroBitCount == 1, index >= 0 else { return false }
        switch kind {
        case .port: return (4...256).contains(size)
        case .memory32: return (128...(1 << 31)).contains(size)
        case .memory64: return (128...(1 << 62)).contains(size)
        }
    }

    /// Puts the registers into a configuration space: sizing with all ones follows from what cannot be written.
    func define(in space: inout PCIConfigurationSpace) {
        let mask = ~(size &- 1)
        let low = UInt32(truncatingIfNeeded: mask) & ~(kind == .port ? Bits.portFlags : Bits.memoryFlags)
        space.define(offset, value: flags, writable: low)
        if case .memory64 = kind {
            space.define(offset + 4, value: UInt32(0), writable: UInt32(truncatingIfNeeded: mask &>> 32))
        }
    }

    /// Where the guest has put the range, decoded or not.
    package func range(in space: PCIConfigurationSpace) -> GuestRange? {
        var base = UInt64(space.load(UInt32.self, at: offset) & ~(kind == .port ? Bits.portFlags : Bits.memoryFlags))
        if case .memory64 = kind { base |= UInt64(space.load(UInt32.self, at: offset + 4)) &<< 32 }
        return GuestRange(base: GuestAddress(base), size: size)
    }
}
