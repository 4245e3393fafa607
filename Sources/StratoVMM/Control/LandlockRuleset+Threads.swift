internal import Glibc
internal import StratoHost

extension LandlockRuleset {
    /// What the threads of a machine may do with files.
    ///
    /// - Parameter directories: beneath which they may open, make and remove what they like.
    /// - Throws: `LinuxError`.
    convenience init(reaching directories: [String]) throws(LinuxError) {
        try self.init()
        for directory in directories { try allowEverything(beneath: directory) }
    }

    /// What the thread may do that serves clients, which also ends the process.
    ///
    /// - Parameters:
    ///   - directories: beneath which it may open, make and remove what it likes.
    ///   - removable: paths of files that it removes.
    /// - Throws: `LinuxError`.
    convenience init(reaching directories: [String], removing removable: [String]) throws(LinuxError) {
        try self.init(reaching: directories)
        for path in removable {
            do {
                try allowRemoval(of: path)
            } catch  where error.code == ENOENT || error.code == ENOTDIR {
                // What is not there is not removed later either.
            }
        }
    }
}
