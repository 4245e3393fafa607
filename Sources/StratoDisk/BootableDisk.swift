internal import Glibc
internal import StratoHost

/// Whether UEFI firmware can find a boot loader on a disk: an EFI system partition (UEFI 2.10, 13.3), a bootable optical disc,
/// or a FAT file system over the whole disk.
///
/// The contents are outside data, and what is found decides about a warning alone.
package enum BootableDisk {
    private static let blockSize = 512

    /// The master boot record (UEFI 2.10, 5.2.1).
    private enum MasterBootRecord {
        static let partitions = 446
        static let partitionSize = 16
        static let partitionCount = 4
        static let typeOffset = 4
        static let signature: [UInt8] = [0x55, 0xAA]
        static let signatureOffset = 510
        static let systemPartition: UInt8 = 0xEF
    }

    /// The GUID partition table (UEFI 2.10, 5.3).
    private enum PartitionTable {
        static let signature = Array("EFI PART".utf8)
        static let entriesOffset = 72
        static let entryCountOffset = 80
        static let entrySizeOffset = 84
        /// Tables have 128 entries; more than this are not looked at.
        static let entryLimit = 1024
        static let smallestEntry = 128
        static let largestEntry = 4096
        /// C12A7328-F81F-11D2-BA4B-00A0C93EC93B as it is stored (5.3.3).
        static let systemPartition: [UInt8] = [
            0x28, 0x73, 0x2A, 0xC1, 0x1F, 0xF8, 0xD2, 0x11, 0xBA, 0x4B, 0x00, 0xA0, 0xC9, 0x3E, 0xC9, 0x3B,
        ]
    }

    /// The boot record of El Torito (El Torito 1.0, figure 7), in sector 17 of an ISO 9660 image.
    private enum OpticalDisc {
        static let bootRecord: UInt64 = 17 * 2048
        static let identifier = [0] + Array("CD001".utf8) + [1] + Array("EL TORITO".utf8)
    }

    /// Where FAT's boot sector says what it is (Microsoft, FAT32 File System Specification, "BS_FilSysType").
    private static let fatNames = [(offset: 54, name: Array("FAT".utf8)), (offset: 82, name: Array("FAT32".utf8))]

    /// - Returns: false also for a disk that cannot be read.
    package static func isBootable(_ image: DiskImage) -> Bool {
        guard let record = read(image, at: 0, count: blockSize).map(ByteFields.init) else { return false }
        if record.has(MasterBootRecord.signature, at: MasterBootRecord.signatureOffset) {
            if fatNames.contains(where: { record.has($0.name, at: $0.offset) }) { return true }
            for number in 0..<MasterBootRecord.partitionCount {
                let offset = MasterBootRecord.partitions + number * MasterBootRecord.partitionSize
                if record.bytes[offset + MasterBootRecord.typeOffset] == MasterBootRecord.systemPartition { return true }
            }
        }
        if hasSystemPartition(image) { return true }
        guard let boot = read(image, at: OpticalDisc.bootRecord, count: OpticalDisc.identifier.count) else { return false }
        return boot == OpticalDisc.identifier
    }

    private static func hasSystemPartition(_ image: DiskImage) -> Bool {
        guard let header = read(image, at: UInt64(blockSize), count: blockSize).map(ByteFields.init),
            header.has(PartitionTable.signature, at: 0),
            let block = header.load(UInt64.self, at: PartitionTable.entriesOffset),
            let count = header.load(UInt32.self, at: PartitionTable.entryCountOffset),
            let entrySize = header.load(UInt32.self, at: PartitionTable.entrySizeOffset)
        else { return false }
        let size = UInt64(entrySize)
        let start = block.multipliedReportingOverflow(by: UInt64(blockSize))
        guard !start.overflow, size >= UInt64(PartitionTable.smallestEntry), size <= UInt64(PartitionTable.largestEntry) else {
            return false
        }
        for index in 0..<min(Int(count), PartitionTable.entryLimit) {
            let offset = start.partialValue.addingReportingOverflow(UInt64(index) * size)
            guard !offset.overflow,
                let entry = read(image, at: offset.partialValue, count: PartitionTable.systemPartition.count)
            else { return false }
            if entry == PartitionTable.systemPartition { return true }
        }
        return false
    }

    /// Bytes of the disk, through a buffer that suits direct I/O as well.
    private static func read(_ image: DiskImage, at offset: UInt64, count: Int) -> [UInt8]? {
        let alignment = UInt64(max(image.offsetAlignment, 1))
        let start = offset / alignment * alignment
        let skipped = Int(offset - start)
        let length = (skipped + count + Int(alignment) - 1) / Int(alignment) * Int(alignment)
        guard let position = off_t(exactly: start),
            let buffer = AlignedBuffer(count: length, alignment: max(4096, image.memoryAlignment))
        else { return nil }
        // SAFETY: at most the buffer's length is written, and no more than that is copied out.
        let amount = unsafe pread(image.descriptor.number, buffer.start, length, position)
        guard amount >= skipped + count else { return nil }
        return unsafe Array(UnsafeRawBufferPointer(start: buffer.start + skipped, count: count))
    }
}
