/// A file or device of the host that holds a disk's contents.
public struct DiskImageConfiguration: Sendable, Hashable {
    /// How requests reach the file.
    public enum Engine: String, Sendable, Hashable, CaseIterable {
        /// In the thread that takes them from the queue.
        case synchronous = "off"
        /// On a pool of threads.
        case threads
        /// By Linux asynchronous I/O.
        case native
        /// By io_uring; by threads where the host does not have it or does not permit it.
        case ioUring = "io_uring"
    }

    /// What a discard of the guest does.
    public enum DiscardMode: String, Sendable, Hashable { case ignore, unmap }

    /// What a write of nothing but zeros does.
    public enum ZeroDetection: String, Sendable, Hashable { case off, on, unmap }

    /// The contents' encoding, never guessed from the contents.
    public enum Format: String, Sendable, Hashable, CaseIterable { case raw, qcow2 }

    /// Limits of requests a second that can be set.
    public static let allowedRequestRates = 1...1_000_000

    /// Names the image to management clients; unique among images.
    public var id: String

    /// A regular file or block device.
    public var path: String

    /// The guest cannot write.
    public var isReadOnly: Bool

    /// The host's page cache is bypassed (`O_DIRECT`).
    public var isDirect: Bool

    /// Nil lets the monitor choose: io_uring where the host has it. `native` needs `isDirect`.
    public var engine: Engine?

    /// The encoding.
    public var format: Format

    /// What a discard does.
    public var discard: DiscardMode

    /// What a write of zeros does.
    public var zeroDetection: ZeroDetection

    /// At most this many requests a second, 1...1 000 000; nil for no limit.
    public var requestsPerSecond: Int?

    /// A raw image that is written through the host's page cache.
    public init(id: String, path: String, isReadOnly: Bool = false, isDirect: Bool = false) {
        self.id = id
        self.path = path
        self.isReadOnly = isReadOnly
        self.isDirect = isDirect
        engine = nil
        format = .raw
        discard = .ignore
        zeroDetection = .off
        requestsPerSecond = nil
    }
}

/// A virtio block device.
public struct StorageDeviceConfiguration: Sendable, Hashable {
    /// Numbers of request queues that a device can have.
    public static let allowedQueueCounts = 1...32

    /// Bounds of a queue's size, which is a power of two besides.
    public static let allowedQueueSizes = 2...1024

    /// Places in the firmware's order of trying.
    public static let allowedBootIndexes = 0...255

    /// Names the device to management clients; unique among devices, and may equal the image's.
    public var id: String

    /// What the disk holds.
    public var image: DiskImageConfiguration

    /// Up to 20 bytes that the guest reads as the disk's serial number.
    public var serial: String?

    /// Where a standard machine has the device on its PCI buses; nil for the first free place of the root bus.
    public var placement: PCIPlacement?

    /// Request queues, 1...32; nil for one on a microVM, and for as many as there are virtual CPUs on a standard machine.
    public var queueCount: Int?

    /// Entries of each queue, a power of two, 2...1024.
    public var queueSize: Int

    /// The id of the `IOThreadConfiguration` that serves the device, nil for the monitor's own thread.
    public var ioThread: String?

    /// The firmware's order of trying, 0...255, unique; nil leaves the device out of it.
    public var bootIndex: Int?

    /// A device with one queue of 256 entries.
    public init(id: String, image: DiskImageConfiguration) {
        self.id = id
        self.image = image
        serial = nil
        placement = nil
        queueCount = nil
        queueSize = 256
        ioThread = nil
        bootIndex = nil
    }
}

/// A thread of its own that serves devices.
public struct IOThreadConfiguration: Sendable, Hashable {
    /// Unique.
    public var id: String

    /// A thread of that name.
    public init(id: String) { self.id = id }
}
