import StratoHost
import StratoMemory
import StratoPCI
import Testing

@testable import StratoVirtio

private func makeBench(
    _ placement: VirtioPCITransport.Placement = .rootBus, isRefusingDoorbells: Bool = false
) throws -> (bench: PCIBench, device: TestDevice, guest: Guest, queue: DriverQueue) {
    let guest = try Guest()
    let device = try TestDevice()
    let bench = try PCIBench(device, guest: guest, placement: placement, isRefusingDoorbells: isRefusingDoorbells)
    bench.enable()
    return (bench, device, guest, DriverQueue(guest.memory, size: 64))
}

@Suite("virtio-pci: finding the device")
struct PCIDiscoveryTests {
    @Test("the identifiers are those of a modern device, with a class that firmware knows")
    func identity() throws {
        let (bench, _, _, _) = try makeBench()
        #expect(bench.configurationGet(0, 4) == UInt64(0x1040 + 42) << 16 | 0x1AF4)
        #expect(bench.configurationGet(8, 1) == 1)
        #expect(bench.configurationGet(0x2C, 4) == UInt64(0x40 + 42) << 16 | 0x1AF4)
        #expect(bench.configurationGet(0x3D, 1) == 1)
        let classes: [(UInt32, UInt32)] = [(1, 0x02_00_00), (2, 0x01_00_00), (3, 0x07_80_00), (4, 0xFF_00_00)]
        for (type, code) in classes {
            let identity = VirtioPCIIdentity.identity(of: VirtioDeviceType(rawValue: type))
            #expect(identity.classCode == code && identity.device == UInt16(0x1040 + type))
        }
    }

    @Test("a driver finds every structure by its capability, where StratoVirt has it")
    func capabilities() throws {
        let (bench, _, _, _) = try makeBench()
        let found = bench.capabilities(0x09).map { offset in
            (
                type: bench.configurationGet(offset + 3, 1), bar: bench.configurationGet(offset + 4, 1),
                offset: bench.configurationGet(offset + 8, 4), length: bench.configurationGet(offset + 12, 4),
                size: bench.configurationGet(offset + 2, 1), at: offset
            )
        }
        #expect(found.map(\.type) == [1, 3, 4, 2, 5])
        #expect(found.prefix(4).allSatisfy { $0.bar == 2 })
        #expect(found.prefix(4).map(\.offset) == [0, 0x1000, 0x2000, 0x3000])
        #expect(found.map(\.size) == [16, 16, 16, 20, 20])
        // As long as the structure that the specification defines at least, and the doorbells of all queues.
        #expect(found[0].length >= 56)
        #expect(found[3].length >= 8)
        #expect(bench.configurationGet(found[3].at + 16, 4) == 4)
        let msix = try #require(bench.capabilities(0x11).first)
        #expect(bench.configurationGet(msix + 2, 2) == 2)
        #expect(bench.configurationGet(msix + 4, 4) & 7 == 1)
        // On the root bus a device is a conventional one.
        #expect(bench.capabilities(0x10).isEmpty)
        #expect(bench.configurationGet(0x100, 4) == 0xFFFF_FFFF)
    }

    @Test("behind a port the device is a PCI Express endpoint with power management")
    func express() throws {
        let (bench, _, _, _) = try makeBench(.port)
        #expect(bench.configurationGet(0, 2) == 0x1AF4)
        let express = try #require(bench.capabilities(0x10).first)
        #expect(bench.configurationGet(express + 2, 2) == 0x0002)
        #expect(bench.configurationGet(express + 4, 4) & 1 << 28 != 0)
        #expect(bench.capabilities(0x01).count == 1)
        #expect(bench.configurationGet(0x100, 4) == 0)
        #expect(bench.get(Common.numQueues, 2) == 2)
    }

    @Test("ranges have the sizes that the layout needs, the second one in 64 bits")
    func ranges() throws {
        let (bench, _, _, _) = try makeBench()
        bench.configurationSet(4, 0, 2)
        bench.configurationSet(0x14, 0xFFFF_FFFF, 4)
        #expect(bench.configurationGet(0x14, 4) == 0xFFFF_F000)
        bench.configurationSet(0x18, .max, 8)
        #expect(bench.configurationGet(0x18, 8) == 0xFFFF_FFFF_FFFF_C004)
        #expect(bench.configurationGet(0x10, 4) == 0)
        #expect(bench.configurationGet(0x20, 8) == 0)
    }

