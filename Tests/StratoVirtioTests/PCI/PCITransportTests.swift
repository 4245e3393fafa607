import Foundation
import StratoDisk
import StratoHost
import StratoMemory
import StratoPCI
import Testing

@testable import StratoVirtio

private struct Started {
    let guest: Guest
    let device: TestDevice
    let bench: PCIBench
    let queue: DriverQueue

    init(_ placement: VirtioPCITransport.Placement = .rootBus, isRefusingDoorbells: Bool = false) throws {
        guest = try Guest()
        device = try TestDevice()
        bench = try PCIBench(device, guest: guest, placement: placement, isRefusingDoorbells: isRefusingDoorbells)
        queue = DriverQueue(guest.memory, size: 64)
        start()
    }

    func start() {
        bench.enable()
        bench.negotiate()
        bench.setUp(queue, vector: 1)
        bench.setUp(DriverQueue(guest.memory, size: 16, base: 0x10000), at: 1, vector: 2)
        bench.status = 15
    }

    var interrupt: any VirtioInterrupt {
        get throws { try #require(device.activation).interrupt }
    }

    func doorbell(_ queue: Int, at base: UInt64 = PCIBench.registers) -> TestDoorbells.Binding {
        .init(event: device.kicks[queue].number, address: base + 0x3000 + UInt64(queue) * 4, width: 2, match: nil)
    }
}

@Suite("virtio-pci: interrupts")
struct PCIInterruptTests {
    @Test("each queue and the configuration have their vector, and a vector that does not exist cannot be had")
    func vectors() throws {
        let started = try Started()
        let bench = started.bench
        bench.set(Common.msixConfig, 0, 2)
        for (value, expected) in [(2, 2), (3, 0xFFFF), (0x8000, 0xFFFF), (1, 1), (0xFFFF, 0xFFFF)] as [(UInt64, UInt64)] {
            bench.set(Common.queueMsix, value, 2)
            #expect(bench.get(Common.queueMsix, 2) == expected)
        }
        bench.set(Common.queueMsix, 2, 2)
        try bench.setMSIX(isEnabled: true)
        for vector in 0..<3 { bench.setVector(vector, data: UInt32(100 + vector)) }
        try started.interrupt.queueUsed(0)
        try started.interrupt.queueUsed(1)
        try started.interrupt.configurationChanged()
        #expect(bench.messages.take() == [101, 102, 100])
        #expect(bench.lines.allSatisfy { $0.count == 0 })
        // The configuration's reason is told by the register as well; reading clears it.
        #expect(bench.get(0x1000, 1) == 2)
        #expect(bench.get(0x1000, 1) == 0)
        // Without a vector nothing is sent.
        bench.set(Common.queueSelect, 0, 2)
        bench.set(Common.queueMsix, 0xFFFF, 2)
        try started.interrupt.queueUsed(0)
        try started.interrupt.queueUsed(77)
        #expect(bench.messages.take().isEmpty)
        // A queue that does not exist has none.
        bench.set(Common.queueSelect, 9, 2)
        bench.set(Common.queueMsix, 1, 2)
        #expect(bench.get(Common.queueMsix, 2) == 0)
    }

    @Test("a masked vector's interrupt waits for it")
    func masked() throws {
        let started = try Started()
        try started.bench.setMSIX(isEnabled: true)
        started.bench.setVector(1, data: 7, isMasked: true)
        try started.interrupt.queueUsed(0)
        #expect(started.bench.messages.take().isEmpty)
        #expect(started.bench.load(PCIBench.vectors + 0x800, 8) == 2)
        started.bench.setVector(1, data: 8)
        #expect(started.bench.messages.take() == [8])
    }

