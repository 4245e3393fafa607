internal import StratoVirtio

extension MicroVMBoard {
    /// A virtio-mmio register block and its interrupt.
    package struct Slot: Sendable, Equatable {
        package let base: UInt32
        package let interrupt: UInt32

        /// In bytes.
        static let size = UInt32(VirtioMMIOTransport.size)
    }

    /// The slot at a position, 0..<`slotCount`.
    package static func slot(_ position: Int) -> Slot {
        Slot(
            base: Layout.virtioBase + UInt32(position) * Slot.size,
            interrupt: Layout.firstVirtioInterrupt + UInt32(position))
    }
}
