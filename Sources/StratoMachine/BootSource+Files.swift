internal import StratoBoot

extension BootSource {
    /// Opens the kernel.
    ///
    /// - Throws: `MachineError` naming the option and the file.
    func openKernel() throws(MachineError) -> BootFile {
        try building { try BootFile(option: "-kernel", opening: kernelPath) }
    }

    /// Opens the initial RAM disk, if there is one.
    ///
    /// - Throws: `MachineError` naming the option and the file.
    func openInitialRamdisk() throws(MachineError) -> BootFile? {
        try building { try initialRamdiskPath.map { try BootFile(option: "-initrd", opening: $0) } }
    }
}
