internal import Watched

@testable internal import StratoMemory
@testable internal import StratoVirtio

extension FuzzTarget {
    /// A split queue anywhere in guest memory, which the guest changes as it likes. What is taken from it is exactly what a
    /// reader finds that goes through the specification sentence by sentence.
    ///
    ///     features (1 byte: bit 0 indirect descriptors, bit 1 event index), size (4), descriptor table, available ring and used
    ///     ring (8 each), next available and next used index (2 each); then steps
    static let splitQueue = FuzzTarget("split-queue", seeds: splitQueueSeeds) { input in
        let memory = try FuzzMemory.make()
        let choice = input.byte()
        var features: VirtioFeatures = [.version1]
        if choice & 1 != 0 { features.insert(.indirectDescriptors) }
        if choice & 2 != 0 { features.insert(.eventIndex) }
        let configuration = QueueConfiguration(
            size: input.number(), descriptorTable: input.number(), availableRing: input.number(), usedRing: input.number())
        let layout = try QueueLayout(configuration, maximumSize: 256, in: memory)
        let position = QueuePosition(nextAvailable: input.number(), nextUsed: input.number())
        var queue = WatchedQueue(SplitQueue(layout, memory: memory, features: features, position: position))
        var taken: [DescriptorChain] = []
        while !input.isEmpty {
            switch input.byte() % 6 {
            case 0: FuzzMemory.patch(memory, &input)
            case 1:
                let expected = QueueReader(
                    memory, configuration, chainLimit: layout.maximumChainLength, hasIndirect: choice & 1 != 0
                ).chain(at: queue.position.nextAvailable)
                // An error ends the life of a queue.
                guard let chain = try queue.pop() else { continue }
                expected.check(chain, queue.segments, memory)
                taken.append(chain)
                expect(taken.count <= Int(layout.size), "no more chains are in flight than the queue is long")
            case 2:
                guard let chain = taken.popLast() else { continue }
                queue.push(chain.head, length: input.number())
            case 3: _ = queue.needsNotification()
            case 4: queue.disableNotifications()
            default: _ = queue.enableNotifications()
            }
            expect(queue.inFlightCount == taken.count, "the queue knows what is in flight")
        }
    }

    @Sendable private static func splitQueueSeeds() -> [(name: String, bytes: [UInt8])] {
        func seed(_ features: UInt8, _ patches: [[UInt8]], _ steps: [UInt8]) -> [UInt8] {
            [features] + little(QueueSeed.size, 4) + little(QueueSeed.descriptors, 8) + little(QueueSeed.available, 8)
                + little(QueueSeed.used, 8) + [0, 0, 0, 0] + patches.flatMap { [0] + $0 } + steps
        }
        let all: [UInt8] = [4, 1, 2, 16, 0, 0, 0, 3, 5, 1]
        return [
            (
                "chain",
                seed(0, QueueSeed.chain([(0x2000, 16), (0x3000, 512), (0x4000, 1)], readable: 1) + [QueueSeed.offer([0])], all)
            ),
            (
                "indirect",
                seed(
                    3,
                    QueueSeed.table([.init(address: 0x5000, length: 32, flags: QueueSeed.indirect)])
                        + QueueSeed.chain([(0x2000, 16), (FuzzMemory.highBase, 513)], readable: 1, at: 0x5000)
                        + [QueueSeed.offer([0])], all)
            ),
            (
                "empty-descriptors",
                seed(
                    0, QueueSeed.chain([(0x2000, 0), (0x3000, 8), (0, 0), (0x4000, 1)], readable: 2) + [QueueSeed.offer([0])], all
                )
            ),
            (
                "loop",
                seed(
                    0,
                    QueueSeed.table([.init(address: 0x2000, length: 16, flags: QueueSeed.next, next: 0)])
                        + [QueueSeed.offer([0])], all)
            ),
            (
                "two-in-flight",
                seed(
                    2,
                    QueueSeed.table([
                        .init(address: 0x2000, length: 1), .init(address: 0x2001, length: 1, flags: QueueSeed.write),
                    ])
                        + [QueueSeed.offer([0, 1])], [1, 1, 2, 0, 0, 0, 0, 3, 2, 1, 0, 0, 0, 3])
            ),
        ]
    }
}

