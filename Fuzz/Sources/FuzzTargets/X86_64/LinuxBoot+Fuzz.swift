#if arch(x86_64)
@testable internal import StratoBoot
internal import StratoMemory

extension FuzzTarget {
    /// The same files as `kernel-image`, put into a machine's memory: what is accepted starts inside of what was loaded.
    static let linuxBoot = FuzzTarget("linux-boot", maximumLength: 8192, seeds: kernelSeeds) { input in
        let content = try FuzzFile(input.rest())
        let ramdisk = try FuzzFile([UInt8](repeating: 0x30, count: 512))
        let boot = LinuxBoot(
            kernel: try BootFile(option: "-kernel", opening: content.path),
            ramdisk: try BootFile(option: "-initrd", opening: ramdisk.path), commandLine: "console=ttyS0")
        let memory = try GuestMemory([guestRange(0, 20 << 20)])
        let state = try boot.place(in: memory, isMemoryFresh: true)
        expect(memory.buffer(at: GuestAddress(state.rip), count: 1) != nil, "the processor starts in memory")
        expect(memory.buffer(at: GuestAddress(state.rsp &- 8), count: 8) != nil || state.rsp == 0, "its stack is in memory")
    }
}
#endif
