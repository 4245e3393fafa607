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

    /// The kernel lets go of what a ring has registered, and so of a lock, up to some tenths of a second after the ring's
    /// process was killed: who starts that machine anew at once has to wait for it.
    private static let attempts = 50
    private static let attemptMicroseconds: UInt32 = 10_000

    /// Locks the image that a descriptor is open on.
    ///
    /// - Returns: false if the file system knows no locks.
    /// - Throws: `DiskError` if somebody else uses the image.
    static func acquire(_ descriptor: Int32, path: String, isReadOnly: Bool) throws(DiskError) -> Bool {
        var attempt = 1
        while true {
            do throws(Refusal) {
                return try acquireNow(descriptor, path, isReadOnly: isReadOnly)
            } catch {
                switch error {
                case .failed(let error):
                    throw error
                case .inUse(let process):
                    // A lock of a process's own ends with it; one of an open file description may be that of a ring.
                    guard process <= 0, attempt < attempts else { throw inUse(path, process, isReadOnly) }
                }
            }
            attempt += 1
            usleep(attemptMicroseconds)
        }
    }

    /// Why a lock was not had.
    private enum Refusal: Error {
        /// By a process, where the kernel tells which, else 0 or less.
        case inUse(Int32)
        case failed(DiskError)
    }

    private static func acquireNow(_ descriptor: Int32, _ path: String, isReadOnly: Bool) throws(Refusal) -> Bool {
        guard isReadOnly else {
            return try lock(descriptor, Int32(F_WRLCK), permissionBase, span, path)
        }
        let shared = [
            permissionBase + Permission.read, refusalBase + Permission.write, refusalBase + Permission.writeUnchanged,
            refusalBase + Permission.resize,
        ]
        for byte in shared {
            guard try lock(descriptor, Int32(F_RDLCK), byte, 1, path) else { return false }
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
            throw .inUse(process)
        }
        return true
    }

    /// Lets others use the image, whoever still has the open file description: a ring that was closed keeps it for a moment.
    static func release(_ descriptor: Int32) {
        _ = csl_ofd_lock(descriptor, Int32(F_UNLCK), permissionBase, span)
    }

    private static func lock(
        _ descriptor: Int32, _ type: Int32, _ start: Int64, _ length: Int64, _ path: String
    ) throws(Refusal) -> Bool {
        let code = csl_ofd_lock(descriptor, type, start, length)
        switch code {
        case 0:
            return true
        case -EAGAIN, -EACCES:
            var process: Int32 = 0
            // SAFETY: the shim writes to a live variable.
            let found = unsafe csl_ofd_probe(descriptor, type, start, length, &process)
            throw .inUse(found > 0 ? process : -1)
        case -ENOLCK, -EINVAL, -ENOSYS, -EOPNOTSUPP:
            return false
        default:
            throw .failed(DiskError("\(LinuxError(code: 0 &- code, operation: "lock image \(path)"))"))
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