    @Test("without MSI-X the pin is asserted until the driver reads the reasons")
    func pin() throws {
        let started = try Started()
        let bench = started.bench
        let line = bench.lines[3]
        try started.interrupt.queueUsed(0)
        try started.interrupt.queueUsed(1)
        #expect(line.level && line.count == 1)
        #expect(bench.configurationGet(6, 2) & 8 != 0)
        #expect(bench.get(0x1000, 1) == 1)
        #expect(!line.level)
        #expect(bench.configurationGet(6, 2) & 8 == 0)
        try started.interrupt.configurationChanged()
        try started.interrupt.queueUsed(1)
        // Wider reads read it too, and only those that begin there.
        _ = bench.get(0xFFF, 4)
        #expect(line.level)
        #expect(bench.get(0x1000, 4) == 3)
        #expect(!line.level && line.count == 2)
        // The disable bit holds it back.
        bench.configurationSet(4, 0x406, 2)
        try started.interrupt.queueUsed(0)
        #expect(!line.level)
        bench.configurationSet(4, 6, 2)
        #expect(line.level)
        bench.status = 0
        #expect(!line.level)
        #expect(bench.get(0x1000, 1) == 0)
        #expect(bench.messages.take().isEmpty)
    }

    @Test("no interrupt comes before DRIVER_OK, and a device that gave up says so")
    func needsReset() throws {
        let started = try Started()
        let bench = started.bench
        let interrupt = try started.interrupt
        bench.status = 0
        interrupt.configurationChanged()
        #expect(bench.lines[3].count == 0)
        started.start()
        try started.interrupt.deviceNeedsReset()
        #expect(bench.status == 15 | 64)
        #expect(bench.get(0x1000, 1) == 2)
        bench.status = 15 | 64
        #expect(bench.status == 15 | 64)
        bench.status = 0
        #expect(bench.status == 0)
        #expect(bench.get(Common.msixConfig, 2) == 0xFFFF)
    }
}

@Suite("virtio-pci: doorbells")
struct PCIDoorbellTests {
    @Test("doorbells are bound when the device starts, at the address where the guest has the registers")
    func binding() throws {
        let started = try Started()
        #expect(started.bench.doorbells.bindings == [started.doorbell(0), started.doorbell(1)])
        started.bench.status = 0
        #expect(started.bench.doorbells.bindings.isEmpty)
        #expect(started.bench.log.all.isEmpty)
    }

    @Test("doorbells follow the range wherever the guest moves it, and are gone while it is not decoded")
    func moving() throws {
        let started = try Started()
        let bench = started.bench
        func bindings() -> [TestDoorbells.Binding] { bench.doorbells.bindings }
        bench.configurationSet(0x18, 0xC123_4000, 4)
        #expect(bindings() == [started.doorbell(0, at: 0xC123_4000), started.doorbell(1, at: 0xC123_4000)])
        bench.configurationSet(4, 4, 2)
        #expect(bindings().isEmpty)
        bench.configurationSet(0x1C, 0x80, 4)
        bench.configurationSet(4, 6, 2)
        #expect(bindings() == [started.doorbell(0, at: 0x80_C123_4000), started.doorbell(1, at: 0x80_C123_4000)])
        // Outside of every aperture.
        bench.configurationSet(0x1C, 0, 4)
        bench.configurationSet(0x18, 0x1000_0000, 4)
        #expect(bindings().isEmpty)
        // A start while the range is away binds when it comes.
        bench.configurationSet(0x18, PCIBench.registers, 8)
        bench.status = 0
        bench.negotiate()
        bench.setUp(started.queue)
        let access = try #require(bench.capabilities(0x09).last)
        bench.configurationSet(4, 4, 2)
        bench.configurationSet(access + 4, 2, 1)
        bench.configurationSet(access + 8, Common.status, 4)
        bench.configurationSet(access + 12, 1, 4)
        bench.configurationSet(access + 16, 15, 1)
        #expect(started.device.activation != nil)
        #expect(bindings().isEmpty)
        bench.configurationSet(4, 6, 2)
        #expect(bindings() == [started.doorbell(0)])
    }