    @Test("a device of more queues than there are doorbells is refused")
    func tooManyQueues() throws {
        let guest = try Guest()
        let device = try TestDevice(queueMaximumSizes: Array(repeating: 2, count: 1025))
        #expect(throws: PCIError.self) {
            try VirtioPCITransport(
                device: device, memory: guest.memory, placement: .rootBus, messages: PCITestMessages(), doorbells: nil,
                logger: .silent)
        }
    }
}

@Suite("virtio-pci: registers")
struct PCIRegisterTests {
    @Test("the common configuration holds what the specification says after a reset")
    func initial() throws {
        let (bench, device, _, _) = try makeBench()
        #expect(bench.offered == device.offeredFeatures.rawValue)
        bench.set(Common.deviceFeatureSelect, 2, 4)
        #expect(bench.get(Common.deviceFeature, 4) == 0)
        #expect(bench.get(Common.msixConfig, 2) == 0xFFFF)
        #expect(bench.get(Common.numQueues, 2) == 2)
        #expect(bench.status == 0)
        #expect(bench.get(Common.generation, 1) == 5)
        for (index, size) in [(0, 256), (1, 64)] as [(UInt64, UInt64)] {
            bench.set(Common.queueSelect, index, 2)
            #expect(bench.get(Common.queueSize, 2) == size)
            #expect(bench.get(Common.queueMsix, 2) == 0xFFFF)
            #expect(bench.get(Common.queueEnable, 2) == 0)
            #expect(bench.get(Common.queueNotifyOff, 2) == index)
            for offset in [Common.queueDesc, Common.queueDriver, Common.queueDevice] { #expect(bench.get(offset, 8) == 0) }
        }
        // A queue that does not exist has size zero.
        for index in [2, 0xFFFF] as [UInt64] {
            bench.set(Common.queueSelect, index, 2)
            #expect(bench.get(Common.queueSelect, 2) == index)
            #expect(bench.get(Common.queueSize, 2) == 0)
        }
        // Features that are not offered have no registers.
        #expect(bench.get(0x38, 4) == 0)
        #expect(bench.log.all.isEmpty)
    }

    @Test("Linux's order of steps starts the device with what the driver has chosen", arguments: [false, true])
    func handshake(_ isBehindPort: Bool) throws {
        let (bench, device, _, queue) = try makeBench(isBehindPort ? .port : .rootBus)
        bench.negotiate(1 << 32 | 1 << 29)
        #expect(bench.status == 11)
        #expect(bench.get(Common.driverFeature, 4) == 1 << 29)
        bench.setUp(queue)
        #expect(bench.get(Common.queueEnable, 2) == 1)
        #expect(bench.get(Common.queueDesc, 8) == queue.descriptorTable)
        #expect(bench.get(Common.queueDevice, 8) == queue.usedRing)
        #expect(device.activation == nil)
        bench.status = 15
        #expect(bench.status == 15)
        let activation = try #require(device.activation)
        #expect(activation.features == [.version1, .eventIndex])
        #expect(activation.queues.count == 2)
        #expect(activation.queues[0]?.layout.size == 64)
        #expect(activation.queues[1] == nil)
        #expect(bench.log.all.isEmpty)
    }

    @Test("a queue whose size the driver leaves alone has the largest")
    func defaultSize() throws {
        let (bench, device, guest, _) = try makeBench()
        let queue = DriverQueue(guest.memory, size: 256)
        bench.negotiate()
        bench.set(Common.queueSelect, 0, 2)
        bench.set(Common.queueDesc, queue.descriptorTable, 8)
        bench.set(Common.queueDriver, queue.availableRing, 8)
        bench.set(Common.queueDevice, queue.usedRing, 8)
        bench.set(Common.queueEnable, 1, 2)
        bench.status = 15
        #expect(device.activation?.queues[0]?.layout.size == 256)
    }

    @Test("CVE-2026-5747: a queue is frozen as soon as it is enabled; nothing is set before FEATURES_OK or after DRIVER_OK")
    func frozen() throws {
        let (bench, device, guest, queue) = try makeBench()
        func scribble() {
            bench.set(Common.queueSelect, 0, 2)
            for value in [0, 1, 3, 128, 0x8000, 0xFFFF] as [UInt64] {
                bench.set(Common.queueSize, value, 2)
                for offset in stride(from: Common.queueDesc, to: 0x38, by: 4) { bench.set(offset, value, 4) }
                bench.set(Common.queueDesc, .max, 8)
            }
        }
        scribble()
        bench.status = 3
        scribble()
        bench.set(Common.queueEnable, 1, 2)
        #expect(bench.get(Common.queueEnable, 2) == 0)
        bench.negotiate()
        bench.setUp(queue)
        scribble()
        bench.status = 15
        scribble()
        bench.set(Common.queueEnable, 0, 2)
        #expect(bench.get(Common.queueEnable, 2) == 1)
        #expect(bench.get(Common.queueSize, 2) == 64)
        let layout = try #require(device.activation?.queues[0]?.layout)
        #expect(layout.size == 64)
        #expect(bench.get(Common.queueDesc, 8) == queue.descriptorTable)
        // A second queue cannot come up any more.
        bench.setUp(DriverQueue(guest.memory, size: 16, base: 0x10000), at: 1)
        #expect(bench.get(Common.queueEnable, 2) == 0)
        #expect(bench.status == 15)
        #expect(device.calls.filter { $0 == "activate" }.count == 1)
    }

    @Test("a queue outside of memory is not enabled, and the device asks for a reset")
    func badQueue() throws {
        let (bench, device, guest, queue) = try makeBench()
        bench.negotiate()
        bench.setUp(DriverQueue(guest.memory, size: 64, base: 0x8000_0000))
        #expect(bench.get(Common.queueEnable, 2) == 0)
        #expect(bench.status == 11 | 64)
        bench.status = 15
        #expect(device.activation == nil)
        bench.negotiate()
        bench.setUp(queue)
        bench.status = 15
        #expect(bench.status == 15)
    }

    @Test("every register is read the same at every width and alignment")
    func readWidths() throws {
        let (bench, _, _, queue) = try makeBench()
        bench.negotiate()
        bench.setUp(queue, vector: 1)
        bench.set(Common.msixConfig, 2, 2)
        bench.set(Common.driverFeatureSelect, 1, 4)
        let bytes = (0..<0x48).map { bench.get(UInt64($0), 1) }
        #expect(bytes[0x12] == 2 && bytes[0x14] == 11 && bytes[0x18] == 64)
        for offset in 0..<0x40 {
            for width in 1...8 {
                let expected = (0..<width).reduce(UInt64(0)) { $0 | bytes[offset + $1] << UInt64(8 * $1) }
                #expect(bench.get(UInt64(offset), width) == expected, "\(offset) \(width)")
            }
        }
        #expect(bytes[0x3C...].allSatisfy { $0 == 0 })
    }

    @Test("writes that are not of a whole register change nothing")
    func writeWidths() throws {
        let (bench, device, _, queue) = try makeBench()
        bench.negotiate()
        bench.setUp(queue)
        bench.set(Common.queueSelect, 1, 2)
        let fields: [UInt64: [Int]] = [
            0x00: [4], 0x08: [4], 0x0C: [4], 0x10: [2], 0x14: [1], 0x16: [2], 0x18: [2], 0x1A: [2], 0x1C: [2],
            0x20: [4, 8], 0x24: [4], 0x28: [4, 8], 0x2C: [4], 0x30: [4, 8], 0x34: [4],
        ]
        let before = (0..<0x40).map { bench.get(UInt64($0), 1) }
        for offset in 0..<0x48 as Range<UInt64> {
            for width in 1...8 where fields[offset]?.contains(width) != true {
                bench.set(offset, 0x0101_0101_0101_0101 & (.max >> UInt64(64 - 8 * width)), width)
            }
        }
        #expect((0..<0x40).map { bench.get(UInt64($0), 1) } == before)
        #expect(device.activation == nil)
        #expect(!bench.log.all.isEmpty && bench.log.all.count < 30)
    }

    @Test("the device's configuration space takes every width, and no write without a driver")
    func deviceConfiguration() throws {
        let (bench, device, _, _) = try makeBench()
        for width in 1...8 {
            for offset in [0, 1, 7, 59, 255, 0xFF0] as [UInt64] {
                let expected = (offset << 8 | UInt64(width)) & (.max >> UInt64(64 - 8 * width))
                #expect(bench.get(0x2000 + offset, width) & (.max >> UInt64(64 - 8 * width)) == expected)
            }
        }
        bench.set(0x2003, 9, 2)
        #expect(!device.calls.contains { $0.hasPrefix("config") })
        bench.negotiate()
        bench.set(0x2003, 9, 2)
        #expect(device.calls.last == "config 3 2 9")
    }

    @Test("no order of accesses, of any width, place and value, gets past the checks", arguments: 0..<6)
    func fuzz(seed: Int) throws {
        var random = SeededGenerator(UInt64(seed) + 31)
        let (bench, device, _, queue) = try makeBench(seed % 2 == 0 ? .rootBus : .port)
        let values: [UInt64] = [
            0, 1, 2, 3, 7, 11, 15, 64, 128, 256, 0x1000, 0x8000_0000, 0xFFFF_FFFF, .max, device.offeredFeatures.rawValue,
        ]
        var activations = 0
        for round in 0..<6000 {
            let value = values.randomElement(using: &random) ?? 0
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<5:
                let starts: [UInt64] = [0, 0, 0, 0x1000, 0x2000, 0x3000]
                let offset = (starts.randomElement(using: &random) ?? 0) + UInt64.random(in: 0..<0x44, using: &random)
                let width = Int.random(in: 1...8, using: &random)
                if Bool.random(using: &random) { bench.set(offset, value, width) } else { _ = bench.get(offset, width) }
            case 5, 6:
                // All of configuration space but the ranges, so that the registers stay where they are most of the time.
                let offset = Int.random(in: 0x20..<0x180, using: &random)
                let width = Int.random(in: 1...8, using: &random)
                if Bool.random(using: &random) {
                    bench.configurationSet(offset, value, width)
                } else {
                    _ = bench.configurationGet(offset, width)
                }
            case 7:
                bench.store(value, PCIBench.vectors + UInt64.random(in: 0..<0x820, using: &random), 4)
            case 8:
                bench.configurationSet([4, 0x14, 0x18, 0x1C].randomElement(using: &random) ?? 4, value, 4)
            default:
                device.activation?.interrupt.queueUsed(Int.random(in: 0...3, using: &random))
            }
            if round % 30 == 0 {
                bench.host.reset()
                if bench.port != nil { bench.numberPort() }
                bench.enable()
                if round % 60 == 0 { try bench.setMSIX(isEnabled: true) }
                bench.negotiate()
                bench.setUp(queue, at: UInt64(round / 30 % 2), vector: UInt64(round / 30 % 4))
                bench.status = 15
            }
            if let activation = device.activation {
                activations += 1
                #expect(activation.features.isSubset(of: device.offeredFeatures))
                #expect(activation.features.contains(.version1))
                for (queue, maximum) in zip(activation.queues, device.queueMaximumSizes) {
                    guard let size = queue?.layout.size else { continue }
                    #expect(size <= maximum && size & (size - 1) == 0)
                }
            }
        }
        #expect(activations > 1000)
        #expect(bench.log.all.count < 100)
        bench.host.reset()
        #expect(device.activation == nil)
        #expect(bench.doorbells.bindings.isEmpty)
        #expect(bench.messages.lines == 0)
        #expect(bench.lines.allSatisfy { !$0.level })
    }
}

