extension SMBIOSTable {
    /// The version whose structures these are, and of the entry point (5.2.2).
    private static let majorVersion: UInt8 = 3
    private static let minorVersion: UInt8 = 0
    private static let entryPointRevision: UInt8 = 1
    private static let entryPointSize = 24

    /// Behind the entry point, at the next multiple of 16.
    static let structuresOffset: UInt64 = 0x20

    private enum Handle {
        static let firmware: SMBIOSStructure.Handle = 0x0000
        static let system: SMBIOSStructure.Handle = 0x0100
        static let baseboard: SMBIOSStructure.Handle = 0x0200
        static let chassis: SMBIOSStructure.Handle = 0x0300
        static let processors: SMBIOSStructure.Handle = 0x0400
        static let memoryArray: SMBIOSStructure.Handle = 0x1000
        static let memoryDevices: SMBIOSStructure.Handle = 0x1100
        static let memoryRanges: SMBIOSStructure.Handle = 0x3000
        static let boot: SMBIOSStructure.Handle = 0x4000
        static let end: SMBIOSStructure.Handle = 0x7F00

        /// Stands for a structure that is not there (6.1.2), and for errors that nobody records (7.17).
        static let none: SMBIOSStructure.Handle = 0xFFFF
        static let noErrorInformation: SMBIOSStructure.Handle = 0xFFFE
    }

    /// What the handles leave room for.
    private static let highestSocketCount = Int(Handle.memoryArray - Handle.processors)
    private static let highestDeviceCount = Int(Handle.memoryRanges - Handle.memoryDevices)
    private static let highestRangeCount = Int(Handle.boot - Handle.memoryRanges)

    /// The 64-bit entry point (5.2.2).
    static func entryPoint(to address: UInt64, size: Int) -> [UInt8] {
        let checksumOffset = 5
        var table = TableBytes()
        table.append(text: "_SM3_", width: 5)
        table.append(UInt8(0))
        table.append(UInt8(entryPointSize))
        table.append(majorVersion)
        table.append(minorVersion)
        table.append(UInt8(0))  // The specification's document revision.
        table.append(entryPointRevision)
        table.append(UInt8(0))
        table.append(UInt32(clamping: size))
        table.append(address)
        table.setChecksum(at: checksumOffset, over: 0..<entryPointSize)
        return table.bytes
    }

    func encodeStructures() throws(FirmwareTableError) -> [UInt8] {
        var bytes: [UInt8] = []
        if let firmware {
            bytes += try SMBIOSTable.encode(firmware)
        }
        bytes += try SMBIOSTable.encode(system)
        bytes += try SMBIOSTable.encode(baseboard)
        bytes += try SMBIOSTable.encode(chassis)
        bytes += try SMBIOSTable.encode(processors)
        bytes += try SMBIOSTable.encode(memory)
        bytes += SMBIOSTable.bootInformation
        bytes += SMBIOSStructure(type: 127, length: 4, handle: Handle.end).encode()
        return bytes
    }

    private static func encode(_ firmware: Firmware) throws(FirmwareTableError) -> [UInt8] {
        // Table 7: its characteristics are not told; extension bytes (7.1.2.2): UEFI, and that this is a virtual machine.
        let characteristicsNotSupported: UInt64 = 1 << 3
        let isUEFI: UInt8 = 1 << 3
        let isVirtual: UInt8 = 1 << 4
        let noEmbeddedController: UInt8 = 0xFF
        var structure = SMBIOSStructure(type: 0, length: 0x18, handle: Handle.firmware)
        try structure.append(text: firmware.vendor, "the vendor of type 0")
        try structure.append(text: firmware.version, "the version of type 0")
        structure.append(UInt16(firmware.isUEFI ? 0 : 0xF000))  // The segment of a BIOS.
        try structure.append(text: firmware.date, "the date of type 0")
        structure.append(UInt8(0))  // 64 KiB.
        structure.append(characteristicsNotSupported)
        structure.append(UInt8(0))
        structure.append(isVirtual | (firmware.isUEFI ? isUEFI : 0))
        structure.append(UInt8(0))  // Major and minor release.
        structure.append(UInt8(0))
        structure.append(noEmbeddedController)
        structure.append(noEmbeddedController)
        return structure.encode()
    }

