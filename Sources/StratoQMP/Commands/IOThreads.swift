internal import StratoVMM

/// The device threads.
enum IOThreads {
    /// The threads sleep until there is something to do: all that is about polling is 0, which says so.
    @Sendable
    static func queryIOThreads(_ arguments: JSONObject, _ machine: any MachineControl) -> JSONValue {
        .array(
            machine.ioThreads.map { thread in
                .object([
                    "id": .string(thread.id),
                    "thread-id": JSONValue(thread.threadID),
                    "poll-max-ns": .integer(0),
                    "poll-grow": .integer(0),
                    "poll-shrink": .integer(0),
                ])
            })
    }
}
