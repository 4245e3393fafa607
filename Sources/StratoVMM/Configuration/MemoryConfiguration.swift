internal import StratoMemory

/// An amount of memory or storage in bytes.
public struct MemorySize: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// In bytes.
    public let bytes: UInt64

    /// An amount in bytes.
    public init(bytes: UInt64) { self.bytes = bytes }

    /// An amount in units of 2²⁰ bytes; what does not fit in 64 bits becomes the largest amount.
    public static func mebibytes(_ count: UInt64) -> MemorySize { scaled(count, by: 1 << 20) }

    /// An amount in units of 2³⁰ bytes; what does not fit in 64 bits becomes the largest amount.
    public static func gibibytes(_ count: UInt64) -> MemorySize { scaled(count, by: 1 << 30) }

    private static func scaled(_ count: UInt64, by unit: UInt64) -> MemorySize {
        let product = count.multipliedReportingOverflow(by: unit)
        return MemorySize(bytes: product.overflow ? .max : product.partialValue)
    }

    /// The smaller amount comes first.
    public static func < (left: MemorySize, right: MemorySize) -> Bool { left.bytes < right.bytes }

    /// The largest unit that divides the amount: `512 MiB`, `4097 bytes`.
    public var description: String { ByteCount.exact(bytes) }
}

/// The guest's RAM.
public struct MemoryConfiguration: Sendable, Hashable {
    /// How much RAM a machine can have; the size is a multiple of 4 KiB besides.
    public static let allowedSizes = MemorySize.mebibytes(128)...MemorySize.gibibytes(512)

    /// 128 MiB...512 GiB, a multiple of 4 KiB.
    public var size: MemorySize

    /// A file, or a directory such as a hugetlbfs mount, that holds the RAM; nil for anonymous memory. The size is a multiple
    /// of the size of its pages.
    public var path: String?

    /// Every page is made present before the guest starts, by several threads.
    public var isPreallocated: Bool

    /// A core dump of the process contains the RAM.
    public var isDumped: Bool

    /// The RAM is shared with the file at `path`, or with one in memory, which another process can map. If false a file only
    /// gives the RAM its first contents, and stays as it is.
    public var isShared: Bool

    /// Whether the host may make RAM of huge pages that it finds itself (transparent huge pages): true advises it to, which
    /// takes effect unless the host is set to `never`, false forbids it, nil leaves it to the host's setting. A hugetlbfs mount
    /// at `path` has huge pages in any case.
    public var usesTransparentHugePages: Bool?

    /// Anonymous memory, 256 MiB unless given.
    public init(size: MemorySize = .mebibytes(256)) {
        self.size = size
        path = nil
        isPreallocated = false
        isDumped = true
        isShared = false
        usesTransparentHugePages = nil
    }
}
