/// Why guest memory could not be made or reached.
@usableFromInline
package enum GuestMemoryError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The range is not wholly inside one region of RAM.
    case notMemory(address: GuestAddress, count: UInt64)

    /// The regions given overlap, are empty or reach past the end of the address space.
    case invalidLayout(String)

    /// The host gave no memory.
    case hostRefused(String)

    @usableFromInline package var description: String {
        switch self {
        case .notMemory(let address, let count): "no guest memory at \(address) for \(count) bytes"
        case .invalidLayout(let text): "guest memory layout: \(text)"
        case .hostRefused(let text): text
        }
    }
}