    private static func encode(_ system: System) throws(FirmwareTableError) -> [UInt8] {
        let wokenByPowerSwitch: UInt8 = 6
        var structure = SMBIOSStructure(type: 1, length: 0x1B, handle: Handle.system)
        try structure.append(text: system.manufacturer, "the manufacturer of type 1")
        try structure.append(text: system.product, "the product of type 1")
        try structure.append(text: system.version, "the version of type 1")
        try structure.append(text: system.serialNumber, "the serial number of type 1")
        structure.append(try encode(uuid: system.uuid))
        structure.append(wokenByPowerSwitch)
        try structure.append(text: system.stockKeepingUnit, "the sku of type 1")
        try structure.append(text: system.family, "the family of type 1")
        return structure.encode()
    }

    /// The first three groups of digits are little-endian integers, and zeros mean that there is none (7.2.1).
    private static func encode(uuid: [UInt8]?) throws(FirmwareTableError) -> [UInt8] {
        guard let uuid else { return [UInt8](repeating: 0, count: 16) }
        guard uuid.count == 16 else {
            throw FirmwareTableError("smbios: a UUID has 16 bytes, not \(uuid.count)")
        }
        let fields: [ArraySlice<UInt8>] = [uuid[0..<4], uuid[4..<6], uuid[6..<8]]
        return fields.flatMap { $0.reversed() } + uuid[8...]
    }

    private static func encode(_ baseboard: Baseboard) throws(FirmwareTableError) -> [UInt8] {
        let isHosting: UInt8 = 1 << 0
        let motherboard: UInt8 = 0x0A
        var structure = SMBIOSStructure(type: 2, length: 0x0F, handle: Handle.baseboard)
        try structure.append(text: baseboard.manufacturer, "the manufacturer of type 2")
        try structure.append(text: baseboard.product, "the product of type 2")
        try structure.append(text: baseboard.version, "the version of type 2")
        try structure.append(text: baseboard.serialNumber, "the serial number of type 2")
        try structure.append(text: baseboard.assetTag, "the asset tag of type 2")
        structure.append(isHosting)
        try structure.append(text: baseboard.location, "the location of type 2")
        structure.append(Handle.chassis)
        structure.append(motherboard)
        structure.append(UInt8(0))  // It contains no objects.
        return structure.encode()
    }

    private static func encode(_ chassis: Chassis) throws(FirmwareTableError) -> [UInt8] {
        let other: UInt8 = 1
        let unknown: UInt8 = 2
        let safe: UInt8 = 3
        var structure = SMBIOSStructure(type: 3, length: 0x16, handle: Handle.chassis)
        try structure.append(text: chassis.manufacturer, "the manufacturer of type 3")
        structure.append(other)
        try structure.append(text: chassis.version, "the version of type 3")
        try structure.append(text: chassis.serialNumber, "the serial number of type 3")
        try structure.append(text: chassis.assetTag, "the asset tag of type 3")
        structure.append(safe)  // State at the last boot,
        structure.append(safe)  // of power supplies,
        structure.append(safe)  // and of temperature.
        structure.append(unknown)  // Security.
        structure.append(UInt32(0))
        structure.append(UInt8(0))  // Height and power cords are unspecified,
        structure.append(UInt8(0))
        structure.append(UInt8(0))  // and there are no elements inside.
        structure.append(UInt8(0))
        try structure.append(text: chassis.stockKeepingUnit, "the sku of type 3")
        return structure.encode()
    }

    private static func encode(_ processors: Processors) throws(FirmwareTableError) -> [UInt8] {
        let (sockets, cores) = (processors.sockets, processors.coresPerSocket)
        guard (1...highestSocketCount).contains(sockets) else {
            throw FirmwareTableError("smbios: \(sockets) sockets, but 1 to \(highestSocketCount) can be described")
        }
        let (threads, overflow) = cores.multipliedReportingOverflow(by: processors.threadsPerCore)
        // 0xFFFF is reserved in the wide counts (7.5.6 to 7.5.8).
        guard cores > 0, threads >= cores, !overflow, threads < Int(UInt16.max) else {
            throw FirmwareTableError(
                "smbios: \(cores) cores of \(processors.threadsPerCore) threads in a socket can't be described")
        }
        var bytes: [UInt8] = []
        for socket in 0..<sockets {
            bytes += try encode(processors, socket: socket, cores: UInt16(clamping: cores), threads: UInt16(clamping: threads))
        }
        return bytes
    }

