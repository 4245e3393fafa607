#if arch(arm64)
internal import StratoVMM

/// What QMP says about the guests' architecture.
enum Target {
    /// QEMU's `SysEmuTarget`.
    static let name = "aarch64"

    /// StratoVirt's word; QEMU has none for this architecture.
    static let processorArchitecture = "arm"

    /// QEMU's and StratoVirt's name of the standard machine.
    static let standardMachine = "virt"

    /// Where a virtual CPU is, as far as this architecture has such places (`CpuInstanceProperties`).
    static func properties(of processor: ProcessorInfo) -> JSONObject {
        [
            "socket-id": JSONValue(processor.socket),
            "cluster-id": JSONValue(processor.cluster),
            "core-id": JSONValue(processor.core),
            "thread-id": JSONValue(processor.thread),
        ]
    }
}
#endif
