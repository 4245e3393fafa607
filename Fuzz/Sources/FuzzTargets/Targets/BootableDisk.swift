internal import StratoDisk
internal import StratoHost

extension FuzzTarget {
    /// The first sectors of a disk, which somebody else has written: partition tables and boot records.
    static let bootableDisk = FuzzTarget("bootable-disk", seeds: diskSeeds) { input in
        let file = try FuzzFile(input.rest() + [UInt8](repeating: 0, count: 512))
        let image = try DiskImage(DiskImageOptions(path: file.path, isReadOnly: true, engine: .synchronous), logger: .silent)
        _ = BootableDisk.isBootable(image)
    }

    @Sendable private static func diskSeeds() -> [(name: String, bytes: [UInt8])] {
        var master = [UInt8](repeating: 0, count: 512)
        master.put(UInt16(0xAA55), at: 510)
        var systemPartition = master
        systemPartition[450] = 0xEF
        var fat = master
        fat.replaceSubrange(82..<87, with: Array("FAT32".utf8))
        // A header at sector 1, one entry at sector 2 (UEFI 2.10, 5.3).
        var table = master + [UInt8](repeating: 0, count: 1024)
        table.replaceSubrange(512..<520, with: Array("EFI PART".utf8))
        table.put(UInt64(2), at: 512 + 72)
        table.put(UInt32(4), at: 512 + 80)
        table.put(UInt32(128), at: 512 + 84)
        return [("mbr", master), ("mbr-efi", systemPartition), ("fat", fat), ("gpt", table)]
    }
}
