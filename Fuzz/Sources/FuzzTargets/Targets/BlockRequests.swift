internal import StratoHost
internal import StratoMemory

@testable internal import StratoDisk
@testable internal import StratoVirtio

/// The disk's contents before each input.
private let diskContents = [UInt8](repeating: 0xD5, count: 16 << 10)

/// One image for all inputs: opening it is not what is fuzzed here.
private let disk: (file: FuzzFile, image: DiskImage)? = {
    guard let file = try? FuzzFile(diskContents) else { return nil }
    let options = DiskImageOptions(path: file.path, engine: .synchronous, passesDiscards: true, zeroDetection: .unmap)
    return (try? DiskImage(options, logger: .silent)).map { (file, $0) }
}()

private final class SilentInterrupt: VirtioInterrupt {
    func queueUsed(_ index: Int) {}
    func configurationChanged() {}
    func deviceNeedsReset() {}
}

extension FuzzTarget {
    /// Requests of a block device: the guest writes rings, headers and data as it likes, and notifies. The first byte chooses
    /// features.
    static let blockRequests = FuzzTarget("block-request", seeds: blockSeeds) { input in
        guard let disk else { return expect(false, "a disk in memory can be opened") }
        try disk.file.write(diskContents)
        try BlockQueueBench(disk.image).run(&input)
        expect(disk.file.size == diskContents.count, "no request makes the disk longer or shorter")
    }

    @Sendable private static func blockSeeds() -> [(name: String, bytes: [UInt8])] {
        let header: UInt64 = 0x2000
        let data: UInt64 = 0x3000
        let status: UInt64 = 0x4000
        func patch(_ bytes: [UInt8]) -> [UInt8] { [0] + bytes }
        func request(_ type: UInt32, _ sector: UInt64) -> [UInt8] {
            patch(FuzzMemory.patchBytes(little(UInt64(type), 8) + little(sector, 8), at: header))
        }
        func seed(_ type: UInt32, _ sector: UInt64, _ length: UInt32, isRead: Bool, data bytes: [UInt8] = []) -> [UInt8] {
            let parts: [(UInt64, UInt32)] = [(header, 16), (data, length), (status, 1)]
            return [0xFF] + request(type, sector) + patch(FuzzMemory.patchBytes(bytes, at: data))
                + QueueSeed.chain(length == 0 ? [parts[0], parts[2]] : parts, readable: isRead || length == 0 ? 1 : 2)
                .flatMap(patch)
                + patch(QueueSeed.offer([0])) + [1]
        }
        let range = little(4, 8) + little(8, 4) + little(1, 4)
        return [
            ("read", seed(0, 2, 1024, isRead: true)),
            ("read-past-end", seed(0, 31, 1024, isRead: true)),
            ("write", seed(1, 2, 512, isRead: false, data: [1, 2, 3])),
            ("write-zeros", seed(1, 0, 4096, isRead: false)),
            ("flush", seed(4, 0, 0, isRead: false)),
            ("identify", seed(8, 0, 20, isRead: true)),
            ("scsi-command", seed(2, 0, 128, isRead: false)),
            ("discard", seed(11, 0, 16, isRead: false, data: little(4, 8) + little(8, 4) + little(0, 4))),
            ("write-zeroes", seed(13, 0, 32, isRead: false, data: range + range)),
            ("life-cycle", seed(0, 2, 512, isRead: true) + [2, 1, 3, 1, 4, 1, 5, 0, 1]),
        ]
    }
}

/// A queue of a block device, without the thread that serves it.
private struct BlockQueueBench {
    private let memory: GuestMemory
    private let queue: BlockQueue
    private let activation: VirtioActivation

    init(_ image: DiskImage) throws {
        memory = try FuzzMemory.make()
        let disk = try image.makeQueue(depth: Int(QueueSeed.size), threadLimit: 1, logger: .silent)
        queue = BlockQueue(
            index: 0, kick: try EventDescriptor(), disk: disk,
            shared: BlockQueue.Shared(
                image: image, serial: [UInt8](repeating: 0x53, count: BlockProtocol.identifierSize),
                limiter: LogLimiter(source: "disk", logger: FormattingSink.logger)))
        let layout = try QueueLayout(
            QueueConfiguration(
                size: UInt32(QueueSeed.size), descriptorTable: QueueSeed.descriptors, availableRing: QueueSeed.available,
                usedRing: QueueSeed.used), maximumSize: UInt16(QueueSeed.size), in: memory)
        activation = VirtioActivation(
            features: VirtioFeatures(rawValue: .max), memory: memory, queues: [VirtioActivation.Queue(layout: layout)],
            interrupt: SilentInterrupt())
    }

    private func activate(_ choice: UInt8) {
        var features: VirtioFeatures = [.version1]
        let optional: [VirtioFeatures] = [
            .indirectDescriptors, .eventIndex, .blockFlush, .blockDiscard, .blockWriteZeroes, .blockConfigurableCache,
        ]
        for (bit, feature) in optional.enumerated() where choice >> UInt8(bit) & 1 != 0 { features.insert(feature) }
        guard let given = activation.queues[0] else { return }
        queue.activate(
            given,
            VirtioActivation(features: features, memory: memory, queues: activation.queues, interrupt: activation.interrupt),
            isWriteback: choice & 0x80 != 0)
    }

    func run(_ input: inout FuzzInput) {
        let choice = input.byte()
        activate(choice)
        while !input.isEmpty {
            switch input.byte() % 6 {
            case 0: FuzzMemory.patch(memory, &input)
            case 1: queue.process()
            case 2: queue.pause()
            case 3: queue.resume()
            case 4:
                queue.deactivate()
                activate(choice)
            default: queue.setWriteback(input.byte() & 1 != 0)
            }
        }
        queue.resume()
        queue.process()
        queue.deactivate()
        queue.close()
    }
}
