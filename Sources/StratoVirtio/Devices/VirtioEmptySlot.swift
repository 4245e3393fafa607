package import StratoHost
internal import StratoMemory
internal import Synchronization

/// A slot that a device may be put into later: what a guest sees of it until then is a disk without sectors, or a network
/// interface without a cable.
///
/// A driver that sends requests all the same gets them back: those of a disk fail, packets are dropped.
package final class VirtioEmptySlot: VirtioDevice {
    /// What kind of device the slot is for.
    package enum Kind: Sendable, Hashable {
        case block
        /// With a hardware address.
        case network(address: [UInt8])
    }

    private struct Active {
        var queues: [Int: SplitQueueBox]
        let interrupt: any VirtioInterrupt
    }

    /// A queue in a dictionary; there is no hot path here.
    private final class SplitQueueBox {
        var queue: SplitQueue
        init(_ queue: consuming SplitQueue) { self.queue = queue }
    }

    private static let queueSize: UInt16 = 256
    /// The queue on which a network driver sends (virtio 1.2, 5.1.2).
    private static let transmitQueue = 1

    package let name: String
    package let type: VirtioDeviceType
    package let offeredFeatures: VirtioFeatures
    package let queueMaximumSizes: [UInt16]
    package let kicks: [EventDescriptor]

    private let kind: Kind
    private let configuration: [UInt8]
    private let state = Mutex<Active?>(nil)
    private let loop: EventLoop
    private let registrations = Mutex<[EventLoop.Registration]>([])
    private let limiter: LogLimiter

    /// - Parameters:
    ///   - kind: what the slot is for.
    ///   - name: what the device is called in errors and the log.
    ///   - loop: whose thread answers the driver.
    ///   - logger: told of drivers that break the rules.
    /// - Throws: `LinuxError`.
    package init(_ kind: Kind, name: String, loop: EventLoop, logger: Logger) throws(LinuxError) {
        self.kind = kind
        self.name = name
        self.loop = loop
        limiter = LogLimiter(source: name, logger: logger)
        switch kind {
        case .block:
            type = .block
            offeredFeatures = [.version1, .indirectDescriptors, .eventIndex]
            queueMaximumSizes = [VirtioEmptySlot.queueSize]
            configuration = [UInt8](repeating: 0, count: BlockProtocol.Configuration.size)
        case .network(let address):
            type = .network
            offeredFeatures = [.version1, .indirectDescriptors, .eventIndex, .networkAddress, .networkStatus]
            queueMaximumSizes = [VirtioEmptySlot.queueSize, VirtioEmptySlot.queueSize]
            // mac[6], then le16 status, of which no bit is set: the link is down (virtio 1.2, 5.1.4).
            configuration = Array(address.prefix(6)) + [UInt8](repeating: 0, count: 8 - min(6, address.count))
        }
        var kicks: [EventDescriptor] = []
        for _ in queueMaximumSizes { kicks.append(try EventDescriptor()) }
        self.kicks = kicks
        for (index, kick) in kicks.enumerated() {
            let registration = try loop.register(kick.number, for: .readable) { [weak self] _ in
                kick.consume()
                self?.serve(index)
            }
            registrations.withLock { $0.append(registration) }
        }
    }

    package var configurationGeneration: UInt32 { 0 }

    package func readConfiguration(at offset: Int, width: Int) -> UInt64 {
        var value: UInt64 = 0
        for index in 0..<min(max(width, 0), 8) {
            let (position, overflow) = offset.addingReportingOverflow(index)
            guard !overflow, configuration.indices.contains(position) else { break }
            value |= UInt64(configuration[position]) &<< UInt64(index &* 8)
        }
        return value
    }

    package func writeConfiguration(_ value: UInt64, at offset: Int, width: Int) {}

    package func activate(_ activation: VirtioActivation) throws(VirtioError) {
        state.withLock { state in
            var queues: [Int: SplitQueueBox] = [:]
            for (index, given) in activation.queues.enumerated() {
                guard let given else { continue }
                queues[index] = SplitQueueBox(
                    SplitQueue(
                        given.layout, memory: activation.memory, features: activation.features, position: given.position))
            }
            state = Active(queues: queues, interrupt: activation.interrupt)
        }
        for kick in kicks { kick.signal() }
    }

    package func stopQueue(_ index: Int) {
        state.withLock { _ = $0?.queues.removeValue(forKey: index) }
    }

    package func reset() {
        state.withLock { $0 = nil }
    }

    package func pause() {}

    package func resume() {}

    package func shutDown() {
        let ending = registrations.withLock { registrations in
            defer { registrations.removeAll() }
            return registrations
        }
        for registration in ending { loop.unregister(registration) }
        reset()
    }

    package var queuePositions: [QueuePosition?] {
        state.withLock { state in queueMaximumSizes.indices.map { state?.queues[$0]?.queue.position } }
    }

    package func saveState() -> [UInt8] { [] }

    package func restoreState(_ bytes: [UInt8]) throws(VirtioError) {
        guard bytes.isEmpty else { throw VirtioError("\(name): an empty slot has no state") }
    }

    // MARK: Serving

    private func serve(_ index: Int) {
        if case .network = kind, index != VirtioEmptySlot.transmitQueue { return }
        state.withLock { state in
            guard let box = state?.queues[index], let interrupt = state?.interrupt else { return }
            do {
                repeat {
                    while let chain = try box.queue.pop() {
                        box.queue.push(chain.head, length: fail(chain, box.queue.segments))
                    }
                } while box.queue.enableNotifications()
            } catch {
                limiter.log(.warn, "\(error)")
                state?.queues.removeValue(forKey: index)
                interrupt.deviceNeedsReset()
                return
            }
            if box.queue.needsNotification() { interrupt.queueUsed(index) }
        }
    }

    /// Writes the status of a disk's request; returns how many bytes were written from the first writable one on.
    private func fail(_ chain: DescriptorChain, _ segments: Span<GuestBuffer>) -> UInt32 {
        guard case .block = kind, chain.writableLength > 0 else { return 0 }
        let last = segments[chain.segmentCount &- 1]
        last.store(BlockProtocol.Status.ioError, at: last.count &- 1)
        // The data before the status was not written, and nothing may be counted behind a gap.
        return chain.writableLength == 1 ? 1 : 0
    }
}

extension VirtioFeatures {
    // Feature bits of the network device (virtio 1.2, 5.1.3).
    static let networkAddress = VirtioFeatures(bit: 5)
    static let networkStatus = VirtioFeatures(bit: 16)
}
