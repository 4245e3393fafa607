#if arch(x86_64)
import StratoHost
import StratoMemory
import StratoVirtio

/// A device that does nothing but say what it was told, and that a test can make wait in its reset.
final class StubDevice: VirtioDevice {
    enum Call: Equatable, Sendable {
        case activated(queueSize: Int), stoppedQueue, reset, paused, resumed, shutDown
    }

    private struct State {
        var calls: [Call] = []
        var isBlocking = false
        var isBlocked = false
    }

    let name = "stub"
    let type = VirtioDeviceType.entropy
    let offeredFeatures: VirtioFeatures = [.version1]
    let queueMaximumSizes: [UInt16] = [16]
    let kicks: [EventDescriptor]
    let configurationGeneration: UInt32 = 0
    private let state = Monitor(State())

    init() throws {
        kicks = [try EventDescriptor()]
    }

    var calls: [Call] { state.read { $0.calls } }

    private func record(_ call: Call) { state.update { $0.calls.append(call) } }

    /// Lets the next reset wait until this is set to false again.
    func setBlocking(_ isBlocking: Bool) { state.update { $0.isBlocking = isBlocking } }

    /// Waits until a reset is waiting.
    func waitUntilBlocked() -> Bool { state.wait(milliseconds: 20_000) { $0.isBlocked ? true : nil } ?? false }

    func wait(for call: Call) -> Bool { state.wait(milliseconds: 20_000) { $0.calls.contains(call) ? true : nil } ?? false }

    func readConfiguration(at offset: Int, width: Int) -> UInt64 { 0 }
    func writeConfiguration(_ value: UInt64, at offset: Int, width: Int) {}

    func activate(_ activation: VirtioActivation) {
        record(.activated(queueSize: activation.queues.first.flatMap { $0 }.map { Int($0.layout.size) } ?? 0))
    }

    func stopQueue(_ index: Int) { record(.stoppedQueue) }

    func reset() {
        state.update { $0.isBlocked = $0.isBlocking }
        state.wait { $0.isBlocking ? nil : () }
        state.update { $0.isBlocked = false }
        record(.reset)
    }

    func pause() { record(.paused) }
    func resume() { record(.resumed) }
    func shutDown() { record(.shutDown) }
    var queuePositions: [QueuePosition?] { [nil] }
    func saveState() -> [UInt8] { [] }
    func restoreState(_ bytes: [UInt8]) {}
}
#endif
