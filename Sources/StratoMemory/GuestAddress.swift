/// An address in guest physical memory, which cannot be mixed up with a number or with an address of the host.
@frozen @usableFromInline
package struct GuestAddress: Hashable, Comparable, Sendable, CustomStringConvertible {
    @usableFromInline package let value: UInt64

    @inlinable
    package init(_ value: UInt64) {
        self.value = value
    }

    @inlinable
    package static func < (left: GuestAddress, right: GuestAddress) -> Bool { left.value < right.value }

    /// The address `count` bytes further, or nil past the end of the address space.
    @inlinable
    package func advanced(by count: UInt64) -> GuestAddress? {
        let (sum, overflow) = value.addingReportingOverflow(count)
        return overflow ? nil : GuestAddress(sum)
    }

    @usableFromInline package var description: String { "0x" + String(value, radix: 16) }
}

/// A range of guest physical addresses that does not wrap.
package struct GuestRange: Hashable, Sendable, CustomStringConvertible {
    package let base: GuestAddress

    /// In bytes, at least 1.
    package let size: UInt64

    /// Nil for an empty range and for one that reaches past 2⁶⁴ − 1.
    package init?(base: GuestAddress, size: UInt64) {
        guard size > 0, !base.value.addingReportingOverflow(size - 1).overflow else { return nil }
        self.base = base
        self.size = size
    }

    /// The last address inside.
    package var last: GuestAddress { GuestAddress(base.value &+ (size &- 1)) }

    package func contains(_ address: GuestAddress) -> Bool { base <= address && address <= last }

    package func overlaps(_ other: GuestRange) -> Bool { base <= other.last && other.base <= last }

    package var description: String { "\(base)...\(last)" }
}
