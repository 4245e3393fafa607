import StratoHost
import Synchronization
import Testing

@testable import StratoMemory

/// Answers with its name and remembers the last write.
private final class TestDevice: BusDevice {
    private let name: UInt64
    private let last = Mutex<(offset: UInt64, width: Int, value: UInt64)?>(nil)

    init(_ name: UInt64) { self.name = name }

    func read(at offset: UInt64, width: Int) -> UInt64 { name << 32 | offset << 8 | UInt64(width) }
    func write(_ value: UInt64, at offset: UInt64, width: Int) { last.withLock { $0 = (offset, width, value) } }
    var lastWrite: (offset: UInt64, width: Int, value: UInt64)? { last.withLock { $0 } }
}

@Suite struct BusTests {
    @Test("An access reaches the device that covers all of it, with the offset inside, or none")
    func routing() throws {
        let bus = Bus(name: "MMIO")
        let device = TestDevice(1)
        try bus.insert(TestDevice(2), at: range(0x2000, 0x100))
        try bus.insert(device, at: range(0x1000, 0x10))
        try bus.insert(TestDevice(3), at: range(UInt64.max - 7, 8))
        #expect(bus.ranges.map(\.base.value) == [0x1000, 0x2000, UInt64.max - 7])
        var view = bus.makeView()
        let cases: [(UInt64, Int, UInt64?)] = [
            (0x1000, 1, 1 << 32 | 1), (0x1008, 8, 1 << 32 | 8 << 8 | 8), (0x1009, 8, nil), (0x100F, 1, 1 << 32 | 15 << 8 | 1),
            (0x100F, 2, nil), (0x1010, 1, nil), (0x0FFF, 1, nil), (0x0FFF, 2, nil), (0x20FC, 4, 2 << 32 | 0xFC << 8 | 4),
            (0x20FD, 4, nil), (0, 1, nil), (.max, 1, 3 << 32 | 7 << 8 | 1), (.max, 2, nil), (.max - 7, 8, 3 << 32 | 8),
            (.max - 8, 8, nil), (0x1000, 0, nil), (0x1000, 9, nil), (0x1000, -1, nil), (0x1000, .min, nil),
        ]
        for (address, width, expected) in cases {
            let value = view.read(address, width: width)
            #expect(value == expected, "at \(address), \(width) wide")
            let isWritten = view.write(5, to: address, width: width)
            #expect(isWritten == (expected != nil))
        }
        _ = view.write(0xAB, to: 0x1004, width: 2)
        #expect(device.lastWrite?.offset == 4)
        #expect(device.lastWrite?.width == 2)
        #expect(device.lastWrite?.value == 0xAB)
    }

    @Test("Ranges that meet are refused with both named, and those that touch are not")
    func conflicts() throws {
        let bus = Bus(name: "port")
        try bus.insert(TestDevice(1), at: range(0x100, 0x10))
        for (base, size) in [(0x100, 0x10), (0x0FF, 2), (0x10F, 1), (0x080, 0x1000), (0x104, 1)] as [(UInt64, UInt64)] {
            #expect(throws: BusError.self) { try bus.insert(TestDevice(2), at: try range(base, size)) }
        }
        do {
            try bus.insert(TestDevice(2), at: try range(0x10F, 2))
        } catch let error as BusError {
            #expect("\(error)" == "port range 0x10f...0x110 meets 0x100...0x10f")
        }
        try bus.insert(TestDevice(3), at: range(0x110, 1))
        try bus.insert(TestDevice(4), at: range(0x0FF, 1))
        #expect(bus.ranges.count == 3)
    }

    @Test("A view that was made before sees what was inserted and removed since")
    func changes() throws {
        let bus = Bus(name: "MMIO")
        var view = bus.makeView()
        let before = view.read(0x1000, width: 4)
        #expect(before == nil)
        try bus.insert(TestDevice(1), at: range(0x1000, 0x10))
        let inserted = view.read(0x1000, width: 4)
        #expect(inserted != nil)
        #expect(!bus.remove(try range(0x1000, 0x0F)))
        #expect(bus.remove(try range(0x1000, 0x10)))
        #expect(!bus.remove(try range(0x1000, 0x10)))
        let removed = view.read(0x1000, width: 4)
        #expect(removed == nil)
        try bus.insert(TestDevice(2), at: range(0x1000, 0x10))
        let again = view.read(0x1000, width: 4)
        #expect(again == UInt64(2 << 32 | 4))
    }

    @Test("A removed device is let go once a view has looked again")
    func removedDevice() throws {
        let bus = Bus(name: "MMIO")
        weak var removed: TestDevice?
        do {
            let device = TestDevice(1)
            removed = device
            try bus.insert(device, at: range(0x1000, 0x10))
        }
        var view = bus.makeView()
        #expect(removed != nil)
        bus.remove(try range(0x1000, 0x10))
        _ = view.read(0x1000, width: 1)
        #expect(removed == nil)
    }

    @Test("A bus agrees with a list that is searched from one end to the other")
    func againstModel() throws {
        let bus = Bus(name: "MMIO")
        var model: [(range: GuestRange, name: UInt64)] = []
        var view = bus.makeView()
        var state: UInt64 = 1
        func random(_ limit: UInt64) -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return (state >> 33) % limit
        }
        for step in UInt64(1)...5000 {
            switch random(10) {
            case 0:
                let new = try range(random(256), 1 + random(24))
                let isFree = !model.contains { $0.range.overlaps(new) }
                var isInserted = true
                do { try bus.insert(TestDevice(step), at: new) } catch { isInserted = false }
                #expect(isInserted == isFree)
                if isInserted { model.append((new, step)) }
            case 1 where !model.isEmpty:
                let victim = model.remove(at: Int(random(UInt64(model.count))))
                #expect(bus.remove(victim.range))
            default:
                let address = random(280)
                let width = Int(1 + random(8))
                let owner = model.first {
                    $0.range.contains(GuestAddress(address)) && $0.range.contains(GuestAddress(address + UInt64(width) - 1))
                }
                let expected = owner.map { $0.name << 32 | (address - $0.range.base.value) << 8 | UInt64(width) }
                let value = view.read(address, width: width)
                #expect(value == expected)
            }
        }
    }

    @Test("Views on several threads keep answering while the map changes under them")
    func concurrency() throws {
        let bus = Bus(name: "MMIO")
        try bus.insert(TestDevice(1), at: range(0x1000, 0x10))
        let isOver = Atomic(false)
        let wrong = Atomic(0)
        let readers = try (0..<2).map { index in
            try HostThread.start(name: "vcpu\(index)") {
                var view = bus.makeView()
                while !isOver.load(ordering: .acquiring) {
                    let fixed = view.read(0x1004, width: 4)
                    let moving = view.read(0x2004, width: 4)
                    if fixed != 1 << 32 | 4 << 8 | 4 { wrong.add(1, ordering: .relaxed) }
                    if let moving, moving != 2 << 32 | 4 << 8 | 4 { wrong.add(1, ordering: .relaxed) }
                }
            }
        }
        let moving = try range(0x2000, 0x10)
        for _ in 0..<2000 {
            try bus.insert(TestDevice(2), at: moving)
            bus.remove(moving)
        }
        isOver.store(true, ordering: .releasing)
        for reader in readers { reader.join() }
        #expect(wrong.load(ordering: .relaxed) == 0)
    }
}