    private static func encode(
        _ processors: Processors, socket: Int, cores: UInt16, threads: UInt16
    ) throws(FirmwareTableError) -> [UInt8] {
        let centralProcessor: UInt8 = 3
        let other: UInt8 = 1
        let isPopulatedAndEnabled: UInt8 = 1 << 6 | 1
        var structure = SMBIOSStructure(type: 4, length: 0x30, handle: Handle.processors + UInt16(clamping: socket))
        try structure.append(text: "\(processors.socketPrefix) \(socket)", "the socket prefix of type 4")
        structure.append(centralProcessor)
        structure.append(other)  // Family.
        try structure.append(text: processors.manufacturer, "the manufacturer of type 4")
        structure.append(processors.signature)
        structure.append(processors.features)
        try structure.append(text: processors.version, "the version of type 4")
        structure.append(UInt8(0))  // Voltage.
        structure.append(UInt16(0))  // External clock.
        structure.append(processors.highestSpeed)
        structure.append(processors.currentSpeed)
        structure.append(isPopulatedAndEnabled)
        structure.append(other)  // Upgrade.
        for _ in 1...3 { structure.append(Handle.none) }  // Caches.
        try structure.append(text: processors.serialNumber, "the serial number of type 4")
        try structure.append(text: processors.assetTag, "the asset tag of type 4")
        try structure.append(text: processors.partNumber, "the part number of type 4")
        structure.append(UInt8(clamping: cores))
        structure.append(UInt8(clamping: cores))  // Those that are enabled.
        structure.append(UInt8(clamping: threads))
        structure.append(characteristics(cores: cores, threads: threads))
        structure.append(UInt16(other))  // Family, again.
        structure.append(cores)
        structure.append(cores)
        structure.append(threads)
        return structure.encode()
    }

    /// Table 28.
    private static func characteristics(cores: UInt16, threads: UInt16) -> UInt16 {
        let is64Bit: UInt16 = 1 << 2
        let isMultiCore: UInt16 = 1 << 3
        let hasHardwareThreads: UInt16 = 1 << 4
        return is64Bit | (cores > 1 ? isMultiCore : 0) | (threads > cores ? hasHardwareThreads : 0)
    }

    private static func encode(_ memory: Memory) throws(FirmwareTableError) -> [UInt8] {
        let ranges = memory.ranges.filter { $0.size > 0 }
        var total: UInt64 = 0
        for range in ranges {
            _ = try range.last(of: "smbios: memory")
            let (sum, overflow) = total.addingReportingOverflow(range.size)
            guard !overflow else { throw FirmwareTableError("smbios: there is more memory than 64 bits can count") }
            total = sum
        }
        let devices = total / Memory.largestDevice + (total % Memory.largestDevice > 0 ? 1 : 0)
        guard devices <= UInt64(highestDeviceCount), ranges.count <= highestRangeCount else {
            throw FirmwareTableError(
                "smbios: \(total) bytes of memory in \(ranges.count) ranges are more than "
                    + "\(highestDeviceCount) devices and \(highestRangeCount) ranges can describe"
            )
        }
        var bytes = memoryArray(size: total, devices: UInt16(clamping: devices))
        for number in 0..<UInt16(clamping: devices) {
            let size = min(Memory.largestDevice, total - UInt64(number) * Memory.largestDevice)
            bytes += try memoryDevice(memory, number: number, size: size)
        }
        for (number, range) in ranges.enumerated() {
            bytes += memoryRange(range, number: UInt16(clamping: number))
        }
        return bytes
    }

