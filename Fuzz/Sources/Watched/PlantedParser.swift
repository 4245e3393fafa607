internal import Glibc

/// A parser that is wrong on purpose: what finds nothing here would find nothing anywhere. It reads a header of four known
/// bytes, which one input in four billion has, and goes wrong behind them.
package enum PlantedParser {
    /// How it goes wrong, by the bytes that lead there.
    package enum Bug: String, Sendable, CaseIterable {
        /// Traps as our own code would, by an overflow.
        case trap
        /// Reads past the end of its memory.
        case past
        /// Answers what it must not.
        case lies
        /// Does not end.
        case hang
    }

    /// - Returns: nil, as it is supposed to.
    package static func parse(_ bytes: [UInt8], _ bug: Bug) -> UInt8? {
        for (index, expected) in bug.rawValue.utf8.enumerated() {
            guard index < bytes.count, bytes[index] == expected else { return nil }
        }
        switch bug {
        case .trap:
            return UInt8.max + UInt8(clamping: bytes.count)
        case .past:
            let memory = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: bytes.count)
            defer { unsafe memory.deallocate() }
            _ = unsafe memory.initialize(fromContentsOf: bytes)
            // SAFETY: none. The bytes behind the end are what is to be noticed.
            return unsafe memory.baseAddress?.advanced(by: memory.count).pointee
        case .lies:
            return 0
        case .hang:
            // A loop without calls would be left out.
            while !bytes.isEmpty { usleep(1000) }
            return nil
        }
    }
}
