/// A Linux kernel that is started without firmware, or handed to it.
public struct LinuxBootLoader: Sendable, Hashable {
    /// Path of the kernel image.
    public var kernel: String

    /// Path of the initial RAM disk, nil for none.
    public var initialRamdisk: String?

    /// The kernel's command line, without a final zero byte.
    public var commandLine: String

    /// A kernel with nothing beside it unless given.
    public init(kernel: String, initialRamdisk: String? = nil, commandLine: String = "") {
        self.kernel = kernel
        self.initialRamdisk = initialRamdisk
        self.commandLine = commandLine
    }
}
