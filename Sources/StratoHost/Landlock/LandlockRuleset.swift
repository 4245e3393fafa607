internal import CStratoLinux
internal import Glibc

/// What of the host's files threads may open, make and remove: nothing but what a rule names (landlock(7)).
///
/// What a thread has open already, or gets from another, is not touched. Where the kernel can tell, TCP ports are refused as
/// well.
package final class LandlockRuleset: Sendable {
    private let descriptor: OwnedDescriptor
    /// What the kernel knows to refuse.
    private let handled: UInt64

    /// Rules that permit nothing.
    ///
    /// - Throws: `LinuxError`: ENOSYS from a kernel that has no Landlock, EOPNOTSUPP from one that was started without.
    package init() throws(LinuxError) {
        let operation = "restrict the file system (Landlock)"
        let version = try LinuxError.check(csl_landlock_version(), operation)
        var files = CSL_LANDLOCK_FILES_1.rawValue
        if version >= 2 { files |= CSL_LANDLOCK_REFER_2.rawValue }
        if version >= 3 { files |= CSL_LANDLOCK_TRUNCATE_3.rawValue }
        if version >= 5 { files |= CSL_LANDLOCK_IOCTL_DEV_5.rawValue }
        let network = version >= 4 ? CSL_LANDLOCK_TCP_4.rawValue : 0
        descriptor = OwnedDescriptor(owning: try LinuxError.check(csl_landlock_create(files, network), operation))
        handled = files
    }

    /// Whether the kernel has Landlock.
    package static var isAvailable: Bool { csl_landlock_version() > 0 }

    /// Permits to read, write, make and remove files, directories and sockets beneath a directory. To be called before there is a
    /// thread that is restricted by the rules: what is added later does not reach it.
    ///
    /// - Parameter directory: what is at this name later does not matter.
    /// - Throws: `LinuxError` if there is no directory at the path.
    package func allowEverything(beneath directory: String) throws(LinuxError) {
        let rights =
            CSL_LANDLOCK_READ_FILE.rawValue | CSL_LANDLOCK_WRITE_FILE.rawValue | CSL_LANDLOCK_TRUNCATE_3.rawValue
            | CSL_LANDLOCK_READ_DIR.rawValue | CSL_LANDLOCK_REMOVE_DIR.rawValue | CSL_LANDLOCK_REMOVE_FILE.rawValue
            | CSL_LANDLOCK_MAKE_DIR.rawValue | CSL_LANDLOCK_MAKE_REG.rawValue | CSL_LANDLOCK_MAKE_SOCK.rawValue
            | CSL_LANDLOCK_REFER_2.rawValue
        try add(rights, to: directory)
    }

    /// Permits to remove a file, and, as the kernel knows this of directories only, whatever is beside and beneath it but
    /// directories. The file need not be there yet.
    ///
    /// - Throws: `LinuxError` if its directory is not there.
    package func allowRemoval(of path: String) throws(LinuxError) {
        try add(CSL_LANDLOCK_REMOVE_FILE.rawValue, to: HostPath.split(path).directory)
    }

    private func add(_ rights: UInt64, to directory: String) throws(LinuxError) {
        let place = try OwnedDescriptor(opening: directory, flags: csl_o_path() | O_DIRECTORY)
        try LinuxError.check(
            csl_landlock_allow(descriptor.number, place.number, rights & handled), "restrict the file system to \(directory)")
    }

    /// Restricts the calling thread, and those that it starts from now on, for good. Rules that are put in place later can
    /// only take more away.
    ///
    /// - Throws: `LinuxError`, E2BIG for a thread that is restricted by 16 sets of rules already.
    package func restrictThread() throws(LinuxError) {
        try LinuxError.check(csl_landlock_restrict(descriptor.number), "restrict the file system (Landlock)")
    }
}
