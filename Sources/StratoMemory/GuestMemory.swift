internal import CStratoLinux
internal import Glibc
package import StratoHost

/// The guest's RAM: one or more regions of guest physical addresses, each a mapping of the host.
///
/// The layout never changes during the life of an object, so that a look-up takes no lock. All access is checked; what
/// is not wholly inside one region throws or answers nil. The object is what keeps the mappings alive.
@safe @usableFromInline
package final class GuestMemory: @unchecked Sendable {
    // SAFETY: every stored property is constant after init; the mapped bytes are shared with the guest by design.

    @usableFromInline
    @safe
    struct Region {
        @usableFromInline let base: UInt64
        @usableFromInline let size: UInt64
        @usableFromInline let host: UnsafeMutableRawPointer

        @usableFromInline
        init(base: UInt64, size: UInt64, host: UnsafeMutableRawPointer) {
            self.base = base
            self.size = size
            unsafe self.host = host
        }
    }

    /// What backs the RAM on the host.
    package struct Backing: Sendable {
        /// A file or directory (a hugetlbfs mount); nil for anonymous memory.
        package var path: String?

        /// Shared mappings can be seen by another process through the file or memfd. Of a private one a file only gives the
        /// first contents, and the kind of its pages.
        package var isShared = false

        /// Every page is made present before the guest starts.
        package var isPreallocated = false

        /// How many threads do that; nil for as many as there are processors for this process.
        package var preallocationThreads: Int?

        /// Whether pages of memory may be huge ones (`madvise`); nil leaves it to the host's setting.
        package var usesTransparentHugePages: Bool?

        /// False leaves the guest's memory out of a core dump of this process.
        package var isDumped = true

        package init() {}
    }

    // Few machines have more than two; a second that is not there has no bytes.
    @usableFromInline let first: Region
    @usableFromInline let second: Region
    @usableFromInline let others: [Region]
    private let mapping: MemoryMapping

    /// Every page was touched before the guest started.
    package let isPreallocated: Bool

    /// Maps RAM for the given ranges, without reserving anything but huge pages for it.
    ///
    /// - Parameters:
    ///   - ranges: page-aligned, apart from each other, ascending.
    ///   - backing: what is behind them.
    /// - Throws: `GuestMemoryError`.
    package init(_ ranges: [GuestRange], backing: Backing = Backing()) throws(GuestMemoryError) {
        let layout = try GuestMemory.checked(ranges)
        var total: UInt64 = 0
        for range in layout { total &+= range.size }
        guard total <= UInt64(Int.max) else {
            throw .invalidLayout("\(total) bytes are more than the host can address")
        }
        let mapping = try MemoryMapping.map(Int(total), backing)
        let mapped = unsafe mapping.start
        var regions: [Region] = []
        var offset = 0
        for range in layout {
            unsafe regions.append(Region(base: range.base.value, size: range.size, host: mapped + offset))
            offset += Int(range.size)
        }
        first = regions[0]
        second = unsafe regions.count > 1 ? regions[1] : Region(base: 0, size: 0, host: mapped)
        others = Array(regions.dropFirst(2))
        self.mapping = mapping
        isPreallocated = backing.isPreallocated
    }

    private static func checked(_ ranges: [GuestRange]) throws(GuestMemoryError) -> [GuestRange] {
        guard !ranges.isEmpty else { throw .invalidLayout("no range") }
        var previous: GuestRange?
        for range in ranges {
            guard range.base.value % 4096 == 0, range.size % 4096 == 0 else {
                throw .invalidLayout("\(range) is not a multiple of 4 KiB")
            }
            if let previous, range.base <= previous.last {
                throw .invalidLayout("\(range) is not above \(previous)")
            }
            previous = range
        }
        return ranges
    }

    // MARK: Layout

    private var regions: [Region] { [first] + (second.size > 0 ? [second] : []) + others }

    /// The ranges, ascending.
    package var ranges: [GuestRange] {
        regions.compactMap { GuestRange(base: GuestAddress($0.base), size: $0.size) }
    }

    /// All RAM, in bytes.
    package var totalSize: UInt64 { regions.reduce(0) { $0 &+ $1.size } }

    /// The regions with the host's addresses, for handing them to KVM.
    @unsafe
    package var hostRegions: [(range: GuestRange, address: UnsafeMutableRawPointer)] {
        unsafe regions.compactMap { region in
            guard let range = GuestRange(base: GuestAddress(region.base), size: region.size) else { return nil }
            return unsafe (range, region.host)
        }
    }

    /// Everything that is mapped, all regions side by side, for handing it to the kernel.
    @unsafe
    package var hostMapping: UnsafeMutableRawBufferPointer {
        unsafe UnsafeMutableRawBufferPointer(start: mapping.start, count: mapping.length)
    }

    // MARK: Access

    /// The bytes from `address` on, or nil if they are not wholly inside one region.
    @inlinable
    package func buffer(at address: GuestAddress, count: Int) -> GuestBuffer? {
        guard count >= 0 else { return nil }
        if let found = GuestMemory.find(first, address.value, UInt64(count)) { return found }
        if let found = GuestMemory.find(second, address.value, UInt64(count)) { return found }
        for region in others {
            if let found = GuestMemory.find(region, address.value, UInt64(count)) { return found }
        }
        return nil
    }

    @inlinable
    @inline(__always)
    static func find(_ region: Region, _ address: UInt64, _ count: UInt64) -> GuestBuffer? {
        let offset = address &- region.base
        guard address >= region.base, offset < region.size, count <= region.size &- offset else { return nil }
        // SAFETY: offset and count are inside the region's mapping.
        return unsafe GuestBuffer(start: region.host + Int(truncatingIfNeeded: offset), length: Int(truncatingIfNeeded: count))
    }

    /// Reads a little-endian value.
    ///
    /// - Throws: `GuestMemoryError.notMemory`.
    @inlinable
    package func load<T: FixedWidthInteger & BitwiseCopyable>(
        _ type: T.Type, at address: GuestAddress
    ) throws(GuestMemoryError) -> T {
        guard let value = buffer(at: address, count: MemoryLayout<T>.size)?.load(type, at: 0) else {
            throw .notMemory(address: address, count: UInt64(MemoryLayout<T>.size))
        }
        return value
    }

    /// Writes a little-endian value.
    ///
    /// - Throws: `GuestMemoryError.notMemory`, and then nothing was written.
    @inlinable
    package func store<T: FixedWidthInteger & BitwiseCopyable>(
        _ value: T, at address: GuestAddress
    ) throws(GuestMemoryError) {
        guard let target = buffer(at: address, count: MemoryLayout<T>.size), target.store(value, at: 0) else {
            throw .notMemory(address: address, count: UInt64(MemoryLayout<T>.size))
        }
    }

    /// Copies bytes in.
    ///
    /// - Throws: `GuestMemoryError.notMemory`, and then nothing was written.
    package func write(_ bytes: Span<UInt8>, at address: GuestAddress) throws(GuestMemoryError) {
        guard let target = buffer(at: address, count: bytes.count) else {
            throw .notMemory(address: address, count: UInt64(bytes.count))
        }
        target.copy(bytes, to: 0)
    }

    /// Copies bytes in.
    ///
    /// - Throws: `GuestMemoryError.notMemory`, and then nothing was written.
    package func write(_ bytes: [UInt8], at address: GuestAddress) throws(GuestMemoryError) {
        try write(bytes.span, at: address)
    }

    /// Copies bytes out.
    ///
    /// - Throws: `GuestMemoryError.notMemory`.
    package func read(_ count: Int, at address: GuestAddress) throws(GuestMemoryError) -> [UInt8] {
        guard let source = buffer(at: address, count: count) else {
            throw .notMemory(address: address, count: UInt64(max(0, count)))
        }
        return source.bytes()
    }

    /// Fills guest memory from a file, without a copy on the way.
    ///
    /// - Parameters:
    ///   - file: open for reading; its offset is not used.
    ///   - offset: where in the file, in bytes.
    ///   - count: how many bytes; a file that ends earlier is an error.
    ///   - address: where to.
    /// - Throws: `LinuxError` of the read, with EIO for a file that ended early and EFAULT for what is not guest memory.
    package func load(
        from file: borrowing OwnedDescriptor, offset: UInt64, count: Int, at address: GuestAddress
    ) throws(LinuxError) {
        guard let target = buffer(at: address, count: count) else {
            throw LinuxError(code: EFAULT, operation: "no guest memory at \(address) for \(count) bytes")
        }
        var done = 0
        while done < count {
            let position = offset.addingReportingOverflow(UInt64(done))
            guard !position.overflow, position.partialValue <= UInt64(Int64.max) else {
                throw LinuxError(code: EOVERFLOW, operation: "read the file")
            }
            // SAFETY: `done` stays below the buffer's count.
            let amount = unsafe csl_pread(
                file.number, target.hostAddress + done, count - done, Int64(position.partialValue))
            if amount == -Int(EINTR) { continue }
            guard amount >= 0 else {
                throw LinuxError(code: Int32(clamping: 0 - amount), operation: "read the file")
            }
            guard amount > 0 else { throw LinuxError(code: EIO, operation: "the file ends early") }
            done += amount
        }
    }
}
