internal import Glibc
internal import StratoHost
internal import StratoKVM

extension LandlockRuleset {
    /// What the threads of a machine may do with files.
    ///
    /// - Parameter directories: beneath which they may open, make and remove what they like.
    /// - Throws: `LinuxError`.
    convenience init(reaching directories: [String]) throws(LinuxError) {
        try self.init()
        for directory in directories { try allow(.everything, at: directory) }
    }

    /// What the thread may do that serves clients, which also explains failures and ends the process.
    ///
    /// - Parameters:
    ///   - directories: beneath which it may open, make and remove what it likes.
    ///   - removable: paths of files that it removes.
    /// - Throws: `LinuxError`.
    convenience init(reaching directories: [String], removing removable: [String]) throws(LinuxError) {
        try self.init(reaching: directories)
        // What is not there is not opened later either, and not removed.
        for path in KVMEnvironment.openedPaths.used { try unlessMissing { () throws(LinuxError) in try allow(.use, at: path) } }
        for path in KVMEnvironment.openedPaths.read {
            try unlessMissing { () throws(LinuxError) in try allow(.reading, at: path) }
        }
        for path in removable { try unlessMissing { () throws(LinuxError) in try allowRemoval(of: path) } }
    }

    private func unlessMissing(_ body: () throws(LinuxError) -> Void) throws(LinuxError) {
        do {
            try body()
        } catch  where error.code == ENOENT || error.code == ENOTDIR {
        }
    }
}
