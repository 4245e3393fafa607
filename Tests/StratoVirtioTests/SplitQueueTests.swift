import StratoMemory
import Testing

@testable import StratoVirtio

private let allFeatures: VirtioFeatures = [.version1, .indirectDescriptors, .eventIndex]
private let noFeatures: VirtioFeatures = [.version1]

/// A device's view of a queue, copied out so that it can be compared.
private struct Taken: Equatable {
    var head: UInt16
    var readable: [Int]
    var writable: [Int]
}

extension SplitQueue {
    fileprivate mutating func take() throws(QueueError) -> Taken? {
        guard let chain = try pop() else { return nil }
        let counts = (0..<chain.segmentCount).map { segments[$0].count }
        return Taken(
            head: chain.head, readable: Array(counts.prefix(chain.readableCount)),
            writable: Array(counts.dropFirst(chain.readableCount)))
    }

    fileprivate mutating func takeHead() throws -> UInt16 {
        let chain = try pop()
        return try #require(chain).head
    }

    // Expectations copy what they look at, which a queue does not allow.

    fileprivate mutating func expect(
        _ expected: Taken?, _ location: Testing.SourceLocation = #_sourceLocation
    ) throws {
        let taken = try take()
        #expect(taken == expected, sourceLocation: location)
    }

    fileprivate mutating func expect(
        error expected: QueueError, _ location: Testing.SourceLocation = #_sourceLocation
    ) {
        do throws(QueueError) {
            let taken = try take()
            Issue.record("took \(String(describing: taken))", sourceLocation: location)
        } catch {
            #expect(error == expected, sourceLocation: location)
        }
    }

    fileprivate mutating func expectNotification(
        _ expected: Bool, _ location: Testing.SourceLocation = #_sourceLocation
    ) {
        let isNeeded = needsNotification()
        #expect(isNeeded == expected, sourceLocation: location)
    }

    fileprivate mutating func expectMore(_ expected: Bool, _ location: Testing.SourceLocation = #_sourceLocation) {
        let hasMore = enableNotifications()
        #expect(hasMore == expected, sourceLocation: location)
    }

    fileprivate func expectInFlight(_ expected: Int, _ location: Testing.SourceLocation = #_sourceLocation) {
        let count = inFlightCount
        #expect(count == expected, sourceLocation: location)
    }

    fileprivate func expectPosition(_ expected: QueuePosition, _ location: Testing.SourceLocation = #_sourceLocation) {
        let position = position
        #expect(position == expected, sourceLocation: location)
    }

    fileprivate func segment(_ index: Int) -> GuestBuffer { segments[index] }
}

@Suite("Split queue")
struct SplitQueueTests {
    @Test("chains come in order, with readable segments first, and are given back with their lengths")
    func roundTrip() throws {
        let guest = try Guest()
        var driver = DriverQueue(guest.memory, size: 8)
        var queue = SplitQueue(try driver.layout(), memory: guest.memory, features: noFeatures)
        try queue.expect(nil)
        try guest.memory.write(Array("hello, device".utf8), at: GuestAddress(0x8000))
        try driver.offer([.readable(0x8000, 13), .readable(Guest.highBase, 5), .writable(0x9000, 512), .writable(0xA000, 1)])
        try driver.offer([.writable(0xB000, 7)])
        let taken = try queue.pop()
        let chain = try #require(taken)
        #expect(chain.head == 0)
        #expect(chain.readableCount == 2)
        #expect(chain.writableCount == 2)
        #expect(chain.readableLength == 18)
        #expect(chain.writableLength == 513)
        let part0 = queue.segment(0)
        #expect(part0.bytes() == Array("hello, device".utf8))
        queue.segments[2].fill(0x5A)
        #expect(try guest.memory.read(512, at: GuestAddress(0x9000)).allSatisfy { $0 == 0x5A })
        try queue.expect(Taken(head: 4, readable: [], writable: [7]))
        try queue.expect(nil)
        queue.expectInFlight(2)
        queue.push(4, length: 7)
        queue.push(0, length: 513)
        queue.expectInFlight(0)
        let used = try driver.takeUsed()
        #expect(used.map(\.head) == [4, 0])
        #expect(used.map(\.length) == [7, 513])
    }

