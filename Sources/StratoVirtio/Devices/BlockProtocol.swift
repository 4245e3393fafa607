/// Constants of the block device (virtio 1.2, 5.2).
enum BlockProtocol {
    /// The unit of sector numbers, in bytes (5.2.4).
    static let sectorSize = 512

    /// Bytes of a request's header: le32 type, le32 reserved, le64 sector (5.2.6).
    static let headerSize = 16

    /// Bytes of the identifier that `VIRTIO_BLK_T_GET_ID` reads (5.2.6).
    static let identifierSize = 20

    /// Request types (5.2.6).
    enum RequestType {
        static let read: UInt32 = 0
        static let write: UInt32 = 1
        static let flush: UInt32 = 4
        static let getIdentifier: UInt32 = 8
        static let discard: UInt32 = 11
        static let writeZeroes: UInt32 = 13
    }

    /// A request's last byte (5.2.6).
    enum Status {
        static let ok: UInt8 = 0
        static let ioError: UInt8 = 1
        static let unsupported: UInt8 = 2
    }

    /// Bytes of a range to discard or zero: le64 sector, le32 sectors, le32 flags (5.2.6).
    static let rangeSize = 16
    /// The range's host space may be given back (5.2.6).
    static let rangeUnmap: UInt32 = 1

    /// Ranges that one request may hold; bounds what a request makes us do.
    static let maximumRanges = 32
    /// Sectors of one range: 2 GiB.
    static let maximumRangeSectors: UInt32 = 1 << 22

    /// Offsets in the configuration space (5.2.4).
    enum Configuration {
        static let capacity = 0
        static let segmentMaximum = 12
        static let blockSize = 20
        static let physicalBlockExponent = 24
        static let minimumIOSize = 26
        static let writeback = 32
        static let queueCount = 34
        static let discardSectorMaximum = 36
        static let discardSegmentMaximum = 40
        static let discardAlignment = 44
        static let zeroesSectorMaximum = 48
        static let zeroesSegmentMaximum = 52
        static let zeroesMayUnmap = 56
        static let size = 60
    }
}

extension VirtioFeatures {
    // Feature bits of the block device (virtio 1.2, 5.2.3).
    static let blockSegmentMaximum = VirtioFeatures(bit: 2)
    static let blockReadOnly = VirtioFeatures(bit: 5)
    static let blockSize = VirtioFeatures(bit: 6)
    static let blockFlush = VirtioFeatures(bit: 9)
    static let blockTopology = VirtioFeatures(bit: 10)
    static let blockConfigurableCache = VirtioFeatures(bit: 11)
    static let blockMultiQueue = VirtioFeatures(bit: 12)
    static let blockDiscard = VirtioFeatures(bit: 13)
    static let blockWriteZeroes = VirtioFeatures(bit: 14)
}
