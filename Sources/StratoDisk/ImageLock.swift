internal import CStratoLinux
internal import Glibc
internal import StratoHost

/// Keeps two users from writing one image, whichever of three programs they are.
///
/// QEMU holds read locks on single bytes: 100 + n for each permission n that it uses, 200 + n for each that it does not
/// let others use, and then looks whether anybody's bytes stand against it. The permissions are 0 read, 1 write,
/// 2 write what is there already, 3 resize. StratoVirt locks bytes 101, 102 and 202, for reading if it only reads and for
/// writing if it writes. So:
///
/// - who writes here locks all of those bytes for writing, which stands against everybody;
/// - who reads here locks 100 as QEMU does; 201 and 203, which keeps QEMU from writing; and 202, which keeps StratoVirt
///   from writing and means nothing to a QEMU that reads. Then it looks for a QEMU that writes or wants to be alone.
///
/// The locks belong to the open file description: another descriptor of this process is stopped as well, and they end
/// with the last duplicate of the descriptor.
enum ImageLock {
    private static let permissionBase: Int64 = 100
    private static let refusalBase: Int64 = 200

    private enum Permission {
        static let read: Int64 = 0
        static let write: Int64 = 1
        static let writeUnchanged: Int64 = 2
        static let resize: Int64 = 3
    }

    /// Bytes that a writer locks: both groups, and room for permissions to come.
    private static let span: Int64 = refusalBase - permissionBase + 64

    /// Locks the image that a descriptor is open on.
    ///
    /// - Returns: false if the file system knows no locks.
    /// - Throws: `DiskError` if somebody else uses the image.
    static func acquire(_ descriptor: Int32, path: String, isReadOnly: Bool) throws(DiskError) -> Bool {
        guard isReadOnly else {
            return try lock(descriptor, Int32(F_WRLCK), permissionBase, span, path, isReadOnly)
        }
        let shared = [
            permissionBase + Permission.read, refusalBase + Permission.write, refusalBase + Permission.writeUnchanged,
            refusalBase + Permission.resize,
        ]
        for byte in shared {
            guard try lock(descriptor, Int32(F_RDLCK), byte, 1, path, isReadOnly) else { return false }
        }
        // Asked only after our own bytes are locked: of two that start at once, at least one sees the other.
        let opposed = [
            permissionBase + Permission.write, permissionBase + Permission.resize, refusalBase + Permission.read,
        ]
        for byte in opposed {
            var process: Int32 = 0
            // SAFETY: the shim writes to a live variable.
            let found = unsafe csl_ofd_probe(descriptor, Int32(F_WRLCK), byte, 1, &process)
            guard found > 0 else { continue }
            // A process's own read lock on a permission byte is a StratoVirt that reads, too.
            if found == 1, process > 0 { continue }
            throw inUse(path, process, isReadOnly)
        }
        return true
    }

    /// Lets others use the image, whoever still has the open file description: a ring that was closed keeps it for a moment.
    static func release(_ descriptor: Int32) {
        _ = csl_ofd_lock(descriptor, Int32(F_UNLCK), permissionBase, span)
    }

    private static func lock(
        _ descriptor: Int32, _ type: Int32, _ start: Int64, _ length: Int64, _ path: String, _ isReadOnly: Bool
    ) throws(DiskError) -> Bool {
        let code = csl_ofd_lock(descriptor, type, start, length)
        switch code {
        case 0:
            return true
        case -EAGAIN, -EACCES:
            var process: Int32 = 0
            // SAFETY: the shim writes to a live variable.
            let found = unsafe csl_ofd_probe(descriptor, type, start, length, &process)
            throw inUse(path, found > 0 ? process : -1, isReadOnly)
        case -ENOLCK, -EINVAL, -ENOSYS, -EOPNOTSUPP:
            return false
        default:
            throw DiskError("\(LinuxError(code: 0 &- code, operation: "lock image \(path)"))")
        }
    }

    private static func inUse(_ path: String, _ process: Int32, _ isReadOnly: Bool) -> DiskError {
        let holder = process > 0 ? "process \(process)" : "another virtual machine"
        let advice = isReadOnly ? "which writes to it" : "end that one, or let both open it with readonly=on"
        return DiskError(
            isReadOnly
                ? "image \(path) is in use by \(holder), \(advice)" : "image \(path) is in use by \(holder): \(advice)")
    }
}
