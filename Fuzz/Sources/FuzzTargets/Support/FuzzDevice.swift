internal import StratoHost
internal import StratoMemory
internal import Synchronization

@testable internal import StratoVirtio

/// A virtio device that gives every chain back, and holds its transport to the contract of `VirtioDevice`.
final class FuzzDevice: VirtioDevice {
    private final class Box {
        var queue: SplitQueue
        init(_ queue: consuming SplitQueue) { self.queue = queue }
    }

    private struct State {
        var queues: [Box?] = []
        var interrupt: (any VirtioInterrupt)?
    }

    let name = "fuzz"
    let type = VirtioDeviceType(rawValue: 42)
    let offeredFeatures: VirtioFeatures = [.version1, .eventIndex, .indirectDescriptors, VirtioFeatures(bit: 3)]
    let queueMaximumSizes: [UInt16] = [16, 8]
    let kicks: [EventDescriptor]
    let configurationGeneration: UInt32 = 1

    private let state = Mutex(State())

    init() throws {
        kicks = [try EventDescriptor(), try EventDescriptor()]
    }

    func readConfiguration(at offset: Int, width: Int) -> UInt64 {
        expect(offset >= 0 && (1...8).contains(width), "configuration space is read inside of it")
        return 0
    }

    func writeConfiguration(_ value: UInt64, at offset: Int, width: Int) {
        expect(offset >= 0 && (1...8).contains(width), "configuration space is written inside of it")
        configurationWrites.withLock { $0 &+= 1 }
        state.withLock { $0.interrupt }?.configurationChanged()
    }

    private let configurationWrites = Mutex(0)

    func activate(_ activation: VirtioActivation) throws(VirtioError) {
        expect(activation.queues.count == queueMaximumSizes.count, "a device gets as many queues as it has")
        expect(offeredFeatures.isSuperset(of: activation.features), "only what was offered is negotiated")
        state.withLock { state in
            expect(state.interrupt == nil, "a device is activated once between resets")
            state.interrupt = activation.interrupt
            state.queues = []
            for (index, queue) in activation.queues.enumerated() {
                guard let queue else {
                    state.queues.append(nil)
                    continue
                }
                expect(queue.layout.size <= queueMaximumSizes[index], "a queue is no longer than the device takes")
                state.queues.append(
                    Box(
                        SplitQueue(
                            queue.layout, memory: activation.memory, features: activation.features, position: queue.position)))
            }
        }
    }

    func stopQueue(_ index: Int) {
        state.withLock { state in
            if state.queues.indices.contains(index) { state.queues[index] = nil }
        }
    }

    func reset() { state.withLock { $0 = State() } }
    func pause() {}
    func resume() {}
    func shutDown() { reset() }

    var queuePositions: [QueuePosition?] {
        state.withLock { state in
            queueMaximumSizes.indices.map { state.queues.indices.contains($0) ? state.queues[$0]?.queue.position : nil }
        }
    }

    func saveState() -> [UInt8] { [] }

    func restoreState(_ bytes: [UInt8]) throws(VirtioError) {
        guard bytes.isEmpty else { throw VirtioError("fuzz: no state is expected") }
    }

    /// Serves the queues that were kicked, as a device's thread does.
    func serve() {
        for index in kicks.indices where kicks[index].consume() > 0 {
            state.withLock { state in
                guard state.queues.indices.contains(index), let box = state.queues[index] else { return }
                do {
                    while let chain = try box.queue.pop() {
                        box.queue.push(chain.head, length: UInt32(truncatingIfNeeded: chain.writableLength))
                    }
                    if box.queue.needsNotification() { state.interrupt?.queueUsed(index) }
                } catch {
                    state.queues[index] = nil
                    state.interrupt?.deviceNeedsReset()
                }
            }
        }
    }
}