    @Test("indices run through 65535 to 0, for every queue size", arguments: [1, 2, 4, 256] as [UInt16])
    func wrapAround(size: UInt16) throws {
        let guest = try Guest()
        var driver = DriverQueue(guest.memory, size: size)
        try driver.start(at: 65530)
        var queue = SplitQueue(
            try driver.layout(), memory: guest.memory, features: allFeatures,
            position: QueuePosition(nextAvailable: 65530, nextUsed: 65530))
        for round in 0..<20 {
            let head = try driver.offer([.writable(0x9000, UInt32(round + 1))])
            try queue.expect(Taken(head: head, readable: [], writable: [round + 1]))
            try queue.expect(nil)
            queue.push(head, length: UInt32(round))
            let used = try driver.takeUsed()
            #expect(used.map(\.head) == [UInt32(head)])
            #expect(used.map(\.length) == [UInt32(round)])
        }
        queue.expectPosition(QueuePosition(nextAvailable: 14, nextUsed: 14))
    }

    @Test("an indirect table is walked, also behind descriptors of the chain itself")
    func indirect() throws {
        let guest = try Guest()
        var driver = DriverQueue(guest.memory, size: 4)
        var queue = SplitQueue(try driver.layout(maximumSize: 64), memory: guest.memory, features: allFeatures)
        // Longer than the queue, which a table may be.
        let parts = (0..<10).map { Part(address: 0x9000, length: UInt32($0 + 1), isWritable: $0 >= 4) }
        try driver.offerIndirect(parts, table: 0x20000)
        try queue.expect(Taken(head: 0, readable: [1, 2, 3, 4], writable: [5, 6, 7, 8, 9, 10]))
        // The write flag of the descriptor that refers to the table means nothing (virtio 1.2, 2.7.5.3.2).
        try driver.setDescriptor(1, 0x8000, 16, DriverQueue.next, next: 2)
        try driver.setDescriptor(2, 0x20000, 160, DriverQueue.indirect | DriverQueue.write)
        try driver.offer(1)
        try queue.expect(Taken(head: 1, readable: [16, 1, 2, 3, 4], writable: [5, 6, 7, 8, 9, 10]))
    }

    @Test("descriptors of no bytes are left out, wherever they point")
    func empty() throws {
        let guest = try Guest()
        var driver = DriverQueue(guest.memory, size: 8)
        var queue = SplitQueue(try driver.layout(), memory: guest.memory, features: noFeatures)
        try driver.offer([.readable(.max, 0), .readable(0x9000, 4), .writable(1 << 40, 0), .writable(0xA000, 2)])
        try queue.expect(Taken(head: 0, readable: [4], writable: [2]))
        try driver.offer([.readable(0, 0)])
        try queue.expect(Taken(head: 4, readable: [], writable: []))
    }

    @Test(
        "CVE-2019-18960: a buffer may end exactly where memory does, and not a byte further",
        arguments: [Guest.lowEnd, Guest.highEnd])
    func exactEnd(end: UInt64) throws {
        let guest = try Guest()
        var driver = DriverQueue(guest.memory, size: 8)
        var queue = SplitQueue(try driver.layout(), memory: guest.memory, features: noFeatures)
        try driver.offer([.writable(end - 512, 512)])
        try queue.expect(Taken(head: 0, readable: [], writable: [512]))
        try driver.offer([.writable(end - 1, 1)])
        try queue.expect(Taken(head: 1, readable: [], writable: [1]))
        try driver.offer([.writable(end - 512, 513)])
        queue.expect(error: QueueError.notMemory(address: end - 512, length: 513))
    }

