/// The kind of machine, and what it has beside the devices that are listed.
public struct MachineConfiguration: Sendable, Hashable {
    /// A board.
    public enum Kind: String, Sendable, Hashable, CaseIterable {
        /// No virtual machine: a monitor that answers questions about what it could run.
        case none

        /// The smallest machine that boots Linux: virtio over MMIO, no PCI, no firmware.
        case microVM = "microvm"

        /// A board with PCI Express, ACPI and UEFI: q35 on x86_64, virt on aarch64.
        case standard = "standard_vm"
    }

    /// Which board.
    public var kind: Kind

    /// ACPI tables beside the MP table; only a microVM can go without.
    public var hasACPI: Bool

    /// Every virtio slot of a microVM is visible to the guest, also those without a device.
    public var showsEmptySlots: Bool

    /// The guest may mark points of its start by writing 1 and 2 to port 0x3FF (x86_64) or 0x09000F00 (aarch64); the
    /// log then shows wall-clock and CPU time since the process began.
    public var hasBootMarkers: Bool

    /// A microVM with ACPI, hidden empty slots and no boot markers.
    public init(kind: Kind = .microVM) {
        self.kind = kind
        hasACPI = true
        showsEmptySlots = false
        hasBootMarkers = false
    }
}

/// A 128-bit identity in the byte order of its text form (RFC 9562, section 4).
public struct MachineIdentifier: Sendable, Hashable, CustomStringConvertible {
    /// The sixteen bytes, first to last as they are written.
    public let bytes: [UInt8]

    /// Parses `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`, upper or lower case; nil for anything else.
    public init?(_ text: String) {
        let groups = text.utf8.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
        guard groups.map(\.count) == [8, 4, 4, 4, 12] else { return nil }
        let digits = groups.joined().compactMap { Character(Unicode.Scalar($0)).hexDigitValue }
        guard digits.count == 32 else { return nil }
        bytes = stride(from: 0, to: 32, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
    }

    /// Lower-case text with hyphens.
    public var description: String {
        var text = ""
        for (index, byte) in bytes.enumerated() {
            if [4, 6, 8, 10].contains(index) { text += "-" }
            text += byte < 16 ? "0" : ""
            text += String(byte, radix: 16)
        }
        return text
    }
}
