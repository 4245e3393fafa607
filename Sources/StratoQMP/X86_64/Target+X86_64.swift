#if arch(x86_64)
internal import StratoVMM

/// What QMP says about the guests' architecture.
enum Target {
    /// QEMU's `SysEmuTarget`.
    static let name = "x86_64"

    /// QEMU's `CpuInfoArch`.
    static let processorArchitecture = "x86"

    /// QEMU's and StratoVirt's name of the standard machine.
    static let standardMachine = "q35"

    /// Where a virtual CPU is, as far as this architecture has such places (`CpuInstanceProperties`).
    static func properties(of processor: ProcessorInfo) -> JSONObject {
        [
            "socket-id": JSONValue(processor.socket),
            "die-id": JSONValue(processor.die),
            "core-id": JSONValue(processor.core),
            "thread-id": JSONValue(processor.thread),
        ]
    }
}
#endif