    /// A chain that no driver may offer, and what is said about it.
    struct Hostile: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var features: VirtioFeatures = allFeatures
        var error: QueueError
        var prepare: @Sendable (inout DriverQueue) throws -> Void
    }

    static let hostile: [Hostile] = [
        Hostile(testDescription: "loop of one", error: .chainTooLong) { driver in
            try driver.setDescriptor(0, 0x9000, 1, DriverQueue.next, next: 0)
            try driver.offer(0)
        },
        Hostile(testDescription: "loop of three", error: .chainTooLong) { driver in
            for index in 0..<3 as Range<UInt16> {
                try driver.setDescriptor(index, 0x9000, 1, DriverQueue.next, next: (index + 1) % 3)
            }
            try driver.offer(0)
        },
        Hostile(testDescription: "loop of descriptors without bytes", error: .chainTooLong) { driver in
            try driver.setDescriptor(0, 0, 0, DriverQueue.next, next: 0)
            try driver.offer(0)
        },
        Hostile(testDescription: "head outside of the table", error: .indexOutOfTable(8)) { try $0.offer(8) },
        Hostile(testDescription: "head far outside", error: .indexOutOfTable(65535)) { try $0.offer(65535) },
        Hostile(testDescription: "next outside of the table", error: .indexOutOfTable(8)) { driver in
            try driver.setDescriptor(0, 0x9000, 1, DriverQueue.next, next: 8)
            try driver.offer(0)
        },
        Hostile(testDescription: "in the gap", error: .notMemory(address: 0x8000_0000, length: 16)) {
            try $0.offer([.readable(0x8000_0000, 16)])
        },
        Hostile(testDescription: "on a device's registers", error: .notMemory(address: 0xF010_0050, length: 4)) {
            try $0.offer([.writable(0xF010_0050, 4)])
        },
        Hostile(testDescription: "one byte before the gap's end", error: .notMemory(address: 0xFFFF_FFFF, length: 2)) {
            try $0.offer([.readable(0xFFFF_FFFF, 2)])
        },
        Hostile(testDescription: "across the gap", error: .notMemory(address: 0xFFFF0, length: 0xFFFF_FFFF)) {
            try $0.offer([.readable(0xFFFF0, 0xFFFF_FFFF)])
        },
        Hostile(testDescription: "around 2^64", error: .notMemory(address: .max - 7, length: 16)) {
            try $0.offer([.writable(.max - 7, 16)])
        },
        Hostile(testDescription: "at 2^64 - 1", error: .notMemory(address: .max, length: 1)) {
            try $0.offer([.writable(.max, 1)])
        },
        Hostile(testDescription: "longest length", error: .notMemory(address: 0x9000, length: .max)) {
            try $0.offer([.writable(0x9000, .max)])
        },
        Hostile(testDescription: "readable after writable", error: .readableAfterWritable) {
            try $0.offer([.writable(0x9000, 1), .readable(0xA000, 1)])
        },
        Hostile(testDescription: "indirect without the feature", features: noFeatures, error: .indirectNotNegotiated) {
            try $0.offerIndirect([.writable(0x9000, 1)], table: 0x20000)
        },
        Hostile(testDescription: "indirect in indirect", error: .nestedIndirect) { driver in
            try driver.setDescriptor(0, 0x20000, 16, DriverQueue.indirect)
            try driver.setDescriptor(0, 0x20000, 16, DriverQueue.indirect, table: 0x20000)
            try driver.offer(0)
        },
        Hostile(testDescription: "indirect with next", error: .indirectWithNext) { driver in
            try driver.setDescriptor(0, 0x20000, 16, DriverQueue.indirect | DriverQueue.next, next: 1)
            try driver.offer(0)
        },
        Hostile(testDescription: "indirect table of no bytes", error: .indirectTableLength(0)) { driver in
            try driver.setDescriptor(0, 0x20000, 0, DriverQueue.indirect)
            try driver.offer(0)
        },
        Hostile(testDescription: "indirect table of half a descriptor more", error: .indirectTableLength(24)) { driver in
            try driver.setDescriptor(0, 0x20000, 24, DriverQueue.indirect)
            try driver.offer(0)
        },
        Hostile(testDescription: "indirect table longer than the queue", error: .chainTooLong) { driver in
            try driver.setDescriptor(0, 0x20000, 9 * 16, DriverQueue.indirect)
            try driver.offer(0)
        },
        Hostile(testDescription: "indirect table of 4 GiB", error: .chainTooLong) { driver in
            try driver.setDescriptor(0, 0x20000, 0xFFFF_FFF0, DriverQueue.indirect)
            try driver.offer(0)
        },
        Hostile(testDescription: "indirect table past the end", error: .notMemory(address: 0xFFFF0, length: 32)) { driver in
            try driver.setDescriptor(0, 0xFFFF0, 32, DriverQueue.indirect)
            try driver.offer(0)
        },
        Hostile(testDescription: "indirect table that loops", error: .chainTooLong) { driver in
            try driver.setDescriptor(0, 0x20000, 32, DriverQueue.indirect)
            try driver.setDescriptor(0, 0x9000, 1, DriverQueue.next, next: 1, table: 0x20000)
            try driver.setDescriptor(1, 0x9000, 1, DriverQueue.next, next: 0, table: 0x20000)
            try driver.offer(0)
        },
        Hostile(testDescription: "next outside of the indirect table", error: .indexOutOfTable(2)) { driver in
            try driver.setDescriptor(0, 0x20000, 32, DriverQueue.indirect)
            try driver.setDescriptor(0, 0x9000, 1, DriverQueue.next, next: 2, table: 0x20000)
            try driver.offer(0)
        },
        Hostile(testDescription: "available index one too far", error: .availableIndexJumped(by: 9)) {
            try $0.setAvailableIndex(9)
        },
        Hostile(testDescription: "available index backwards", error: .availableIndexJumped(by: 65535)) {
            try $0.setAvailableIndex(65535)
        },
    ]

    @Test("CVE-2011-2212: a hostile chain is an error that says what is wrong", arguments: hostile)
    func hostileChain(_ hostile: Hostile) throws {
        let guest = try Guest()
        var driver = DriverQueue(guest.memory, size: 8)
        var queue = SplitQueue(try driver.layout(), memory: guest.memory, features: hostile.features)
        try hostile.prepare(&driver)
        queue.expect(error: hostile.error)
        #expect(!hostile.error.description.isEmpty)
        #expect(try driver.usedIndex == 0)
    }

    @Test("the available index may be as far ahead as the queue is long")
    func fullQueue() throws {
        let guest = try Guest()
        var driver = DriverQueue(guest.memory, size: 8)
        var queue = SplitQueue(try driver.layout(), memory: guest.memory, features: noFeatures)
        for _ in 0..<8 { try driver.offer([.writable(0x9000, 1)]) }
        for head in 0..<8 as Range<UInt16> {
            try queue.expect(Taken(head: head, readable: [], writable: [1]))
        }
        try queue.expect(nil)
        queue.expectInFlight(8)
    }

    @Test("chains offered again before they were given back are never more than the queue is long")
    func tooManyInFlight() throws {
        let guest = try Guest()
        var driver = DriverQueue(guest.memory, size: 4)
        var queue = SplitQueue(try driver.layout(), memory: guest.memory, features: noFeatures)
        for _ in 0..<4 {
            try driver.offer([.writable(0x9000, 1)])
            _ = try queue.take()
        }
        try driver.offer(0)
        queue.expect(error: QueueError.tooManyInFlight)
        queue.push(3, length: 0)
        try queue.expect(Taken(head: 0, readable: [], writable: [1]))
    }

    @Test("Firecracker #5762: a chain of 4 GiB or more is refused, however often it names the same memory")
    func tooLarge() throws {
        let guest = try Guest()
        var driver = DriverQueue(guest.memory, size: 8192, base: Guest.highBase)
        var queue = SplitQueue(try driver.layout(), memory: guest.memory, features: noFeatures)
        let parts = Array(repeating: Part.readable(0, 1 << 20), count: 4096)
        try driver.offer(Array(parts.dropLast()) + [.readable(0, (1 << 20) - 1)])
        let chain = try queue.pop()
        #expect(chain?.readableLength == Int(UInt32.max))
        try driver.offer(parts)
        queue.expect(error: QueueError.chainTooLarge)
    }

    @Test("what the driver changes after a chain was taken changes nothing")
    func changeAfterPop() throws {
        let guest = try Guest()
        var driver = DriverQueue(guest.memory, size: 8)
        var queue = SplitQueue(try driver.layout(), memory: guest.memory, features: allFeatures)
        try driver.offer([.readable(0x8000, 16), .writable(0x9000, 512)])
        let taken = try queue.pop()
        let chain = try #require(taken)
        for index in 0..<8 as Range<UInt16> {
            try driver.setDescriptor(index, .max, .max, 0xFFFF, next: 0xFFFF)
        }
        queue.segments[1].fill(7)
        let part0 = queue.segment(0)
        #expect(part0.count == 16)
        let part1 = queue.segment(1)
        #expect(part1.count == 512)
        #expect(try guest.memory.read(512, at: GuestAddress(0x9000)).allSatisfy { $0 == 7 })
        queue.push(chain.head, length: 512)
        #expect(try driver.takeUsed().count == 1)
    }

    // MARK: Notifications

    @Test("without an event index: one notification per batch, none where the driver wants none")
    func plainNotifications() throws {
        let guest = try Guest()
        var driver = DriverQueue(guest.memory, size: 8)
        var queue = SplitQueue(try driver.layout(), memory: guest.memory, features: noFeatures)
        func give(_ count: Int) throws {
            for _ in 0..<count {
                try driver.offer([.writable(0x9000, 1)])
                let head = try queue.takeHead()
                queue.push(head, length: 0)
            }
        }
        queue.expectNotification(false)
        try give(3)
        queue.expectNotification(true)
        queue.expectNotification(false)
        try driver.setAvailableFlags(1)
        try give(1)
        queue.expectNotification(false)
        try driver.setAvailableFlags(0xFFFE)
        try give(1)
        queue.expectNotification(true)
    }

    @Test("with an event index: a notification exactly when the index named is passed")
    func eventIndex() throws {
        let guest = try Guest()
        for start in [0, 65533] as [UInt16] {
            for event in 0..<8 as Range<UInt16> {
                for batch in 1...8 {
                    var driver = DriverQueue(guest.memory, size: 8)
                    try driver.start(at: start)
                    var queue = SplitQueue(
                        try driver.layout(), memory: guest.memory, features: allFeatures,
                        position: QueuePosition(nextAvailable: start, nextUsed: start))
                    try driver.setUsedEvent(start &+ event)
                    for _ in 0..<batch {
                        try driver.offer([.writable(0x9000, 1)])
                        let head = try queue.takeHead()
                        queue.push(head, length: 0)
                    }
                    // The entry that the driver named is among those given back.
                    queue.expectNotification(Int(event) < batch)
                }
            }
        }
    }

    @Test("the driver is asked for notifications, and a chain offered meanwhile is not missed", arguments: [true, false])
    func wakeUps(hasEventIndex: Bool) throws {
        let guest = try Guest()
        var driver = DriverQueue(guest.memory, size: 8)
        var queue = SplitQueue(
            try driver.layout(), memory: guest.memory, features: hasEventIndex ? allFeatures : noFeatures)
        queue.disableNotifications()
        if !hasEventIndex { #expect(try driver.usedFlags == 1) }
        try driver.offer([.writable(0x9000, 1)])
        queue.expectMore(true)
        _ = try queue.take()
        queue.expectMore(false)
        #expect(try driver.usedFlags == 0)
        if hasEventIndex { #expect(try driver.availableEvent == 1) }
    }

    // MARK: Layout

    @Test(
        "a queue that is not wholly in memory, misaligned or of a wrong size is refused",
        arguments: [
            (QueueConfiguration(size: 0, descriptorTable: 0x1000, availableRing: 0x2000, usedRing: 0x3000), "power of two"),
            (QueueConfiguration(size: 3, descriptorTable: 0x1000, availableRing: 0x2000, usedRing: 0x3000), "power of two"),
            (QueueConfiguration(size: .max, descriptorTable: 0x1000, availableRing: 0x2000, usedRing: 0x3000), "power of two"),
            (QueueConfiguration(size: 65536, descriptorTable: 0x1000, availableRing: 0, usedRing: 0x3000), "power of two"),
            (QueueConfiguration(size: 512, descriptorTable: 0x1000, availableRing: 0x4000, usedRing: 0x5000), "more than"),
            (QueueConfiguration(size: 256, descriptorTable: 0x1008, availableRing: 0x4000, usedRing: 0x5000), "aligned to 16"),
            (QueueConfiguration(size: 256, descriptorTable: 0x1000, availableRing: 0x4001, usedRing: 0x5000), "aligned to 2"),
            (QueueConfiguration(size: 256, descriptorTable: 0x1000, availableRing: 0x4000, usedRing: 0x5002), "aligned to 4"),
            (QueueConfiguration(size: 256, descriptorTable: 0xFF010, availableRing: 0x4000, usedRing: 0x5000), "not in guest"),
            (QueueConfiguration(size: 256, descriptorTable: 0x1000, availableRing: 0xFFDFC, usedRing: 0x5000), "not in guest"),
            (QueueConfiguration(size: 256, descriptorTable: 0x1000, availableRing: 0x4000, usedRing: 0xFF7FC), "not in guest"),
            (QueueConfiguration(size: 256, descriptorTable: .max - 15, availableRing: 0x4000, usedRing: 0x5000), "not in guest"),
            (QueueConfiguration(size: 1, descriptorTable: 0x1000, availableRing: .max - 1, usedRing: 0x5000), "not in guest"),
            (QueueConfiguration(size: 1, descriptorTable: 0x8000_0000, availableRing: 0, usedRing: 0x5000), "not in guest"),
        ])
    func layout(_ configuration: QueueConfiguration, _ words: String) throws {
        let guest = try Guest()
        let error = #expect(throws: QueueConfigurationError.self) {
            try QueueLayout(configuration, maximumSize: 256, in: guest.memory)
        }
        #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
    }

    @Test("rings may end exactly where memory does")
    func layoutAtTheEnd() throws {
        let guest = try Guest()
        for (descriptors, available, used) in [
            (Guest.lowEnd - 4096, 0x4000, 0x5000), (0x1000, Guest.lowEnd - 518, 0x5000),
            (0x1000, 0x4000, Guest.lowEnd - 2056), (Guest.highEnd - 4096, Guest.highBase, Guest.highBase + 4096),
        ] as [(UInt64, UInt64, UInt64)] {
            let configuration = QueueConfiguration(
                size: 256, descriptorTable: descriptors, availableRing: available, usedRing: used)
            #expect(throws: Never.self) { try QueueLayout(configuration, maximumSize: 256, in: guest.memory) }
        }
    }

    // MARK: Anything at all

    @Test("whatever the tables hold, a chain is an error or lies in guest memory, and taking it ends", arguments: 0..<8)
    func randomTables(seed: Int) throws {
        var random = SeededGenerator(UInt64(seed) + 1)
        let guest = try Guest()
        let size: UInt16 = [1, 4, 16, 64][seed % 4]
        var driver = DriverQueue(guest.memory, size: size)
        let features = seed % 2 == 0 ? allFeatures : noFeatures
        var errors = 0
        var chains = 0
        let addresses: [UInt64] = [
            0, 0x9000, Guest.lowEnd - 1, Guest.lowEnd, Guest.highBase, Guest.highEnd - 64, .max, .max - 15, 0x20000,
            driver.descriptorTable, driver.availableRing, driver.usedRing, 0xF010_0000,
        ]
        let lengths: [UInt32] = [0, 1, 15, 16, 32, 64, 512, 4096, 1 << 20, 0x7FFF_FFFF, .max]
        for _ in 0..<500 {
            var queue = SplitQueue(
                try driver.layout(maximumSize: 64), memory: guest.memory, features: features,
                position: QueuePosition(nextAvailable: driver.availableIndex, nextUsed: 0))
            for table in [driver.descriptorTable, 0x20000] {
                for index in 0..<max(size, 64) where table != driver.descriptorTable || index < size {
                    // Mostly sound descriptors, so that chains get long before they go wrong.
                    let isSound = UInt8.random(in: 0..<10, using: &random) > 0
                    let address = isSound ? 0x9000 : addresses.randomElement(using: &random) ?? 0
                    let length = isSound ? 16 : lengths.randomElement(using: &random) ?? 0
                    var flags = UInt16.random(in: 0...7, using: &random)
                    if isSound { flags &= 1 }
                    try driver.setDescriptor(
                        index, flags & 4 != 0 ? 0x20000 : address, length, flags,
                        next: UInt16.random(in: 0..<(size + 1), using: &random), table: table)
                }
            }
            for _ in 0..<size { try driver.offer(UInt16.random(in: 0..<(size + 1), using: &random)) }
            do throws(QueueError) {
                while let chain = try queue.pop() {
                    chains += 1
                    #expect(chain.segmentCount <= 64)
                    var total = 0
                    for index in 0..<chain.segmentCount {
                        let segment = queue.segments[index]
                        total += segment.count
                        #expect(segment.count > 0)
                        #expect(segment.load(UInt8.self, at: segment.count - 1) != nil)
                    }
                    #expect(total == chain.readableLength + chain.writableLength)
                    queue.push(chain.head, length: 0)
                }
            } catch {
                errors += 1
            }
        }
        // Neither kind of outcome was missed.
        #expect(errors > 50)
        #expect(chains > 50)
    }

    @Test("random available indices never make the device take more than there is", arguments: 0..<4)
    func randomIndices(seed: Int) throws {
        var random = SeededGenerator(UInt64(seed) + 77)
        let guest = try Guest()
        var driver = DriverQueue(guest.memory, size: 16)
        for index in 0..<16 as Range<UInt16> { try driver.setDescriptor(index, 0x9000, 16, DriverQueue.write) }
        for _ in 0..<5000 {
            let position = UInt16.random(in: 0...UInt16.max, using: &random)
            let offered = UInt16.random(in: 0...UInt16.max, using: &random)
            try driver.setAvailableIndex(Bool.random(using: &random) ? offered : position &+ offered % 20)
            var queue = SplitQueue(
                try driver.layout(), memory: guest.memory, features: allFeatures,
                position: QueuePosition(nextAvailable: position, nextUsed: position))
            var taken = 0
            do throws(QueueError) {
                while try queue.pop() != nil { taken += 1 }
                #expect(taken == Int(driver.availableIndex &- position))
            } catch {
                #expect(taken == 0)
                #expect(driver.availableIndex &- position > 16)
            }
            #expect(taken <= 16)
        }
    }
}
