import StratoVMM
import Synchronization

/// A machine that does nothing but remember what it was asked for, and tells its observers on the thread of the caller.
final class FakeMachine: MachineControl {
    private struct State {
        var status: MachineStatus
        var configuration: VirtualMachineConfiguration
        var observers: [@Sendable (MachineEvent) -> Void] = []
        var calls: [String] = []
        var refusal: String?
        var processors: [ProcessorInfo] = []
        var blockDevices: [BlockDeviceInfo] = []
        var characterDevices: [CharacterDeviceInfo] = []
        var ioThreads: [IOThreadInfo] = []
        var pciFunctions: [PCIFunctionInfo] = []
    }

    private let state: Mutex<State>

    init(_ status: MachineStatus = .running, _ configuration: VirtualMachineConfiguration = VirtualMachineConfiguration()) {
        state = Mutex(State(status: status, configuration: configuration))
    }

    /// What was asked for, in order.
    var calls: [String] { state.withLock { $0.calls } }

    /// From now on every request fails with this text.
    func refuse(_ text: String) { state.withLock { $0.refusal = text } }

    func emit(_ event: MachineEvent) {
        for observer in state.withLock({ $0.observers }) { observer(event) }
    }

    /// The machine is built and runs.
    func becomeReady() {
        state.withLock { $0.status = .running }
        emit(.built)
    }

    private func carryOut(_ call: String, _ status: MachineStatus?, _ event: MachineEvent) throws(MachineControlError) {
        let refusal = state.withLock { state in
            state.calls.append(call)
            if state.refusal == nil, let status { state.status = status }
            return state.refusal
        }
        if let refusal { throw MachineControlError(refusal) }
        emit(event)
    }

    var configuration: VirtualMachineConfiguration { state.withLock { $0.configuration } }
    var status: MachineStatus { state.withLock { $0.status } }

    func observe(_ observer: @escaping @Sendable (MachineEvent) -> Void) {
        state.withLock { $0.observers.append(observer) }
    }

    func pause() throws(MachineControlError) { try carryOut("pause", .paused, .stopped) }

    func resume() throws(MachineControlError) { try carryOut("resume", .running, .resumed) }

    func reset() throws(MachineControlError) { try carryOut("reset", nil, .reset(guest: false)) }

    func requestPowerDown() throws(MachineControlError) { try carryOut("powerdown", nil, .powerDownRequested) }

    func shutDown(_ reason: ShutdownReason) {
        let isFirst = state.withLock { state in
            state.calls.append("shutdown \(reason.rawValue)")
            defer { state.status = .ended }
            return state.status != .ended
        }
        if isFirst { emit(.shutdown(reason)) }
    }

    func registerSummaries() throws(MachineControlError) -> [String] {
        if let refusal = state.withLock({ $0.refusal }) { throw MachineControlError(refusal) }
        return ["rip=fff0", "rip=0"]
    }

    var processors: [ProcessorInfo] {
        get { state.withLock { $0.processors } }
        set { state.withLock { $0.processors = newValue } }
    }

    var blockDevices: [BlockDeviceInfo] {
        get { state.withLock { $0.blockDevices } }
        set { state.withLock { $0.blockDevices = newValue } }
    }

    var characterDevices: [CharacterDeviceInfo] {
        get { state.withLock { $0.characterDevices } }
        set { state.withLock { $0.characterDevices = newValue } }
    }

    var pciFunctions: [PCIFunctionInfo] {
        get { state.withLock { $0.pciFunctions } }
        set { state.withLock { $0.pciFunctions = newValue } }
    }

    var ioThreads: [IOThreadInfo] {
        get { state.withLock { $0.ioThreads } }
        set { state.withLock { $0.ioThreads = newValue } }
    }
}
