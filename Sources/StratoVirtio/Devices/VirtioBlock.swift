package import StratoDisk
package import StratoHost
package import StratoMemory
internal import Synchronization

/// A block device (virtio 1.2, 5.2) in front of a disk image.
///
/// Each queue has a lock, a kick, and requests to the image of its own; the event loop it is given serves all of them.
/// Who holds a queue's lock may wait for the image's engine, which never takes it.
package final class VirtioBlock: VirtioDevice {
    /// What a block device is made from.
    package struct Options: Sendable {
        /// What the device is called in errors and the log.
        package var name: String

        /// What the guest reads as the disk's serial number; cut to 20 bytes of UTF-8.
        package var serial: String

        /// Queues, 1...32.
        package var queueCount: Int

        /// The most entries of each queue: a power of two, 2...1024.
        package var queueSize: UInt16

        /// Requests a second at most, of all queues together, 1...1 000 000; nil for no limit.
        package var requestsPerSecond: Int?

        package init(
            name: String, serial: String = "", queueCount: Int = 1, queueSize: UInt16 = 256, requestsPerSecond: Int? = nil
        ) {
            self.name = name
            self.serial = serial
            self.queueCount = queueCount
            self.queueSize = queueSize
            self.requestsPerSecond = requestsPerSecond
        }
    }

    /// Threads that serve a disk at most, whatever its queues.
    private static let threadLimit = 10

    package let name: String
    package let type = VirtioDeviceType.block
    package let offeredFeatures: VirtioFeatures
    package let queueMaximumSizes: [UInt16]
    package let kicks: [EventDescriptor]

    /// The image, which lives as long as the device at least.
    package let image: DiskImage

    private let configuration: [UInt8]
    private let isWriteback = Atomic(true)
    private let queues: [BlockQueue]
    private let loop: EventLoop
    private let registrations: Mutex<[EventLoop.Registration]>

    /// - Parameters:
    ///   - options: checked here once more.
    ///   - image: what the disk holds.
    ///   - loop: whose thread serves the device.
    ///   - logger: told of refusals and of errors of the image, at a limited rate.
    /// - Throws: `VirtioError`.
    package init(_ options: Options, image: DiskImage, loop: EventLoop, logger: Logger) throws(VirtioError) {
        guard (1...32).contains(options.queueCount) else {
            throw VirtioError("\(options.name): num-queues=\(options.queueCount) is not in 1...32")
        }
        let size = options.queueSize
        guard (2...1024).contains(size), size & (size - 1) == 0 else {
            throw VirtioError("\(options.name): queue-size=\(size) is not a power of two in 2...1024")
        }
        name = options.name
        self.image = image
        self.loop = loop
        queueMaximumSizes = Array(repeating: size, count: options.queueCount)
        var features: VirtioFeatures = [
            .version1, .indirectDescriptors, .eventIndex, .blockSegmentMaximum, .blockSize, .blockFlush, .blockTopology,
        ]
        if image.options.isReadOnly {
            features.insert(.blockReadOnly)
        } else {
            features.formUnion([.blockConfigurableCache, .blockWriteZeroes])
            if image.options.passesDiscards { features.insert(.blockDiscard) }
        }
        if options.queueCount > 1 { features.insert(.blockMultiQueue) }
        offeredFeatures = features
        configuration = VirtioBlock.makeConfiguration(options, image)
        let shared = BlockQueue.Shared(
            image: image, serial: VirtioBlock.serialBytes(options.serial),
            limiter: LogLimiter(source: "disk \(options.name)", logger: logger),
            bucket: options.requestsPerSecond.map { LeakyBucket(rate: $0) })
        var queues: [BlockQueue] = []
        var registrations: [EventLoop.Registration] = []
        do {
            for index in 0..<options.queueCount {
                let disk = try image.makeQueue(
                    depth: Int(size), threadLimit: max(1, VirtioBlock.threadLimit / options.queueCount), logger: logger)
                let kick = try EventDescriptor()
                let queue = BlockQueue(
                    index: index, kick: kick, disk: disk, shared: shared,
                    noteRound: { [loop] count in loop.noteRound(serving: count) },
                    kickLater: { [loop] milliseconds in loop.schedule(afterMilliseconds: milliseconds) { kick.signal() } })
                queues.append(queue)
                registrations.append(
                    try loop.register(queue.kick.number, for: .readable) { _ in
                        queue.kick.consume()
                        queue.process()
                    })
                if let event = disk.completionEvent {
                    registrations.append(
                        try loop.register(event.number, for: .readable) { _ in queue.complete() })
                }
            }
        } catch {
            for registration in registrations { loop.unregister(registration) }
            for queue in queues { queue.close() }
            throw VirtioError("\(options.name): \(error)")
        }
        self.queues = queues
        kicks = queues.map(\.kick)
        self.registrations = Mutex(registrations)
    }

    deinit {
        shutDown()
    }

    private static func serialBytes(_ serial: String) -> [UInt8] {
        // Padded with zeros; without a terminator where all bytes are used (virtio 1.2, 5.2.6).
        var bytes = Array(serial.utf8.prefix(BlockProtocol.identifierSize))
        bytes.append(contentsOf: Array(repeating: 0, count: BlockProtocol.identifierSize - bytes.count))
        return bytes
    }

    // MARK: Configuration space

    private static func makeConfiguration(_ options: Options, _ image: DiskImage) -> [UInt8] {
        typealias Field = BlockProtocol.Configuration
        var bytes = [UInt8](repeating: 0, count: Field.size)
        func put<T: FixedWidthInteger>(_ value: T, at offset: Int) {
            for index in 0..<(T.bitWidth / 8) {
                bytes[offset + index] = UInt8(truncatingIfNeeded: value >> (index * 8))
            }
        }
        put(image.capacity / DiskImage.sectorSize, at: Field.capacity)
        // A chain holds the segments, the header and the status.
        put(UInt32(max(1, Int(options.queueSize) - 2)), at: Field.segmentMaximum)
        put(UInt32(BlockProtocol.sectorSize), at: Field.blockSize)
        let sectorsPerBlock = image.physicalBlockSize / BlockProtocol.sectorSize
        put(UInt8(clamping: sectorsPerBlock.trailingZeroBitCount), at: Field.physicalBlockExponent)
        put(UInt16(clamping: sectorsPerBlock), at: Field.minimumIOSize)
        put(UInt16(clamping: options.queueCount), at: Field.queueCount)
        guard !image.options.isReadOnly else { return bytes }
        if image.options.passesDiscards {
            put(BlockProtocol.maximumRangeSectors, at: Field.discardSectorMaximum)
            put(UInt32(BlockProtocol.maximumRanges), at: Field.discardSegmentMaximum)
            put(UInt32(clamping: sectorsPerBlock), at: Field.discardAlignment)
        }
        put(BlockProtocol.maximumRangeSectors, at: Field.zeroesSectorMaximum)
        put(UInt32(BlockProtocol.maximumRanges), at: Field.zeroesSegmentMaximum)
        put(UInt8(image.options.passesDiscards ? 1 : 0), at: Field.zeroesMayUnmap)
        return bytes
    }

    /// The capacity never changes, and all else is the driver's own doing.
    package var configurationGeneration: UInt32 { 0 }

    package func readConfiguration(at offset: Int, width: Int) -> UInt64 {
        var value: UInt64 = 0
        for index in 0..<min(max(width, 0), 8) {
            let (position, overflow) = offset.addingReportingOverflow(index)
            guard !overflow, configuration.indices.contains(position) else { break }
            var byte = configuration[position]
            if position == BlockProtocol.Configuration.writeback {
                byte = isWriteback.load(ordering: .relaxed) ? 1 : 0
            }
            value |= UInt64(byte) &<< UInt64(index &* 8)
        }
        return value
    }

    package func writeConfiguration(_ value: UInt64, at offset: Int, width: Int) {
        // The cache mode is all that a driver may write (virtio 1.2, 5.2.4), as a byte.
        guard offset == BlockProtocol.Configuration.writeback, width == 1, !image.options.isReadOnly else { return }
        isWriteback.store(value & 1 != 0, ordering: .relaxed)
        for queue in queues { queue.setWriteback(value & 1 != 0) }
    }

    // MARK: Life cycle

    package func prepare(for memory: GuestMemory) {
        for queue in queues { queue.prepare(for: memory) }
    }

    package func activate(_ activation: VirtioActivation) throws(VirtioError) {
        guard activation.queues.count == queues.count else {
            throw VirtioError("\(name): \(activation.queues.count) queues for a device of \(queues.count)")
        }
        let isWriteback = isWriteback.load(ordering: .relaxed)
        for (queue, given) in zip(queues, activation.queues) {
            guard let given else { continue }
            queue.activate(given, activation, isWriteback: isWriteback)
        }
    }

    package func stopQueue(_ index: Int) {
        guard queues.indices.contains(index) else { return }
        queues[index].deactivate()
    }

    package func reset() {
        BlockQueue.deactivate(queues)
        isWriteback.store(true, ordering: .relaxed)
    }

    package func pause() {
        BlockQueue.pause(queues)
    }

    package func resume() {
        for queue in queues { queue.resume() }
    }

    package func shutDown() {
        let ending = registrations.withLock { registrations in
            defer { registrations.removeAll() }
            return registrations
        }
        // Before any lock of a queue is taken: a handler that runs now holds one.
        for registration in ending { loop.unregister(registration) }
        BlockQueue.deactivate(queues)
        for queue in queues { queue.close() }
    }

    // MARK: State

    package var queuePositions: [QueuePosition?] { queues.map(\.position) }

    private static let stateVersion: UInt32 = 1

    package func saveState() -> [UInt8] {
        var encoder = StateEncoder(version: VirtioBlock.stateVersion)
        encoder.put(isWriteback.load(ordering: .relaxed))
        return encoder.bytes
    }

    package func restoreState(_ bytes: [UInt8]) throws(VirtioError) {
        do throws(StateError) {
            var decoder = try StateDecoder(bytes, versions: VirtioBlock.stateVersion...VirtioBlock.stateVersion)
            let isWriteback: Bool = try decoder.take("cache mode")
            try decoder.finish()
            self.isWriteback.store(isWriteback, ordering: .relaxed)
        } catch {
            throw VirtioError("\(name): \(error)")
        }
    }
}
