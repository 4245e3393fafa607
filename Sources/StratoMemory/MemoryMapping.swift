internal import CStratoLinux
internal import Glibc
internal import StratoHost

/// Memory of the host that is mapped for a guest, unmapped with the value.
@safe
struct MemoryMapping: ~Copyable {
    /// What a processor's and KVM's page tables can map at once, on x86_64 and with aarch64's pages of 4 KiB; memory that starts
    /// at a multiple of it, as that of the guest does, can be mapped so.
    private static let largePageSize = 2 << 20

    // SAFETY: mapped by `map` for `length` bytes, and unmapped by `deinit` alone.
    let start: UnsafeMutableRawPointer
    let length: Int
    /// Kept open for another process to be given; nil where there is nothing to share.
    private let file: OwnedDescriptor?
    /// The file's number while it is open.
    let fileNumber: Int32
    /// Where the file's pages are, nil without one.
    let storage: MemoryFile.Storage?

    private init(
        start: UnsafeMutableRawPointer, length: Int, file: consuming OwnedDescriptor?, fileNumber: Int32,
        storage: MemoryFile.Storage?
    ) {
        unsafe self.start = start
        self.length = length
        self.file = file
        self.fileNumber = fileNumber
        self.storage = storage
    }

    deinit {
        // SAFETY: whoever held a part of it held its owner.
        unsafe munmap(start, length)
    }

    /// Maps memory, and does with it what the backing says.
    ///
    /// - Parameters:
    ///   - length: in bytes, a multiple of 4 KiB.
    ///   - backing: what is behind it.
    ///   - host: what tells how much there is.
    /// - Throws: `GuestMemoryError`.
    static func map(
        _ length: Int, _ backing: GuestMemory.Backing, host: HostMemory = HostMemory()
    ) throws(GuestMemoryError) -> MemoryMapping {
        guard backing.path != nil || backing.isShared else { return try map(length, nil, -1, nil, backing, host) }
        let opened = try openFile(UInt64(length), backing)
        let storage = opened.storage
        let number = opened.descriptor.number
        let madePath = opened.madePath
        do throws(GuestMemoryError) {
            return try map(length, opened.takeDescriptor(), number, storage, backing, host)
        } catch {
            // The reason for the failure says more than one for a file that stays.
            if let madePath { try? HostProcess.removeFile(madePath) }
            throw error
        }
    }

    private static func map(
        _ length: Int, _ file: consuming OwnedDescriptor?, _ number: Int32, _ storage: MemoryFile.Storage?,
        _ backing: GuestMemory.Backing, _ host: HostMemory
    ) throws(GuestMemoryError) -> MemoryMapping {
        var flags = backing.isShared ? MAP_SHARED : MAP_PRIVATE
        if storage == nil { flags |= MAP_ANONYMOUS }
        let hugePageSize: UInt64? = if case .hugePages(let size) = storage { size } else { nil }
        // Huge pages are reserved now: one that is missing when the guest touches it would end this process.
        if hugePageSize == nil { flags |= MAP_NORESERVE }
        var start: UnsafeMutableRawPointer?
        // SAFETY: the shim writes the address of a new mapping, or nothing.
        let alignment = hugePageSize.map { Int(clamping: $0) } ?? largePageSize
        // The optimizer closes a file after its last use, which is not where its number is used.
        let code = withExtendedLifetime(file) {
            unsafe csl_map_aligned(&start, length, alignment, flags, number)
        }
        guard code == 0, let start = unsafe start else {
            if let hugePageSize, code == -ENOMEM || code == -ENOSPC {
                throw missingHugePages(hugePageSize, length, backing, host)
            }
            let error = LinuxError(code: 0 &- code, operation: "map \(ByteCount.exact(UInt64(length))) of guest memory")
            throw .hostRefused("-m: \(error)")
        }
        // The mapping itself needs it no longer.
        if !backing.isShared { file = nil }
        let mapping = unsafe MemoryMapping(
            start: start, length: length, file: file, fileNumber: number, storage: storage)
        try mapping.advise(backing)
        if backing.isPreallocated {
            try mapping.populate(pageSize: hugePageSize, backing, host)
        }
        return mapping
    }

    private static func openFile(_ length: UInt64, _ backing: GuestMemory.Backing) throws(GuestMemoryError) -> MemoryFile {
        guard let path = backing.path else { return try MemoryFile.inMemory(length: length) }
        return try MemoryFile.named(path, length: length, isShared: backing.isShared)
    }

    private static func missingHugePages(
        _ pageSize: UInt64, _ length: Int, _ backing: GuestMemory.Backing, _ host: HostMemory
    ) -> GuestMemoryError {
        let needed = UInt64(length) / pageSize
        let size = ByteCount.exact(pageSize)
        let option = "-mem-path \(backing.path ?? "")"
        guard let pages = host.hugePages(of: pageSize), pages.available < needed else {
            // Enough of them, but not for this one.
            return .hostRefused(
                "\(option): \(needed) free pages of \(size) are needed, and a limit of the mount or of a control group is below"
                    + " that; raise it or give less memory by -m")
        }
        return .hostRefused(
            "\(option): \(needed) free pages of \(size) are needed, and there are \(pages.available); set a higher number in"
                + " \(pages.settingPath) or give less memory by -m")
    }

    // MARK: Advice

    private borrowing func advise(_ backing: GuestMemory.Backing) throws(GuestMemoryError) {
        if !backing.isDumped {
            // SAFETY: the mapping is this value's own; the advice changes no byte of it.
            let code = unsafe csl_advise(start, length, MADV_DONTDUMP)
            guard code == 0 else {
                let error = LinuxError(code: 0 &- code, operation: "leave guest memory out of core dumps")
                throw .hostRefused("-machine dump-guest-core=off: \(error)")
            }
        }
        if let isWanted = backing.usesTransparentHugePages, !hasHugePages {
            // SAFETY: as above.
            let code = unsafe csl_advise(start, length, isWanted ? MADV_HUGEPAGE : MADV_NOHUGEPAGE)
            // A kernel that has none makes none.
            guard code == 0 || !isWanted else {
                throw .hostRefused("-machine thp=on: this host's kernel has no transparent huge pages; leave it out")
            }
        }
    }

    private var hasHugePages: Bool {
        if case .hugePages = storage { true } else { false }
    }

    // MARK: Presence

    private borrowing func populate(
        pageSize: UInt64?, _ backing: GuestMemory.Backing, _ host: HostMemory
    ) throws(GuestMemoryError) {
        let isOnDisk = storage == .disk && backing.isShared
        // Memory that is not there would be taken from other processes, or this one be killed for it.
        if pageSize == nil, !isOnDisk, let available = host.available, available < UInt64(length) {
            throw .hostRefused(
                "-mem-prealloc: \(ByteCount.exact(UInt64(length))) are needed, and the host has \(ByteCount.rounded(available)) left"
                    + " for this process; give less memory by -m")
        }
        let population = unsafe MemoryPopulation(
            start: start, length: length, pageSize: Int(clamping: pageSize ?? 0),
            sharedFile: backing.isShared ? fileNumber : nil)
        do throws(LinuxError) {
            try population.run(threads: backing.preallocationThreads)
        } catch {
            let hint =
                switch error.code {
                case EFAULT where pageSize != nil: " (a control group may not have as many huge pages)"
                case EFAULT where isOnDisk: " (the file system may be full)"
                default: ""
                }
            throw .hostRefused("-mem-prealloc: \(error)\(hint)")
        }
    }
}