    private static func memoryArray(size: UInt64, devices: UInt16) -> [UInt8] {
        let onOtherLocation: UInt8 = 1
        let systemMemory: UInt8 = 3
        let noErrorCorrection: UInt8 = 3
        let tooLarge: UInt32 = 0x8000_0000
        let kibibytes = size / 1024 + (size % 1024 > 0 ? 1 : 0)
        let isLarge = kibibytes >= UInt64(tooLarge)
        var structure = SMBIOSStructure(type: 16, length: 0x17, handle: Handle.memoryArray)
        structure.append(onOtherLocation)
        structure.append(systemMemory)
        structure.append(noErrorCorrection)
        structure.append(isLarge ? tooLarge : UInt32(clamping: kibibytes))
        structure.append(Handle.noErrorInformation)
        structure.append(devices)
        structure.append(isLarge ? size : 0)
        return structure.encode()
    }

    private static func memoryDevice(
        _ memory: Memory, number: UInt16, size: UInt64
    ) throws(FirmwareTableError) -> [UInt8] {
        let width: UInt16 = 64
        let dualInline: UInt8 = 9
        let ram: UInt8 = 7
        let other: UInt16 = 1 << 1
        var structure = SMBIOSStructure(type: 17, length: 0x28, handle: Handle.memoryDevices + number)
        structure.append(Handle.memoryArray)
        structure.append(Handle.noErrorInformation)
        structure.append(width)  // With bits for error correction,
        structure.append(width)  // and without.
        let (field, extended) = sizeFields(size)
        structure.append(field)
        structure.append(dualInline)
        structure.append(UInt8(0))  // It belongs to no set.
        try structure.append(text: "\(memory.locatorPrefix) \(number)", "the locator prefix of type 17")
        try structure.append(text: memory.bank, "the bank of type 17")
        structure.append(ram)
        structure.append(other)
        structure.append(memory.speed)
        try structure.append(text: memory.manufacturer, "the manufacturer of type 17")
        try structure.append(text: memory.serialNumber, "the serial number of type 17")
        try structure.append(text: memory.assetTag, "the asset tag of type 17")
        try structure.append(text: memory.partNumber, "the part number of type 17")
        structure.append(UInt8(0))  // Its rank.
        structure.append(extended)
        structure.append(memory.speed)  // As it is configured.
        for _ in 1...3 { structure.append(UInt16(0)) }  // Voltages.
        return structure.encode()
    }

    /// The two fields of a memory device's size (7.18): KiB if there is no whole number of MiB and the count allows it, else MiB, which a
    /// second field holds from 32 GiB on.
    static func sizeFields(_ size: UInt64) -> (field: UInt16, extended: UInt32) {
        let isKibibytes: UInt16 = 1 << 15
        let isExtended: UInt16 = 0x7FFF
        let kibibytes = size >> 10
        let mebibytes = size >> 20
        if size & 0xF_FFFF != 0, kibibytes < UInt64(isExtended) {
            return (isKibibytes | UInt16(clamping: kibibytes), 0)
        }
        guard mebibytes < UInt64(isExtended) else { return (isExtended, UInt32(clamping: mebibytes)) }
        return (UInt16(clamping: mebibytes), 0)
    }

    /// In KiB where that fits into 32 bits, else in bytes.
    private static func memoryRange(_ range: PhysicalRange, number: UInt16) -> [UInt8] {
        let inBytes = UInt32.max
        let last = range.base &+ (range.size &- 1)
        let isShort = last >> 10 < UInt64(inBytes) && range.base % 1024 == 0 && last % 1024 == 1023
        var structure = SMBIOSStructure(type: 19, length: 0x1F, handle: Handle.memoryRanges + number)
        structure.append(isShort ? UInt32(clamping: range.base >> 10) : inBytes)
        structure.append(isShort ? UInt32(clamping: last >> 10) : inBytes)
        structure.append(Handle.memoryArray)
        structure.append(UInt8(1))  // One device in a row.
        structure.append(isShort ? 0 : range.base)
        structure.append(isShort ? 0 : last)
        return structure.encode()
    }

    private static var bootInformation: [UInt8] {
        let noError: UInt8 = 0
        var structure = SMBIOSStructure(type: 32, length: 0x0B, handle: Handle.boot)
        structure.append([UInt8](repeating: 0, count: 6))
        structure.append(noError)
        return structure.encode()
    }
}