@Suite("virtio-pci: access by configuration space")
struct PCIConfigurationAccessTests {
    private struct Window {
        let bench: PCIBench
        let at: Int

        init(_ bench: PCIBench) throws {
            self.bench = bench
            at = try #require(bench.capabilities(0x09).last)
        }

        func select(_ bar: UInt64, _ offset: UInt64, _ length: UInt64) {
            bench.configurationSet(at + 4, bar, 1)
            bench.configurationSet(at + 8, offset, 4)
            bench.configurationSet(at + 12, length, 4)
        }

        func get(_ offset: UInt64, _ length: Int) -> UInt64 {
            select(2, offset, UInt64(length))
            return bench.configurationGet(at + 16, length)
        }

        func set(_ offset: UInt64, _ value: UInt64, _ length: Int) {
            select(2, offset, UInt64(length))
            bench.configurationSet(at + 16, value, length)
        }
    }

    @Test("firmware starts the device without reaching any range")
    func withoutRanges() throws {
        let (bench, device, _, queue) = try makeBench()
        bench.configurationSet(4, 4, 2)
        let window = try Window(bench)
        #expect(bench.load(PCIBench.registers, 4) == nil)
        for status in [0, 1, 3] as [UInt64] { window.set(Common.status, status, 1) }
        window.set(Common.driverFeatureSelect, 1, 4)
        window.set(Common.driverFeature, 1, 4)
        window.set(Common.status, 11, 1)
        #expect(window.get(Common.status, 1) == 11)
        window.set(Common.queueSelect, 0, 2)
        window.set(Common.queueSize, 64, 2)
        window.set(Common.queueDesc, queue.descriptorTable, 4)
        window.set(Common.queueDriver, queue.availableRing, 4)
        window.set(Common.queueDevice, queue.usedRing, 4)
        window.set(Common.queueEnable, 1, 2)
        window.set(Common.status, 15, 1)
        #expect(device.activation?.queues[0]?.layout.size == 64)
        window.set(0x3000, 0, 2)
        #expect(device.kicks[0].consume() == 1)
        #expect(window.get(0x2010, 4) == 0x1004)
        device.activation?.interrupt.queueUsed(0)
        #expect(window.get(0x1000, 1) == 1)
        #expect(window.get(0x1000, 1) == 0)
        // The vectors are behind the other register.
        window.select(1, 8, 4)
        bench.configurationSet(window.at + 16, 0x77, 4)
        #expect(bench.configurationGet(window.at + 16, 4) == 0x77)
        bench.configurationSet(4, 6, 2)
        #expect(bench.load(PCIBench.vectors + 8, 4) == 0x77)
    }

