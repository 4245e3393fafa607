import StratoDisk
import StratoHost
import StratoMemory
import StratoVirtio
import Synchronization

/// Reads of 4 KiB through the whole block device, one notification for each batch.
///
/// The interrupt plays the driver: it makes the next batch available, until there were enough.
final class BlockProbe {
    private final class Driver: VirtioInterrupt {
        private struct State {
            var guest: GuestQueue
            var left: Int
        }

        private let state: Mutex<State>
        private let loop: EventLoop
        let kick = Mutex<EventDescriptor?>(nil)
        let hasFailed = Atomic(false)

        init(_ guest: GuestQueue, batches: Int, loop: EventLoop) {
            state = Mutex(State(guest: guest, left: batches))
            self.loop = loop
        }

        func next() {
            let isLast = state.withLock { state in
                guard state.left > 0 else { return true }
                state.left -= 1
                state.guest.publish()
                return false
            }
            if isLast {
                loop.stop()
            } else {
                kick.withLock { $0 }?.signal()
            }
        }

        func queueUsed(_ index: Int) {
            // Engines that work by themselves complete a batch in parts.
            if state.withLock({ $0.guest.isDone }) { next() }
        }

        func configurationChanged() {}

        func deviceNeedsReset() {
            hasFailed.store(true, ordering: .relaxed)
            loop.stop()
        }
    }

    static func run(
        batches: Int, image path: String, stride: UInt64, engine: DiskImageOptions.Engine = .synchronous, isDirect: Bool = false
    ) throws {
        let loop = try EventLoop(name: "probe")
        let logger = Logger.silent
        let image = try DiskImage(
            DiskImageOptions(path: path, isReadOnly: true, isDirect: isDirect, engine: engine), logger: logger)
        let device = try VirtioBlock(
            VirtioBlock.Options(name: "probe", queueSize: GuestQueue.size), image: image, loop: loop, logger: logger)
        let guest = try GuestQueue(requests: true, stride: stride)
        let driver = Driver(guest, batches: batches, loop: loop)
        driver.kick.withLock { $0 = device.kicks[0] }
        try device.activate(
            VirtioActivation(
                features: [.version1], memory: guest.memory,
                queues: [VirtioActivation.Queue(layout: guest.layout)], interrupt: driver))
        driver.next()
        loop.run()
        device.shutDown()
        guard !driver.hasFailed.load(ordering: .relaxed) else { throw ProbeError("the device needs a reset") }
        var used = 0
        for index in 0..<Int(GuestQueue.batch) {
            guard try guest.memory.load(UInt8.self, at: GuestAddress(0x20_0000 + UInt64(index) * 4096)) == 0 else { continue }
            used += 1
        }
        guard used == Int(GuestQueue.batch) else { throw ProbeError("requests have failed") }
    }
}
