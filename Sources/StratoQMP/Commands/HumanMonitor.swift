internal import StratoVMM

/// `human-monitor-command`: the few commands of QEMU's monitor for people that programs use as well.
///
/// The answer is text with CR LF at each line's end, also where the command is unknown.
enum HumanMonitor {
    @Sendable
    static func run(_ arguments: JSONObject, _ machine: any MachineControl) throws(QMPError) -> JSONValue {
        guard case .string(let line)? = arguments["command-line"] else {
            throw QMPError("Parameter 'command-line' is missing")
        }
        if case .integer(let index)? = arguments["cpu-index"] {
            guard machine.processors.contains(where: { Int64($0.index) == index }) else {
                throw QMPError("Parameter 'cpu-index' expects a CPU number")
            }
        }
        let words = line.utf8.split(separator: ASCII.space).map { String(decoding: $0, as: UTF8.self) }
        switch words {
        case []: return .string("")
        case ["info", "status"]: return .string(status(machine.status))
        case ["info", "registers"]: return .string(try registers(of: machine))
        default: return .string("unknown command: '\(words.joined(separator: " "))'\r\n")
        }
    }

    private static func registers(of machine: any MachineControl) throws(QMPError) -> String {
        let summaries: [String]
        do throws(MachineControlError) { summaries = try machine.registerSummaries() } catch { throw QMPError(error) }
        return summaries.enumerated().map { "CPU#\($0.offset)\r\n\($0.element)\r\n" }.joined()
    }

    private static func status(_ status: MachineStatus) -> String {
        switch status {
        case .running: "VM status: running\r\n"
        case .paused: "VM status: paused\r\n"
        case .preparing, .prelaunch, .ended: "VM status: paused (\(status.runState))\r\n"
        }
    }
}