    @Test("a range that is in another's way has no doorbells until it is reached")
    func hidden() throws {
        let started = try Started()
        let board = TestBoard()
        started.bench.configurationSet(4, 4, 2)
        let range = try #require(GuestRange(base: GuestAddress(PCIBench.registers + 0x100), size: 16))
        try started.bench.memory.insert(board, at: range)
        started.bench.configurationSet(4, 6, 2)
        #expect(started.bench.doorbells.bindings.isEmpty)
        started.bench.memory.remove(range)
        started.bench.configurationSet(4, 4, 2)
        started.bench.configurationSet(4, 6, 2)
        #expect(started.bench.doorbells.bindings.count == 2)
    }

    private final class TestBoard: BusDevice {
        func read(at offset: UInt64, width: Int) -> UInt64 { 0 }
        func write(_ value: UInt64, at offset: UInt64, width: Int) {}
    }

    @Test("behind a port the windows decide too")
    func windows() throws {
        let started = try Started(.port)
        #expect(started.bench.doorbells.bindings.count == 2)
        let port = PCIBench.configuration | 3 << 15
        started.bench.store(0xC000_C000, port + 0x20, 4)
        #expect(started.bench.doorbells.bindings.isEmpty)
        started.bench.store(0xC0F0_C000, port + 0x20, 4)
        #expect(started.bench.doorbells.bindings.count == 2)
    }

    @Test("without the kernel's doorbells a notification reaches the queue as a register access, of any width")
    func byRegister() throws {
        let started = try Started(isRefusingDoorbells: true)
        #expect(started.bench.log.all.contains { $0.contains("virtio-pci test") })
        started.bench.notify(0)
        started.bench.set(0x3000, 0, 4)
        started.bench.set(0x3004, 1, 1)
        #expect(started.device.kicks[0].consume() == 2)
        #expect(started.device.kicks[1].consume() == 1)
        for offset in [0x3001, 0x3002, 0x3008, 0x3FFC, 0x3FFF] as [UInt64] { started.bench.set(offset, 0, 1) }
        #expect(started.device.kicks[0].consume() == 0 && started.device.kicks[1].consume() == 0)
        started.bench.status = 0
        started.bench.notify(0)
        #expect(started.device.kicks[0].consume() == 0)
    }
}

@Suite("virtio-pci: life cycle")
struct PCILifeCycleTests {
    @Test("the device works only while the guest lets it be a bus master, and the machine goes on")
    func gate() throws {
        let started = try Started()
        let bench = started.bench
        func last() -> String? { started.device.calls.last { $0 == "pause" || $0 == "resume" } }
        #expect(last() == "resume")
        bench.configurationSet(4, 2, 2)
        #expect(last() == "pause")
        bench.transport.pause()
        bench.transport.resume()
        #expect(last() == "pause")
        bench.configurationSet(4, 6, 2)
        #expect(last() == "resume")
        bench.transport.pause()
        #expect(last() == "pause")
        bench.configurationSet(4, 2, 2)
        bench.configurationSet(4, 6, 2)
        #expect(last() == "pause")
        bench.transport.resume()
        #expect(last() == "resume")
        bench.host.reset()
        #expect(last() == "pause")
        #expect(bench.configurationGet(4, 2) == 0)
    }

    @Test("in D3hot the device does nothing and is not reached; back in D0 it goes on")
    func powerState() throws {
        let started = try Started(.port)
        let bench = started.bench
        let power = try #require(bench.capabilities(0x01).first) + 4
        bench.configurationSet(power, 3, 2)
        #expect(started.device.calls.last == "pause")
        #expect(bench.load(PCIBench.registers, 4) == nil)
        bench.configurationSet(power, 0, 2)
        #expect(started.device.calls.last == "resume")
        #expect(bench.status == 15)
    }

