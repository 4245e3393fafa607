internal import CStratoLinux
internal import Glibc
internal import StratoHost

/// The file that a guest's RAM is a mapping of.
struct MemoryFile: ~Copyable {
    /// Where the pages of a file are.
    enum Storage: Equatable {
        /// In pages of a size that an administrator has set aside for them (hugetlbfs).
        case hugePages(size: UInt64)
        /// In memory like any other.
        case memory
        case disk
    }

    let descriptor: OwnedDescriptor
    let storage: Storage

    /// The path of a file that was made here and has a name; nil for any other.
    let madePath: String?

    private init(_ descriptor: consuming OwnedDescriptor, _ storage: Storage, madePath: String? = nil) {
        self.descriptor = descriptor
        self.storage = storage
        self.madePath = madePath
    }

    /// Gives the descriptor up to who keeps it.
    consuming func takeDescriptor() -> OwnedDescriptor { descriptor }

    /// A file in memory, which another process can be given.
    ///
    /// - Throws: `GuestMemoryError`.
    static func inMemory(length: UInt64) throws(GuestMemoryError) -> MemoryFile {
        try refusing("-machine mem-share") { () throws(LinuxError) -> MemoryFile in
            // SAFETY: the string lives for the length of the call.
            let code = unsafe csl_memfd_create("guest-ram")
            let descriptor = OwnedDescriptor(owning: try LinuxError.check(code, "make a file in memory"))
            try extend(descriptor.number, to: length)
            // Whoever is given the file could take memory away under the guest, which would end this process.
            try LinuxError.check(csl_memfd_fix_size(descriptor.number), "fix the size of a file in memory")
            return MemoryFile(descriptor, .memory)
        }
    }

    /// The file that a user names: an unnamed file in a directory, or a file of at least the length. An empty file is made as
    /// long as the RAM; one that is not there is made, and loses its name at once if nobody else is to see it.
    ///
    /// - Throws: `GuestMemoryError` naming the path.
    static func named(_ path: String, length: UInt64, isShared: Bool) throws(GuestMemoryError) -> MemoryFile {
        var status = stat()
        // SAFETY: the string and the structure live for the length of the call.
        guard unsafe stat(path, &status) == 0 else {
            return try created(path, length: length, isShared: isShared)
        }
        switch status.st_mode & S_IFMT {
        case S_IFDIR:
            let descriptor = try refusing("-mem-path \(path)") { () throws(LinuxError) -> OwnedDescriptor in
                try unnamed(in: path)
            }
            return try sized(descriptor, path, length: length, present: 0, isShared: isShared)
        case S_IFREG:
            let size = UInt64(clamping: status.st_size)
            guard size == 0 || size >= length else {
                throw refusal(
                    path,
                    "the file has \(ByteCount.exact(size)), less than the \(ByteCount.exact(length)) of -m; give a larger file, an"
                        + " empty one or a directory")
            }
            // What is mapped privately is not written to, and may belong to others.
            let flags = isShared || size == 0 ? O_RDWR : O_RDONLY
            let descriptor = try refusing("-mem-path \(path)") { () throws(LinuxError) -> OwnedDescriptor in
                try OwnedDescriptor(opening: path, flags: flags)
            }
            let present = UInt64(clamping: status.st_blocks).multipliedReportingOverflow(by: statusBlockSize)
            return try sized(
                descriptor, path, length: length, present: present.overflow ? .max : present.partialValue, isShared: isShared,
                extends: size == 0)
        default:
            throw refusal(path, "this is neither a directory nor a file; name a hugetlbfs mount, for example")
        }
    }

    /// The unit of `st_blocks`, stat(3type).
    private static let statusBlockSize: UInt64 = 512

    private static func created(_ path: String, length: UInt64, isShared: Bool) throws(GuestMemoryError) -> MemoryFile {
        let descriptor = try refusing("-mem-path \(path)") { () throws(LinuxError) -> OwnedDescriptor in
            try OwnedDescriptor(opening: path, flags: O_RDWR | O_CREAT | O_EXCL, mode: 0o600)
        }
        guard isShared else {
            try refusing("-mem-path") { () throws(LinuxError) -> Void in try HostProcess.removeFile(path) }
            return try sized(descriptor, path, length: length, present: 0, isShared: false)
        }
        do throws(GuestMemoryError) {
            return try sized(descriptor, path, length: length, present: 0, isShared: true, madePath: path)
        } catch {
            // The reason for the failure says more than one for a file that stays.
            try? HostProcess.removeFile(path)
            throw error
        }
    }

