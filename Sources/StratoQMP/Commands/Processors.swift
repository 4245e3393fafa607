internal import StratoVMM

/// The virtual CPUs.
enum Processors {
    /// QEMU's older form, gone from QEMU since 6.0 and still StratoVirt's.
    ///
    /// `halted` is false: a virtual CPU waits for interrupts inside KVM, and the monitor is not told.
    @Sendable
    static func queryCPUs(_ arguments: JSONObject, _ machine: any MachineControl) -> JSONValue {
        .array(
            machine.processors.map { processor in
                .object([
                    "current": .bool(processor.index == 0),
                    "qom_path": .string(path(of: processor)),
                    "halted": .bool(false),
                    "props": .object(Target.properties(of: processor)),
                    "CPU": JSONValue(processor.index),
                    "thread_id": JSONValue(processor.threadID),
                    "arch": .string(Target.processorArchitecture),
                ])
            })
    }

    @Sendable
    static func queryCPUsFast(_ arguments: JSONObject, _ machine: any MachineControl) -> JSONValue {
        .array(
            machine.processors.map { processor in
                .object([
                    "cpu-index": JSONValue(processor.index),
                    "qom-path": .string(path(of: processor)),
                    "thread-id": JSONValue(processor.threadID),
                    "props": .object(Target.properties(of: processor)),
                    "target": .string(Target.name),
                ])
            })
    }

    private static func path(of processor: ProcessorInfo) -> String {
        "/machine/unattached/device[\(processor.index)]"
    }
}