    @Test("a function level reset is a reset of device and registers")
    func functionReset() throws {
        let started = try Started(.port)
        let bench = started.bench
        let control = try #require(bench.capabilities(0x10).first) + 8
        // Other bits of the register do nothing of the kind.
        bench.configurationSet(control, 0x7FFF, 2)
        #expect(started.device.activation != nil)
        bench.configurationSet(control, 0xA810, 2)
        #expect(started.device.activation == nil)
        #expect(bench.configurationGet(4, 2) == 0)
        #expect(bench.configurationGet(control, 2) == 0x2810)
        #expect(bench.load(PCIBench.registers, 4) == nil)
        started.start()
        #expect(bench.status == 15)
    }

    @Test("resets of every kind give everything back, and the device starts again, hundreds of times")
    func resets() throws {
        let started = try Started(.port)
        let bench = started.bench
        for round in 0..<400 {
            try bench.setMSIX(isEnabled: true)
            for vector in 0..<3 { bench.setVector(vector, data: UInt32(vector)) }
            #expect(bench.doorbells.bindings.count == 2 && bench.messages.lines == 3)
            switch round % 4 {
            case 0: bench.status = 0
            case 1: bench.host.reset()
            case 2:
                // A reset of the bus, and a disabled link.
                bench.store(0x40, PCIBench.configuration | 3 << 15 | 0x3E, 2)
                bench.store(0, PCIBench.configuration | 3 << 15 | 0x3E, 2)
            default:
                let control = try #require(bench.capabilities(0x10).first) + 8
                bench.configurationSet(control, 0x8000, 2)
            }
            #expect(started.device.activation == nil)
            #expect(bench.doorbells.bindings.isEmpty)
            if round % 4 != 0 { #expect(bench.messages.lines == 0) }
            bench.numberPort()
            started.start()
            #expect(bench.status == 15)
        }
        #expect(bench.log.all.isEmpty)
    }

    @Test("a device that leaves its slot is reset, and ended by whoever takes it")
    func unplug() throws {
        let started = try Started(.port)
        let port = try #require(started.bench.port)
        try port.requestRemoval()
        let base = PCIBench.configuration | 3 << 15
        var view = started.bench.memory.makeView()
        var offset = UInt64(view.read(base + 0x34, width: 1) ?? 0)
        while offset != 0, view.read(base + offset, width: 1) != 0x10 { offset = view.read(base + offset + 1, width: 1) ?? 0 }
        started.bench.store(0x7C0, base + offset + 0x18, 2)
        #expect(started.device.activation == nil)
        #expect(started.bench.doorbells.bindings.isEmpty)
        #expect(started.bench.configurationGet(0, 2) == 0xFFFF)
        started.bench.transport.shutDown()
        #expect(started.device.calls.last == "shutDown")
    }

    @Test("the end of the machine leaves no doorbell, vector or range, and lets go of the device")
    func shutDown() throws {
        weak var device: TestDevice?
        weak var transport: VirtioPCITransport?
        let memory: Bus
        do {
            let started = try Started()
            try started.bench.setMSIX(isEnabled: true)
            started.bench.setVector(1, data: 1)
            (device, transport) = (started.device, started.bench.transport)
            started.bench.host.shutDown()
            #expect(started.device.calls.last == "shutDown")
            #expect(started.bench.doorbells.bindings.isEmpty)
            #expect(started.bench.messages.lines == 0)
            memory = started.bench.memory
            memory.remove(try #require(GuestRange(base: GuestAddress(PCIBench.configuration), size: 256 << 20)))
        }
        #expect(memory.ranges.isEmpty)
        #expect(transport == nil)
        #expect(device == nil)
    }

    @Test("several virtual CPUs on registers and configuration at once leave the device either started or not")
    func concurrency() async throws {
        let started = try Started()
        let bench = started.bench
        let memory = bench.memory
        let queue = started.queue
        await withTaskGroup(of: Void.self) { group in
            for task in 0..<3 as Range<UInt64> {
                group.addTask {
                    var view = memory.makeView()
                    let function = PCIBench.configuration | 3 << 15
                    for round in 0..<400 as Range<UInt64> {
                        _ = view.write(task == 0 ? 6 : (round % 3 == 0 ? 4 : 6), to: function + 4, width: 2)
                        _ = view.write(round % 5 == 0 ? 0xC100_0000 : PCIBench.registers, to: function + 0x18, width: 4)
                        for status in [0, 1, 3] as [UInt64] { _ = view.write(status, to: PCIBench.registers + 0x14, width: 1) }
                        _ = view.write(1, to: PCIBench.registers + 8, width: 4)
                        _ = view.write(1, to: PCIBench.registers + 0xC, width: 4)
                        _ = view.write(11, to: PCIBench.registers + 0x14, width: 1)
                        _ = view.write(queue.descriptorTable, to: PCIBench.registers + 0x20, width: 8)
                        _ = view.write(1, to: PCIBench.registers + 0x1C, width: 2)
                        _ = view.write(15, to: PCIBench.registers + 0x14, width: 1)
                        _ = view.write(0, to: PCIBench.registers + 0x3000, width: 2)
                        _ = view.read(PCIBench.registers + 0x1000, width: 1)
                    }
                }
            }
        }
        bench.enable()
        bench.status = 0
        #expect(started.device.activation == nil)
        #expect(bench.doorbells.bindings.isEmpty)
        started.start()
        #expect(bench.doorbells.bindings == [started.doorbell(0), started.doorbell(1)])
    }

    // MARK: State

    @Test("a state that was saved and restored starts the device where it was", arguments: [false, true])
    func state(_ isBehindPort: Bool) throws {
        let placement: VirtioPCITransport.Placement = isBehindPort ? .port : .rootBus
        let started = try Started(placement)
        let bench = started.bench
        bench.set(Common.msixConfig, 0, 2)
        try bench.setMSIX(isEnabled: true)
        bench.setVector(1, data: 41)
        bench.setVector(2, data: 42, isMasked: true)
        try started.interrupt.queueUsed(1)
        try started.interrupt.configurationChanged()
        let bytes = bench.transport.saveState()
        let guest = try Guest()
        let device = try TestDevice()
        let other = try PCIBench(device, guest: guest, placement: placement)
        try other.transport.restoreState(bytes)
        #expect(other.status == 15)
        #expect(other.get(Common.msixConfig, 2) == 0)
        #expect(other.get(0x1000, 1) == 2)
        let activation = try #require(device.activation)
        #expect(activation.queues[0]?.position == QueuePosition(nextAvailable: 64, nextUsed: 7))
        #expect(device.calls.last == "resume")
        #expect(other.doorbells.bindings.count == 2)
        activation.interrupt.queueUsed(0)
        #expect(other.messages.take() == [41])
        other.setVector(2, data: 43)
        #expect(other.messages.take() == [43])
    }

    @Test("bytes that are cut, longer, of another device or changed come to an error or to a device that is checked")
    func badStates() throws {
        let started = try Started()
        try started.bench.setMSIX(isEnabled: true)
        let bytes = started.bench.transport.saveState()
        let device = try TestDevice()
        let guest = try Guest()
        let other = try PCIBench(device, guest: guest)
        for length in 0..<bytes.count {
            #expect(throws: PCIError.self) { try other.transport.restoreState(Array(bytes.prefix(length))) }
        }
        #expect(throws: PCIError.self) { try other.transport.restoreState(bytes + [0]) }
        #expect(throws: PCIError.self) { try Started(.port).bench.transport.restoreState(bytes) }
        #expect(device.activation == nil)
        #expect(other.doorbells.bindings.isEmpty)
        var random = SeededGenerator(12)
        var accepted = 0
        for _ in 0..<1500 {
            var changed = bytes
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                changed[Int.random(in: 0..<changed.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            if (try? other.transport.restoreState(changed)) != nil { accepted += 1 } else { #expect(device.activation == nil) }
            if let activation = device.activation {
                #expect(activation.features.isSubset(of: device.offeredFeatures))
            }
        }
        #expect(accepted > 0)
        other.host.reset()
        #expect(other.doorbells.bindings.isEmpty && other.messages.lines == 0)
    }
}
