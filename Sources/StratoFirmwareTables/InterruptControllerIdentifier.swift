/// The APIC id that an I/O APIC gets.
package enum InterruptControllerIdentifier {
    /// APIC ids are 8 bits wide in the MP table and in the MADT's I/O APIC entry, and 255 addresses all of them.
    package static let highest: UInt32 = 254

    /// An id that no processor has: one more than the number of processors where that is free, else the highest free one.
    ///
    /// - Returns: 0...254, or nil if the processors have taken all of them.
    package static func free(beside processors: [UInt32]) -> UInt8? {
        let taken = Set(processors)
        let preferred = UInt32(clamping: processors.count) &+ 1
        if preferred <= highest, !taken.contains(preferred) { return UInt8(preferred) }
        return (0...highest).reversed().first { !taken.contains($0) }.map { UInt8($0) }
    }
}
