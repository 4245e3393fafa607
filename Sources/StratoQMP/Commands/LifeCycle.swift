internal import StratoVMM

/// Commands that ask for or change where the machine is in its life.
enum LifeCycle {
    @Sendable
    static func queryStatus(_ arguments: JSONObject, _ machine: any MachineControl) -> JSONValue {
        let status = machine.status
        return .object([
            "running": .bool(status == .running),
            "singlestep": .bool(false),
            "status": .string(status.runState),
        ])
    }

    @Sendable
    static func stop(_ arguments: JSONObject, _ machine: any MachineControl) throws(QMPError) -> JSONValue {
        do throws(MachineControlError) { try machine.pause() } catch { throw QMPError(error) }
        return .emptyObject
    }

    @Sendable
    static func cont(_ arguments: JSONObject, _ machine: any MachineControl) throws(QMPError) -> JSONValue {
        do throws(MachineControlError) { try machine.resume() } catch { throw QMPError(error) }
        return .emptyObject
    }

    @Sendable
    static func systemReset(_ arguments: JSONObject, _ machine: any MachineControl) throws(QMPError) -> JSONValue {
        do throws(MachineControlError) { try machine.reset() } catch { throw QMPError(error) }
        return .emptyObject
    }

    @Sendable
    static func systemPowerDown(_ arguments: JSONObject, _ machine: any MachineControl) throws(QMPError) -> JSONValue {
        do throws(MachineControlError) { try machine.requestPowerDown() } catch { throw QMPError(error) }
        return .emptyObject
    }

    /// The answer is sent before the machine's end is told: events take their way through the loop.
    @Sendable
    static func quit(_ arguments: JSONObject, _ machine: any MachineControl) -> JSONValue {
        machine.shutDown(.hostQMPQuit)
        return .emptyObject
    }
}

extension MachineStatus {
    /// QEMU's `RunState`.
    var runState: String {
        switch self {
        case .preparing, .prelaunch: "prelaunch"
        case .running: "running"
        case .paused: "paused"
        case .ended: "shutdown"
        }
    }
}