/// The driver's and the specification's view of a queue: no shortcut, no scratch, nothing kept.
private struct QueueReader {
    struct Part {
        let address: UInt64
        let length: UInt32
        let isWritable: Bool
    }

    /// What a chain is to be taken for; nil for one that breaks the rules.
    struct Expectation {
        let head: UInt16
        let parts: [Part]?

        func check(_ chain: DescriptorChain, _ segments: Span<GuestBuffer>, _ memory: GuestMemory) {
            guard let parts else { return expect(false, "a chain that breaks the rules is refused") }
            let present = parts.filter { $0.length > 0 }
            expect(chain.head == head, "a chain is named by its first descriptor")
            expect(chain.segmentCount == present.count, "a segment for each descriptor with bytes")
            expect(chain.writableCount == present.count { $0.isWritable }, "as many writable segments as descriptors")
            expect(
                chain.readableLength == present.reduce(0) { $0 + ($1.isWritable ? 0 : Int($1.length)) },
                "the readable bytes are all counted")
            expect(
                chain.writableLength == present.reduce(0) { $0 + ($1.isWritable ? Int($1.length) : 0) },
                "the writable bytes are all counted")
            for (index, part) in present.enumerated() {
                let buffer = memory.buffer(at: GuestAddress(part.address), count: Int(part.length))
                expect(buffer?.count == segments[index].count, "a segment is as long as its descriptor says")
                // SAFETY: pointers are compared, not followed.
                expect(unsafe buffer?.start == segments[index].start, "a segment is where its descriptor says")
            }
        }
    }

    private let memory: GuestMemory
    private let configuration: QueueConfiguration
    private let chainLimit: Int
    private let hasIndirect: Bool

    init(_ memory: GuestMemory, _ configuration: QueueConfiguration, chainLimit: Int, hasIndirect: Bool) {
        self.memory = memory
        self.configuration = configuration
        self.chainLimit = chainLimit
        self.hasIndirect = hasIndirect
    }

    /// The chain at a place of the available ring, whether it is available or not.
    func chain(at index: UInt16) -> Expectation {
        let entry = configuration.availableRing + 4 + UInt64(UInt32(index) % configuration.size) * 2
        let head = (try? memory.load(UInt16.self, at: GuestAddress(entry))) ?? .max
        return Expectation(head: head, parts: try? parts(from: head))
    }

    private struct Broken: Error {}

    private func parts(from head: UInt16) throws -> [Part] {
        var table = configuration.descriptorTable
        var count = Int(configuration.size)
        var isIndirect = false
        var next: UInt16? = head
        var parts: [Part] = []
        while let index = next {
            // An index is one of the table (2.7.5).
            guard Int(index) < count else { throw Broken() }
            let place = table + UInt64(index) * 16
            let address = try memory.load(UInt64.self, at: GuestAddress(place))
            let length = try memory.load(UInt32.self, at: GuestAddress(place + 8))
            let flags = try memory.load(UInt16.self, at: GuestAddress(place + 12))
            let hasNext = flags & QueueSeed.next != 0
            if flags & QueueSeed.indirect != 0 {
                // 2.7.5.3.1
                guard hasIndirect, !isIndirect, !hasNext, length > 0, length % 16 == 0 else { throw Broken() }
                guard memory.buffer(at: GuestAddress(address), count: Int(length)) != nil else { throw Broken() }
                guard Int(length) / 16 <= chainLimit else { throw Broken() }
                (table, count, isIndirect, next) = (address, Int(length) / 16, true, 0)
                continue
            }
            let isWritable = flags & QueueSeed.write != 0
            // Readable before writable (2.7.4.2); what has no bytes is neither.
            guard isWritable || length == 0 || !parts.contains(where: \.isWritable) else { throw Broken() }
            guard length == 0 || memory.buffer(at: GuestAddress(address), count: Int(length)) != nil else { throw Broken() }
            parts.append(Part(address: address, length: length, isWritable: isWritable))
            // No loops (2.7.5.2); descriptors with and without bytes are counted apart.
            guard parts.count(where: { $0.length > 0 }) <= chainLimit, parts.count(where: { $0.length == 0 }) <= chainLimit
            else { throw Broken() }
            next = hasNext ? try memory.load(UInt16.self, at: GuestAddress(place + 14)) : nil
        }
        guard parts.reduce(UInt64(0), { $0 + UInt64($1.length) }) <= UInt32.max else { throw Broken() }
        return parts
    }
}
