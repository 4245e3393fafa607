#if arch(x86_64)
/// A virtio block device behind memory-mapped registers, as a guest sees it (virtio 1.2, 4.2 and 5.2).
struct GuestDisk {
    enum Register {
        static let magic: UInt64 = 0x000
        static let deviceFeatures: UInt64 = 0x010
        static let deviceFeaturesSelect: UInt64 = 0x014
        static let driverFeatures: UInt64 = 0x020
        static let driverFeaturesSelect: UInt64 = 0x024
        static let queueSelect: UInt64 = 0x030
        static let queueSizeMaximum: UInt64 = 0x034
        static let queueSize: UInt64 = 0x038
        static let queueReady: UInt64 = 0x044
        static let queueNotify: UInt64 = 0x050
        static let interruptStatus: UInt64 = 0x060
        static let interruptAcknowledge: UInt64 = 0x064
        static let status: UInt64 = 0x070
        static let queueDescriptors: UInt64 = 0x080
        static let queueDriver: UInt64 = 0x090
        static let queueDevice: UInt64 = 0x0A0
        static let configuration: UInt64 = 0x100
        static let end: UInt64 = 0x200
    }

    enum Status {
        static let acknowledge: UInt64 = 1
        static let driver: UInt64 = 2
        static let driverOK: UInt64 = 4
        static let featuresOK: UInt64 = 8
        static let needsReset: UInt64 = 64
        static let failed: UInt64 = 128
    }

    /// Bits of the interrupt's reason.
    enum Interrupt {
        static let usedBuffer: UInt64 = 1
    }

    enum Feature {
        static let blockFlush: UInt64 = 1 << 9
        static let blockWriteZeroes: UInt64 = 1 << 14
        static let indirectDescriptors: UInt64 = 1 << 28
        static let version1: UInt64 = 1 << 32
    }

    enum Request {
        static let read: UInt32 = 0
        static let write: UInt32 = 1
        static let scsiCommand: UInt32 = 2
        static let scsiCommandOut: UInt32 = 3
        static let flush: UInt32 = 4
        static let getIdentifier: UInt32 = 8
        static let discard: UInt32 = 11
        static let writeZeroes: UInt32 = 13
    }

    /// Codes of a request's last byte.
    enum Answer {
        static let ok: UInt8 = 0
        static let ioError: UInt8 = 1
        static let unsupported: UInt8 = 2
        /// What no device writes, to be there before.
        static let pending: UInt8 = 0xEE
    }

    /// The first block device's slot.
    static let base: UInt64 = 0xF010_0000

    static func register(_ offset: UInt64) -> UInt64 { base + offset }
}

/// Rings, descriptors and buffers of one queue: what a driver keeps in memory.
struct RingArea {
    /// A bit of a descriptor (virtio 1.2, 2.7.5).
    enum Flag {
        static let next: UInt16 = 1
        static let write: UInt16 = 2
        static let indirect: UInt16 = 4
    }

    // Offsets of the parts.
    static let available = 0x1000
    static let used = 0x1400
    static let header = 0x2000
    static let status = 0x2100
    static let indirect = 0x2200
    static let data = 0x4000
    static let size = 0x5000

    /// Where the area is in guest memory.
    let base: UInt64

    /// Entries of the queue, at most 256.
    var queueSize: UInt16 = 16

    private(set) var bytes: [UInt8]

    init(at base: UInt64) {
        self.base = base
        bytes = [UInt8](repeating: 0, count: RingArea.size)
        bytes[RingArea.status] = GuestDisk.Answer.pending
    }

    var descriptors: UInt64 { base }
    var available: UInt64 { base + UInt64(RingArea.available) }
    var used: UInt64 { base + UInt64(RingArea.used) }
    var availableIndex: UInt64 { available + 2 }
    var usedIndex: UInt64 { used + 2 }
    var header: UInt64 { base + UInt64(RingArea.header) }
    var status: UInt64 { base + UInt64(RingArea.status) }
    var indirect: UInt64 { base + UInt64(RingArea.indirect) }
    var data: UInt64 { base + UInt64(RingArea.data) }

    mutating func put(_ value: some FixedWidthInteger, at offset: Int) {
        let new = value.littleEndianBytes
        bytes.replaceSubrange(offset..<offset + new.count, with: new)
    }

    private mutating func putDescriptor(_ offset: Int, _ address: UInt64, _ length: UInt32, _ flags: UInt16, _ next: UInt16) {
        put(address, at: offset)
        put(length, at: offset + 8)
        put(flags, at: offset + 12)
        put(next, at: offset + 14)
    }

    mutating func descriptor(_ index: Int, _ address: UInt64, _ length: UInt32, _ flags: UInt16 = 0, next: UInt16 = 0) {
        putDescriptor(index * 16, address, length, flags, next)
    }

