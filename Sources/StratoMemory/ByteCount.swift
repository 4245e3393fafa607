/// Amounts of memory as they stand in messages.
package enum ByteCount {
    /// The largest unit that divides the amount: `2 MiB`, `4097 bytes`.
    package static func exact(_ bytes: UInt64) -> String {
        for (unit, name) in [(UInt64(1) << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")]
        where bytes >= unit && bytes % unit == 0 {
            return "\(bytes / unit) \(name)"
        }
        return "\(bytes) bytes"
    }

    /// Whole mebibytes, rounded down.
    static func rounded(_ bytes: UInt64) -> String { "\(bytes >> 20) MiB" }
}
