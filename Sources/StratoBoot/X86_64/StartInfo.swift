#if arch(x86_64)

internal import StratoFirmwareTables

/// `struct hvm_start_info`, version 1, with what it points to behind it (Xen, public/arch-x86/hvm/start_info.h).
struct StartInfo {
    static let magic: UInt32 = 0x336E_C578
    static let version: UInt32 = 1
    static let headerSize: UInt64 = 56
    static let moduleSize: UInt64 = 32

    var commandLine: UInt64 = 0
    var rsdp: UInt64 = 0
    var ramdisk: (address: UInt64, size: UInt64)?
    var memoryMap: [MemoryMap.Entry] = []

    func encode(at address: UInt64) -> [UInt8] {
        let modules = address + StartInfo.headerSize
        let map = modules + (ramdisk == nil ? 0 : StartInfo.moduleSize)
        var block = TableBytes()
        block.append(StartInfo.magic)
        block.append(StartInfo.version)
        block.append(UInt32(0))  // Flags.
        block.append(UInt32(ramdisk == nil ? 0 : 1))
        block.append(ramdisk == nil ? UInt64(0) : modules)
        block.append(commandLine)
        block.append(rsdp)
        block.append(map)
        block.append(UInt32(clamping: memoryMap.count))
        block.append(UInt32(0))
        if let ramdisk {
            block.append(ramdisk.address)
            block.append(ramdisk.size)
            block.append(UInt64(0))  // No command line of its own.
            block.append(UInt64(0))
        }
        for entry in memoryMap {
            block.append(entry.base)
            block.append(entry.size)
            block.append(entry.kind.rawValue)
            block.append(UInt32(0))
        }
        return block.bytes
    }
}

#endif
