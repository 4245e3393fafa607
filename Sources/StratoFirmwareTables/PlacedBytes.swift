/// Bytes, and the guest physical address at which they belong.
package struct PlacedBytes: Sendable, Equatable {
    /// Guest physical address of the first byte.
    package let address: UInt64

    package let bytes: [UInt8]

    package init(address: UInt64, bytes: [UInt8]) {
        self.address = address
        self.bytes = bytes
    }

    /// The address behind the last byte.
    package var end: UInt64 { address &+ UInt64(bytes.count) }
}