    /// A descriptor of the table that an indirect descriptor may refer to.
    mutating func indirectDescriptor(
        _ index: Int, _ address: UInt64, _ length: UInt32, _ flags: UInt16 = 0, next: UInt16 = 0
    ) {
        putDescriptor(RingArea.indirect + index * 16, address, length, flags, next)
    }

    /// The heads that the driver makes available, and the index behind the last.
    mutating func makeAvailable(_ heads: [UInt16], index: UInt16? = nil) {
        for (position, head) in heads.enumerated() {
            put(head, at: RingArea.available + 4 + position * 2)
        }
        put(index ?? UInt16(heads.count), at: RingArea.available + 2)
    }

    mutating func requestHeader(_ type: UInt32, sector: UInt64 = 0) {
        put(type, at: RingArea.header)
        put(sector, at: RingArea.header + 8)
    }

    /// A request as drivers make it: descriptors 0 (header), 1 (data) and 2 (status), made available.
    mutating func request(
        _ type: UInt32, sector: UInt64 = 0, data address: UInt64? = nil, length: UInt32 = 512, isWrite: Bool = false
    ) {
        requestHeader(type, sector: sector)
        descriptor(0, header, 16, Flag.next, next: 1)
        descriptor(1, address ?? data, length, Flag.next | (isWrite ? 0 : Flag.write), next: 2)
        descriptor(2, status, 1, Flag.write)
        makeAvailable([0])
    }
}

extension GuestProgram {
    /// Writes zero to the device's status, and waits until it reads as zero (virtio 1.2, 4.2.2.2).
    mutating func resetDisk() {
        write(0, to: GuestDisk.register(GuestDisk.Register.status))
        wait(for: 0, at: GuestDisk.register(GuestDisk.Register.status))
    }

    /// Goes up to FEATURES_OK, which the device must keep if it has been reset before.
    mutating func negotiate(_ features: UInt64 = GuestDisk.Feature.version1, isAwaited: Bool = true) {
        typealias Status = GuestDisk.Status
        let status = GuestDisk.register(GuestDisk.Register.status)
        write(Status.acknowledge, to: status)
        write(Status.acknowledge | Status.driver, to: status)
        writeFeatures(features)
        write(Status.acknowledge | Status.driver | Status.featuresOK, to: status)
        if isAwaited { wait(for: Status.featuresOK, at: status, mask: Status.featuresOK) }
    }

    mutating func writeFeatures(_ features: UInt64) {
        for half in 0..<UInt64(2) {
            write(half, to: GuestDisk.register(GuestDisk.Register.driverFeaturesSelect))
            write(features >> (32 * half) & 0xFFFF_FFFF, to: GuestDisk.register(GuestDisk.Register.driverFeatures))
        }
    }

    mutating func writeQueueAddress(_ address: UInt64, to register: UInt64) {
        write(address & 0xFFFF_FFFF, to: GuestDisk.register(register))
        write(address >> 32, to: GuestDisk.register(register + 4))
    }

    mutating func setUpQueue(_ area: RingArea, index: UInt64 = 0) {
        typealias Register = GuestDisk.Register
        write(index, to: GuestDisk.register(Register.queueSelect))
        write(UInt64(area.queueSize), to: GuestDisk.register(Register.queueSize))
        writeQueueAddress(area.descriptors, to: Register.queueDescriptors)
        writeQueueAddress(area.available, to: Register.queueDriver)
        writeQueueAddress(area.used, to: Register.queueDevice)
        write(1, to: GuestDisk.register(Register.queueReady))
    }

    mutating func setDriverOK() {
        typealias Status = GuestDisk.Status
        write(
            Status.acknowledge | Status.driver | Status.featuresOK | Status.driverOK,
            to: GuestDisk.register(GuestDisk.Register.status))
    }

    mutating func startDisk(_ area: RingArea, features: UInt64 = GuestDisk.Feature.version1) {
        resetDisk()
        negotiate(features)
        setUpQueue(area)
        setDriverOK()
    }

    mutating func notifyDisk(_ queue: UInt64 = 0) {
        write(queue, to: GuestDisk.register(GuestDisk.Register.queueNotify))
    }

    mutating func waitUntilDiskNeedsReset() {
        wait(
            for: GuestDisk.Status.needsReset, at: GuestDisk.register(GuestDisk.Register.status),
            mask: GuestDisk.Status.needsReset)
    }

    mutating func waitUntilUsed(_ count: UInt16 = 1, _ area: RingArea, isHalted: Bool = false) {
        wait(for: UInt64(count), at: area.usedIndex, mask: 0xFFFF, width: 2, isHalted: isHalted)
    }
}
#endif
