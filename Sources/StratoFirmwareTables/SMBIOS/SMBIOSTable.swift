/// What a machine says about itself to management software (System Management BIOS Reference Specification 3.0, DSP0134): the
/// structures of types 0, 1, 2, 3, 4, 16, 17, 19, 32 and 127.
///
/// Text that is nil or empty is not specified. Text is printable ASCII of at most `longestText` characters.
package struct SMBIOSTable: Sendable, Equatable {
    /// Type 0: the firmware (7.1).
    package struct Firmware: Sendable, Equatable {
        package var vendor: String? = "StratoVirt"
        package var version: String? = "1.0"

        /// As mm/dd/yyyy. Linux derives from the year which of the machine's abilities it trusts.
        package var date: String? = "01/01/2025"

        /// Whether it is UEFI that the operating system was started by.
        package var isUEFI = false

        package init() {}
    }

    /// Type 1: the system (7.2).
    package struct System: Sendable, Equatable {
        package var manufacturer: String? = "StratoVirt"
        package var product: String? = "Standard Virtual Machine"
        package var version: String?
        package var serialNumber: String?

        /// 16 bytes in the order in which a UUID is written; nil if there is none.
        package var uuid: [UInt8]?
        package var stockKeepingUnit: String?
        package var family: String?

        package init() {}
    }

    /// Type 2: the baseboard (7.3).
    package struct Baseboard: Sendable, Equatable {
        package var manufacturer: String? = "StratoVirt"
        package var product: String? = "q35"
        package var version: String?
        package var serialNumber: String?
        package var assetTag: String?
        package var location: String?

        package init() {}
    }

    /// Type 3: the chassis (7.4).
    package struct Chassis: Sendable, Equatable {
        package var manufacturer: String? = "StratoVirt"
        package var version: String?
        package var serialNumber: String?
        package var assetTag: String?
        package var stockKeepingUnit: String?

        package init() {}
    }

    /// Type 4: the processors, one structure per socket (7.5).
    package struct Processors: Sendable, Equatable {
        /// The socket's number follows it.
        package var socketPrefix = "CPU"
        package var manufacturer: String? = "StratoVirt"
        package var version: String?
        package var serialNumber: String?
        package var assetTag: String?
        package var partNumber: String?

        /// In MHz, 0 if unknown.
        package var highestSpeed: UInt16 = 0

        /// In MHz, 0 if unknown.
        package var currentSpeed: UInt16 = 0

        /// What CPUID leaf 1 has in EAX and EDX; 0 if unknown.
        package var signature: UInt32 = 0
        package var features: UInt32 = 0

        package var sockets: Int
        package var coresPerSocket: Int
        package var threadsPerCore: Int

        package init(sockets: Int, coresPerSocket: Int = 1, threadsPerCore: Int = 1) {
            self.sockets = sockets
            self.coresPerSocket = coresPerSocket
            self.threadsPerCore = threadsPerCore
        }
    }

    /// Types 16, 17 and 19: memory, its devices of at most 16 GiB each, and where it is (7.17, 7.18 and 7.20).
    package struct Memory: Sendable, Equatable {
        static let largestDevice: UInt64 = 16 << 30

        /// The device's number follows it.
        package var locatorPrefix = "DIMM"
        package var bank: String?
        package var manufacturer: String? = "StratoVirt"
        package var serialNumber: String?
        package var assetTag: String?
        package var partNumber: String?

        /// In MT/s, 0 if unknown.
        package var speed: UInt16 = 0

        /// Where memory is mapped.
        package var ranges: [PhysicalRange]

        package init(ranges: [PhysicalRange]) {
            self.ranges = ranges
        }
    }

    package static let longestText = 255

    /// Where a scan of the BIOS area finds the entry point (5.2).
    package static let entryPointAddress: UInt64 = 0xF_0000

    /// Entry point and structures end below this.
    package static let areaEnd: UInt64 = 0x10_0000

    package static let structuresName = "etc/smbios/smbios-tables"
    package static let entryPointName = "etc/smbios/smbios-anchor"

    /// Nil to leave it to UEFI firmware to describe itself.
    package var firmware: Firmware? = Firmware()
    package var system = System()
    package var baseboard = Baseboard()
    package var chassis = Chassis()
    package var processors: Processors
    package var memory: Memory

    package init(processors: Processors, memory: Memory) {
        self.processors = processors
        self.memory = memory
    }

    /// Entry point and structures in low memory for a machine that boots without firmware.
    ///
    /// - Throws: `FirmwareTableError` for text that can't be said, a UUID that has not 16 bytes, a number of processors or memory
    ///   that can't be described, or if there is more than fits below 1 MiB.
    package func place(at address: UInt64 = entryPointAddress) throws(FirmwareTableError) -> [PlacedBytes] {
        let structures = try encodeStructures()
        let first = address &+ SMBIOSTable.structuresOffset
        let room = SMBIOSTable.areaEnd - SMBIOSTable.entryPointAddress - SMBIOSTable.structuresOffset
        guard UInt64(structures.count) <= room else {
            throw FirmwareTableError("the SMBIOS structures take \(structures.count) bytes, more than their \(room)")
        }
        let entryPoint = SMBIOSTable.entryPoint(to: first, size: structures.count)
        return [PlacedBytes(address: address, bytes: entryPoint), PlacedBytes(address: first, bytes: structures)]
    }

    /// The files by which fw_cfg hands them to firmware, which chooses the place and completes the entry point.
    ///
    /// - Throws: `FirmwareTableError` as `place` does.
    package func files() throws(FirmwareTableError) -> (structures: [UInt8], entryPoint: [UInt8]) {
        let structures = try encodeStructures()
        return (structures, SMBIOSTable.entryPoint(to: 0, size: structures.count))
    }
}
