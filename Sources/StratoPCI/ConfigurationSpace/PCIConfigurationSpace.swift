/// A function's configuration space: what it reads as, which bits a write changes, and which bits a one clears.
///
/// Every access works at every width and alignment; what lies outside reads as ones, and ignores writes. A value: it can be
/// copied to be compared with or gone back to. Acting on a change is up to whoever holds it.
package struct PCIConfigurationSpace: Sendable, Hashable {
    package enum Size: Int, Sendable {
        /// PCI Local Bus 3.0, 6.1.
        case conventional = 256
        /// PCI Express Base 4.0, 7.2.2.
        case express = 4096
    }

    private var bytes: [UInt8]
    private var writable: [UInt8]
    private var clearable: [UInt8]

    /// Where the next capability is put.
    var nextCapability = PCIRegister.deviceDependent
    /// The byte that refers to the next capability.
    var capabilityLink = PCIRegister.capabilities

    /// All zeros, and nothing of it writable.
    package init(_ size: Size) {
        bytes = Array(repeating: 0, count: size.rawValue)
        writable = bytes
        clearable = bytes
    }

    /// In bytes.
    package var count: Int { bytes.count }

    // MARK: The guest's side

    /// - Parameters:
    ///   - offset: in bytes.
    ///   - width: 1...8 bytes.
    /// - Returns: the value, in the low `width` bytes.
    package func read(at offset: Int, width: Int) -> UInt64 {
        var value: UInt64 = 0
        for index in 0..<min(max(width, 0), 8) {
            let (position, overflow) = offset.addingReportingOverflow(index)
            let isInside = !overflow && offset >= 0 && position < bytes.count
            let byte = isInside ? bytes[position] : 0xFF
            value |= UInt64(byte) &<< UInt64(index &* 8)
        }
        return value
    }

    /// Changes the bits that can be written, and clears those for which a one is written that are cleared so.
    ///
    /// - Parameters:
    ///   - value: in the low `width` bytes.
    ///   - offset: in bytes.
    ///   - width: 1...8 bytes.
    /// - Returns: the bytes inside the space that the access covers.
    package mutating func write(_ value: UInt64, at offset: Int, width: Int) -> Range<Int> {
        guard bytes.indices.contains(offset) else { return 0..<0 }
        let length = min(min(max(width, 0), 8), bytes.count &- offset)
        for index in 0..<length {
            let position = offset &+ index
            let given = UInt8(truncatingIfNeeded: value &>> UInt64(index &* 8))
            let kept = bytes[position] & ~writable[position] & ~(given & clearable[position])
            bytes[position] = kept | given & writable[position]
        }
        return offset..<(offset &+ length)
    }

    // MARK: The device's side

    /// Reads a little-endian register; zero outside.
    package func load<T: FixedWidthInteger & UnsignedInteger>(_ type: T.Type = T.self, at offset: Int) -> T {
        guard isInside(offset, T.bitWidth / 8) else { return 0 }
        return T(truncatingIfNeeded: read(at: offset, width: T.bitWidth / 8))
    }

    /// Sets a little-endian register whatever the guest may write to it; outside nothing happens.
    package mutating func store<T: FixedWidthInteger & UnsignedInteger>(_ value: T, at offset: Int) {
        PCIConfigurationSpace.store(value, at: offset, in: &bytes)
    }

    /// Lays a register out: what it holds, what a write changes, what a one clears. The guest reads the other bits only.
    package mutating func define<T: FixedWidthInteger & UnsignedInteger>(
        _ offset: Int, value: T, writable: T = 0, clearable: T = 0
    ) {
        PCIConfigurationSpace.store(value, at: offset, in: &bytes)
        PCIConfigurationSpace.store(writable, at: offset, in: &self.writable)
        PCIConfigurationSpace.store(clearable, at: offset, in: &self.clearable)
    }

    /// Lets the guest change more bits of a register.
    mutating func addWritable(_ bits: UInt16, at offset: Int) {
        guard isInside(offset, 2) else { return }
        writable[offset] |= UInt8(truncatingIfNeeded: bits)
        writable[offset &+ 1] |= UInt8(truncatingIfNeeded: bits &>> 8)
    }

    private func isInside(_ offset: Int, _ length: Int) -> Bool {
        offset >= 0 && length <= bytes.count && offset <= bytes.count &- length
    }

    private static func store<T: FixedWidthInteger & UnsignedInteger>(_ value: T, at offset: Int, in bytes: inout [UInt8]) {
        let length = T.bitWidth / 8
        guard offset >= 0, length <= bytes.count, offset <= bytes.count &- length else { return }
        for index in 0..<length {
            bytes[offset &+ index] = UInt8(truncatingIfNeeded: value &>> T(truncatingIfNeeded: index &* 8))
        }
    }

    // MARK: State

    /// The bytes as the guest reads them.
    package var contents: [UInt8] { bytes }

    /// Takes over of `contents` what a guest or a status can have changed: outside data. What is constant stays.
    ///
    /// - Returns: false, and nothing has changed, if the bytes are not those of a function of this kind.
    package mutating func restore(_ contents: [UInt8]) -> Bool {
        let identity = PCIRegister.vendorID..<PCIRegister.command
        guard contents.count == bytes.count, contents[identity] == bytes[identity] else { return false }
        for index in bytes.indices {
            let variable = writable[index] | clearable[index]
            bytes[index] = bytes[index] & ~variable | contents[index] & variable
        }
        return true
    }
}