    @Test("a window that names no register reaches none, and does not trap")
    func badWindows() throws {
        let (bench, device, _, _) = try makeBench()
        let window = try Window(bench)
        bench.negotiate()
        let calls = device.calls
        let bad: [(UInt64, UInt64, UInt64)] = [
            (0, Common.status, 1), (3, Common.status, 1), (255, Common.status, 1), (2, Common.status, 0), (2, Common.status, 3),
            (2, Common.status, 8), (2, 0x12, 4), (2, 0x4000, 1), (2, 0x3FFE, 4), (2, 0xFFFF_FFFC, 4), (1, 0x1000, 4),
            (2, Common.status, 0xFFFF_FFFF),
        ]
        for (bar, offset, length) in bad {
            window.select(bar, offset, length)
            bench.configurationSet(window.at + 16, 0, 4)
            bench.configurationSet(window.at + 16, 0, 1)
            _ = bench.configurationGet(window.at + 16, 4)
            #expect(bench.status == 11, "\(bar) \(offset) \(length)")
        }
        #expect(device.calls == calls)
        #expect(!bench.log.all.isEmpty && bench.log.all.count < 20)
    }

    @Test("the window's own registers are read back at every width, and a read of them alone reaches no register")
    func windowRegisters() throws {
        let (bench, device, _, queue) = try makeBench()
        let window = try Window(bench)
        bench.negotiate()
        bench.setUp(queue)
        bench.status = 15
        device.activation?.interrupt.queueUsed(0)
        window.select(2, 0x1000, 1)
        #expect(bench.configurationGet(window.at + 4, 1) == 2)
        #expect(bench.configurationGet(window.at + 8, 8) == 0x1_0000_1000)
        // The reason is still there: nothing has read it.
        #expect(bench.get(0x1000, 1) == 1)
    }
}