    /// Checks that a file can hold the RAM, and makes it as long.
    ///
    /// - Parameter present: how many bytes the file system has given the file already.
    private static func sized(
        _ descriptor: consuming OwnedDescriptor, _ path: String, length: UInt64, present: UInt64, isShared: Bool,
        extends: Bool = true, madePath: String? = nil
    ) throws(GuestMemoryError) -> MemoryFile {
        var system = csl_file_system()
        let number = descriptor.number
        try refusing("-mem-path \(path)") { () throws(LinuxError) -> Void in
            // SAFETY: one live structure is passed.
            try LinuxError.check(unsafe csl_get_file_system(number, &system), "ask the file system")
        }
        let storage: Storage
        switch system.type {
        case CSL_FILE_SYSTEM_HUGETLBFS.rawValue:
            guard system.block_size > 0, length % system.block_size == 0 else {
                throw .hostRefused(
                    "-m: \(ByteCount.exact(length)) is not a multiple of \(ByteCount.exact(system.block_size)), the size of a"
                        + " page of -mem-path \(path)")
            }
            storage = .hugePages(size: system.block_size)
        case CSL_FILE_SYSTEM_TMPFS.rawValue: storage = .memory
        default: storage = .disk
        }
        // A page for which a file system has no room any more would end the process when the guest touches it. Pages that are
        // mapped privately come from memory, and huge ones are reserved when they are mapped.
        if isShared, system.blocks > 0, storage == .memory || storage == .disk {
            let (room, overflow) = system.available.multipliedReportingOverflow(by: system.block_size)
            let needed = length - min(length, present)
            guard overflow || room >= needed else {
                throw refusal(
                    path,
                    "the file system has \(ByteCount.rounded(room)) left, and \(ByteCount.exact(needed)) are needed;"
                        + " give less memory by -m")
            }
        }
        if extends {
            try refusing("-mem-path \(path)") { () throws(LinuxError) -> Void in try extend(number, to: length) }
        }
        return MemoryFile(descriptor, storage, madePath: madePath)
    }

    private static func extend(_ number: Int32, to length: UInt64) throws(LinuxError) {
        try LinuxError.checkErrno(ftruncate(number, Int(clamping: length)), "make a file of \(ByteCount.exact(length))")
    }

    /// A file that is gone with its last mapping, however the process ends.
    ///
    /// - Parameter hasTemporaryFiles: false for file systems that only have files with names.
    static func unnamed(in directory: String, hasTemporaryFiles: Bool = true) throws(LinuxError) -> OwnedDescriptor {
        if hasTemporaryFiles {
            do throws(LinuxError) {
                return try OwnedDescriptor(opening: directory, flags: O_RDWR | csl_o_tmpfile(), mode: 0o600)
            } catch  where error.code == EOPNOTSUPP || error.code == EISDIR || error.code == EINVAL {
                // EISDIR: a kernel that does not know the flag takes it for a directory that is to be written to.
            }
        }
        var attempt = MonotonicClock.now.microseconds
        while true {
            let path = "\(directory)/stratovirt-ram-\(getpid())-\(attempt)"
            do throws(LinuxError) {
                let descriptor = try OwnedDescriptor(opening: path, flags: O_RDWR | O_CREAT | O_EXCL, mode: 0o600)
                try HostProcess.removeFile(path)
                return descriptor
            } catch  where error.code == EEXIST {
                attempt &+= 1
            }
        }
    }

    // MARK: Refusals

    private static func refusal(_ path: String, _ text: String) -> GuestMemoryError {
        .hostRefused("-mem-path \(path): \(text)")
    }

    private static func refusing<Result: ~Copyable>(
        _ option: String, _ body: () throws(LinuxError) -> Result
    ) throws(GuestMemoryError) -> Result {
        do throws(LinuxError) {
            return try body()
        } catch {
            throw .hostRefused("\(option): \(error)")
        }
    }
}
