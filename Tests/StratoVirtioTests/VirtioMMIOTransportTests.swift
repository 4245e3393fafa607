import StratoHost
import StratoMemory
import Testing

@testable import StratoVirtio

private let base = GuestAddress(0xF010_0000)

/// A transport with a device that remembers.
private struct Bench {
    let guest: Guest
    let device: TestDevice
    let line = TestLine()
    let doorbells: TestDoorbells
    let lines = Lines()
    let transport: VirtioMMIOTransport
    let queue: DriverQueue

    init(isRefusingDoorbells: Bool = false) throws {
        guest = try Guest()
        device = try TestDevice()
        doorbells = TestDoorbells(isRefusing: isRefusingDoorbells)
        transport = VirtioMMIOTransport(
            device: device, memory: guest.memory, base: base, interrupt: line, doorbells: doorbells,
            logger: Logger(sink: lines, level: .warn))
        queue = DriverQueue(guest.memory, size: 64)
    }

    func start() {
        transport.negotiate()
        transport.setUp(queue)
        transport.set(Reg.status, 15)
    }
}

@Suite("virtio-mmio transport")
struct VirtioMMIOTransportTests {
    @Test("the registers say what the device is")
    func identity() throws {
        let bench = try Bench()
        #expect(bench.transport.get(Reg.magic) == 0x7472_6976)
        #expect(bench.transport.get(Reg.version) == 2)
        #expect(bench.transport.get(Reg.deviceID) == 42)
        #expect(bench.transport.get(Reg.vendorID) == 0)
        #expect(bench.transport.offered == bench.device.offeredFeatures.rawValue)
        bench.transport.set(Reg.deviceFeaturesSel, 2)
        #expect(bench.transport.get(Reg.deviceFeatures) == 0)
        #expect(bench.transport.get(Reg.configGeneration) == 5)
        #expect(bench.transport.get(Reg.shmLenLow) == .max)
        #expect(bench.transport.get(Reg.shmLenHigh) == .max)
        for (index, size) in [(0, 256), (1, 64), (2, 0), (UInt32.max, 0)] as [(UInt32, UInt32)] {
            bench.transport.set(Reg.queueSel, index)
            #expect(bench.transport.get(Reg.queueNumMax) == size)
            #expect(bench.transport.get(Reg.queueReady) == 0)
        }
        #expect(bench.transport.status == 0)
    }

    @Test("Linux's order of steps starts the device with what the driver has chosen")
    func handshake() throws {
        let bench = try Bench()
        bench.transport.negotiate(1 << 32 | 1 << 29)
        #expect(bench.transport.status == 11)
        bench.transport.setUp(bench.queue)
        #expect(bench.transport.get(Reg.queueReady) == 1)
        #expect(bench.device.activation == nil)
        bench.transport.set(Reg.status, 15)
        #expect(bench.transport.status == 15)
        let activation = try #require(bench.device.activation)
        #expect(activation.features == [.version1, .eventIndex])
        #expect(activation.queues.count == 2)
        #expect(activation.queues[0]?.layout.size == 64)
        #expect(activation.queues[1] == nil)
        #expect(
            bench.doorbells.bindings == [
                .init(event: bench.device.kicks[0].number, address: base.value + 0x50, width: 4, match: 0)
            ])
        #expect(bench.lines.all.isEmpty)
    }

    @Test(
        "a status that skips a step, clears a bit or sets an unknown one is refused",
        arguments: [
            ([2], 0), ([8], 0), ([4], 0), ([11], 3), ([15], 0), ([1, 0x10], 1), ([1, 9], 1), ([1, 3, 7], 3),
            ([1, 3, 1], 3), ([1, 3, 11, 3], 11), ([1, 3, 15], 3), ([1, 2], 1), ([1, 3, 0x20 | 3], 3), ([.max], 0),
            ([1, 3, 0x83], 0x83), ([0x80], 0x80), ([0x80, 0x81], 0x80), ([1, 3, 0x83, 0x8B], 0x83), ([3], 3), ([1, 0x43], 3),
            ([1, 3, 11, 11, 15, 15], 15), ([1, 3, 11, 15, 11], 15), ([1, 3, 11, 15, 0], 0),
        ] as [([UInt32], UInt32)])
    func statusOrder(_ writes: [UInt32], _ expected: UInt32) throws {
        let bench = try Bench()
        for value in writes {
            if value & 8 != 0, bench.transport.status == 3 { bench.transport.accept(bench.transport.offered) }
            bench.transport.set(Reg.status, value)
        }
        #expect(bench.transport.status == expected)
    }

    @Test("features that are not offered, or without VERSION_1, leave FEATURES_OK clear")
    func features() throws {
        let bench = try Bench()
        for features in [0, 1 << 29, 1 << 32 | 1 << 4, 1 << 32 | 1 << 63, .max] as [UInt64] {
            bench.transport.negotiate(features)
            #expect(bench.transport.status == 3, "\(features)")
        }
        // The driver may choose again.
        bench.transport.accept(1 << 32)
        bench.transport.set(Reg.status, 11)
        #expect(bench.transport.status == 11)
        // And not any more now.
        bench.transport.accept(1 << 32 | 1 << 29)
        bench.transport.setUp(bench.queue)
        bench.transport.set(Reg.status, 15)
        #expect(bench.device.activation?.features == .version1)
    }

    @Test("features written before DRIVER are not taken")
    func earlyFeatures() throws {
        let bench = try Bench()
        bench.transport.accept(1 << 32)
        bench.transport.set(Reg.status, 3)
        bench.transport.set(Reg.status, 11)
        #expect(bench.transport.status == 3)
    }

    @Test("QEMU #3882: a queue is frozen as soon as it is ready; nothing is set before FEATURES_OK or after DRIVER_OK")
    func frozenQueue() throws {
        let bench = try Bench()
        func scribble() {
            bench.transport.set(Reg.queueSel, 0)
            for register in [Reg.queueNum, Reg.queueDescLow, Reg.queueDescHigh, Reg.queueDriverLow, Reg.queueDeviceHigh] {
                for value in [0, 1, 3, 128, 0x8000, 0xFFFF, .max] as [UInt32] { bench.transport.set(register, value) }
            }
        }
        scribble()
        bench.transport.set(Reg.status, 3)
        scribble()
        bench.transport.set(Reg.queueReady, 1)
        #expect(bench.transport.get(Reg.queueReady) == 0)
        bench.transport.negotiate()
        bench.transport.setUp(bench.queue)
        scribble()
        bench.transport.set(Reg.status, 15)
        scribble()
        bench.transport.set(Reg.queueReady, 1)
        let layout = try #require(bench.device.activation?.queues[0]?.layout)
        #expect(layout.size == 64)
        #expect(bench.transport.saveState().queues[0].configuration == bench.queue.configuration)
        // A second queue cannot come up any more.
        bench.transport.setUp(DriverQueue(bench.guest.memory, size: 16, base: 0x10000), at: 1)
        #expect(bench.transport.get(Reg.queueReady) == 0)
        #expect(bench.transport.status == 15)
    }

    @Test("a queue that is not ready any more can be set up anew before DRIVER_OK, and after it is only given back")
    func unready() throws {
        let bench = try Bench()
        bench.transport.negotiate()
        bench.transport.setUp(bench.queue)
        bench.transport.set(Reg.queueReady, 0)
        #expect(bench.transport.get(Reg.queueReady) == 0)
        bench.transport.setUp(DriverQueue(bench.guest.memory, size: 16, base: 0x10000))
        bench.transport.set(Reg.status, 15)
        #expect(bench.device.activation?.queues[0]?.layout.size == 16)
        bench.transport.set(Reg.queueReady, 0)
        #expect(bench.transport.get(Reg.queueReady) == 0)
        #expect(bench.device.calls == ["reset", "activate", "stop 0"])
        #expect(bench.doorbells.bindings.isEmpty)
        bench.transport.set(Reg.queueReady, 1)
        #expect(bench.transport.get(Reg.queueReady) == 0)
    }

    @Test("a queue outside of memory is not enabled, and the device asks for a reset")
    func badQueue() throws {
        let bench = try Bench()
        bench.transport.negotiate()
        bench.transport.setUp(DriverQueue(bench.guest.memory, size: 64, base: 0x8000_0000))
        #expect(bench.transport.get(Reg.queueReady) == 0)
        #expect(bench.transport.status == 11 | 64)
        // No interrupt before DRIVER_OK.
        #expect(bench.line.count == 0)
        bench.transport.set(Reg.status, 15)
        #expect(bench.transport.status == 15 | 64)
        #expect(bench.device.activation == nil)
        #expect(bench.doorbells.bindings.isEmpty)
        bench.start()
        #expect(bench.transport.status == 15)
        #expect(bench.device.activation != nil)
    }

    @Test("a device that cannot start asks for a reset, with an interrupt")
    func refusedActivation() throws {
        let bench = try Bench()
        bench.device.refusesActivation = true
        bench.start()
        #expect(bench.transport.status == 15 | 64)
        #expect(bench.line.count == 1)
        #expect(bench.transport.get(Reg.interruptStatus) == 2)
        #expect(bench.doorbells.bindings.isEmpty)
    }

    @Test("interrupt reasons are collected, and acknowledged one by one")
    func interrupts() throws {
        let bench = try Bench()
        bench.start()
        let interrupt = try #require(bench.device.activation?.interrupt)
        interrupt.queueUsed(0)
        #expect(bench.transport.get(Reg.interruptStatus) == 1)
        interrupt.configurationChanged()
        #expect(bench.transport.get(Reg.interruptStatus) == 3)
        bench.transport.set(Reg.interruptACK, 1)
        #expect(bench.transport.get(Reg.interruptStatus) == 2)
        bench.transport.set(Reg.interruptACK, .max)
        #expect(bench.transport.get(Reg.interruptStatus) == 0)
        #expect(bench.line.count == 2)
        interrupt.deviceNeedsReset()
        #expect(bench.transport.status == 15 | 64)
        #expect(bench.transport.get(Reg.interruptStatus) == 2)
        // A driver that writes back what it has read does not clear the flag, and is not refused.
        bench.transport.set(Reg.status, 15 | 64)
        #expect(bench.transport.status == 15 | 64)
        bench.transport.set(Reg.status, 0)
        #expect(bench.transport.status == 0)
        #expect(bench.transport.get(Reg.interruptStatus) == 0)
    }

    @Test("a reset gives everything back, and the device can be started again, a thousand times")
    func reset() throws {
        let bench = try Bench()
        for _ in 0..<1000 {
            bench.start()
            #expect(bench.doorbells.bindings.count == 1)
            bench.transport.set(Reg.status, 0)
            #expect(bench.device.activation == nil)
            #expect(bench.doorbells.bindings.isEmpty)
            #expect(bench.transport.get(Reg.queueReady) == 0)
        }
        #expect(bench.lines.all.isEmpty)
    }

    @Test(
        "CVE-2011-2512: a notification by register reaches the queue's event; one of another queue, or too early, reaches nothing"
    )
    func notify() throws {
        let bench = try Bench(isRefusingDoorbells: true)
        bench.transport.set(Reg.queueNotify, 0)
        bench.transport.negotiate()
        bench.transport.setUp(bench.queue)
        bench.transport.set(Reg.queueNotify, 0)
        #expect(bench.device.kicks[0].consume() == 0)
        bench.transport.set(Reg.status, 15)
        #expect(bench.transport.status == 15)
        for value in [1, 2, 255, 0x8000_0000, .max] as [UInt32] { bench.transport.set(Reg.queueNotify, value) }
        #expect(bench.device.kicks[0].consume() == 0)
        #expect(bench.device.kicks[1].consume() == 0)
        bench.transport.set(Reg.queueNotify, 0)
        bench.transport.set(Reg.queueNotify, 0)
        #expect(bench.device.kicks[0].consume() == 2)
    }

    @Test("control registers take aligned words only; the configuration space takes every width")
    func widths() throws {
        let bench = try Bench()
        for width in [1, 2, 3, 5, 8] {
            #expect(bench.transport.read(at: Reg.magic, width: width) == 0)
            bench.transport.write(1, at: Reg.status, width: width)
        }
        for offset in [1, 2, 3, 0x71, 0x6E, 0x72] as [UInt64] {
            #expect(bench.transport.read(at: offset, width: 4) == 0)
            bench.transport.write(1, at: offset, width: 4)
        }
        #expect(bench.transport.status == 0)
        for width in 1...8 {
            for offset in [0, 1, 7, 59, 255] as [UInt64] {
                #expect(bench.transport.read(at: Reg.config + offset, width: width) == offset << 8 | UInt64(width))
            }
        }
        bench.transport.write(9, at: Reg.config + 3, width: 2)
        #expect(bench.device.calls.isEmpty)
        bench.transport.negotiate()
        bench.transport.write(9, at: Reg.config + 3, width: 2)
        #expect(bench.device.calls == ["reset", "config 3 2 9"])
    }

    @Test("refusals don't flood the log")
    func logLimit() throws {
        let bench = try Bench()
        for _ in 0..<100_000 { bench.transport.set(Reg.queueNum, 1) }
        #expect(!bench.lines.all.isEmpty)
        #expect(bench.lines.all.count < 50)
        #expect(bench.lines.all.allSatisfy { $0.contains("virtio-mmio test") })
    }

    @Test("no order of accesses, of any width, offset and value, gets past the checks", arguments: 0..<8)
    func fuzz(seed: Int) throws {
        var random = SeededGenerator(UInt64(seed) + 1)
        let bench = try Bench()
        let values: [UInt64] = [
            0, 1, 2, 3, 7, 11, 15, 64, 128, 256, 0x1000, 0x8000_0000, 0xFFFF_FFFF, .max, bench.device.offeredFeatures.rawValue,
        ]
        var activations = 0
        for round in 0..<20_000 {
            let isKnown = Int.random(in: 0..<4, using: &random) > 0
            let offset = isKnown ? UInt64.random(in: 0..<0x40, using: &random) * 4 : UInt64.random(in: 0..<0x210, using: &random)
            let width = isKnown ? 4 : Int.random(in: 1...8, using: &random)
            if Bool.random(using: &random) {
                _ = bench.transport.read(at: offset, width: width)
            } else {
                let value = values.randomElement(using: &random) ?? 0
                bench.transport.write(width < 8 ? value & (1 << (UInt64(width) * 8) - 1) : value, at: offset, width: width)
            }
            // Now and then a driver that does it right up to some step, so that every state is reached.
            if round % 50 == 0 {
                bench.transport.negotiate()
                if round % 100 == 0 { bench.transport.setUp(bench.queue, at: UInt32(round / 100 % 2)) }
                if round % 200 == 0 { bench.transport.set(Reg.status, 15) }
            }
            if let activation = bench.device.activation {
                activations += 1
                #expect(activation.features.isSubset(of: bench.device.offeredFeatures))
                #expect(activation.features.contains(.version1))
                for (queue, maximum) in zip(activation.queues, bench.device.queueMaximumSizes) {
                    guard let size = queue?.layout.size else { continue }
                    #expect(size <= maximum && size & (size - 1) == 0)
                }
            }
            let status = bench.transport.status
            #expect(status & ~(0x8F | 64) == 0)
            #expect(status & 8 == 0 || status & 2 != 0)
            #expect(status & 4 == 0 || status & 8 != 0)
        }
        #expect(activations > 100)
        #expect(bench.lines.all.count < 100)
    }

    @Test("several virtual CPUs on the registers at once leave the device either started or not")
    func concurrency() async throws {
        let bench = try Bench()
        await withTaskGroup(of: Void.self) { group in
            for task in 0..<4 {
                group.addTask {
                    for round in 0..<500 {
                        if (round + task) % 3 == 0 { bench.transport.set(Reg.status, 0) }
                        bench.start()
                        _ = bench.transport.get(Reg.interruptStatus)
                        bench.transport.set(Reg.queueNotify, 0)
                    }
                }
            }
        }
        bench.transport.set(Reg.status, 0)
        #expect(bench.device.activation == nil)
        #expect(bench.doorbells.bindings.isEmpty)
        #expect(bench.device.calls.last == "reset")
    }

    // MARK: State

    @Test("a state that was saved and restored starts the device where it was")
    func saveAndRestore() throws {
        let bench = try Bench()
        bench.transport.negotiate(1 << 32 | 1 << 29)
        bench.transport.setUp(bench.queue)
        bench.transport.set(Reg.status, 15)
        try #require(bench.device.activation).interrupt.queueUsed(0)
        bench.transport.set(Reg.queueSel, 1)
        let saved = bench.transport.saveState()
        let decoded = try VirtioTransportState(decoding: saved.encoded())
        #expect(decoded == saved)
        let other = try Bench()
        try other.transport.restoreState(decoded)
        #expect(other.transport.status == 15)
        #expect(other.transport.get(Reg.interruptStatus) == 1)
        #expect(other.transport.get(Reg.queueNumMax) == 64)
        let activation = try #require(other.device.activation)
        #expect(activation.features == [.version1, .eventIndex])
        #expect(activation.queues[0]?.position == QueuePosition(nextAvailable: 64, nextUsed: 7))
        #expect(other.doorbells.bindings.count == 1)
        #expect(other.transport.saveState() == saved)
    }

    @Test("CVE-2013-4150, CVE-2013-4151: a state that cannot be is refused, and leaves the transport as after a reset")
    func badStates() throws {
        let bench = try Bench()
        bench.start()
        let good = bench.transport.saveState()
        let changes: [(inout VirtioTransportState) -> Void] = [
            { $0.deviceType = 1 }, { $0.queues.removeLast() }, { $0.status = 0x1F }, { $0.status = 4 },
            { $0.driverFeatures = .max }, { $0.driverFeatures = 0 }, { $0.queues[0].configuration.size = 3 },
            { $0.queues[0].configuration.size = 512 }, { $0.queues[0].configuration.usedRing = 0x8000_0000 },
            { $0.queues[0].configuration.descriptorTable = .max }, { $0.device = [] },
        ]
        for (index, change) in changes.enumerated() {
            let other = try Bench()
            var state = good
            change(&state)
            #expect(throws: VirtioError.self, "\(index)") { try other.transport.restoreState(state) }
            #expect(other.transport.status == 0)
            #expect(other.device.activation == nil)
            #expect(other.doorbells.bindings.isEmpty)
        }
    }

    @Test("CVE-2023-50711: bytes cut, longer or changed decode to an error or to a state that is checked like any other")
    func corruptedStates() throws {
        let bench = try Bench()
        bench.start()
        let bytes = bench.transport.saveState().encoded()
        for length in 0..<bytes.count {
            #expect(throws: StateError.self) { try VirtioTransportState(decoding: Array(bytes.prefix(length))) }
        }
        #expect(throws: StateError.self) { try VirtioTransportState(decoding: bytes + [0]) }
        var random = SeededGenerator(99)
        var accepted = 0
        for _ in 0..<3000 {
            var changed = bytes
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                changed[Int.random(in: 0..<changed.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            let other = try Bench()
            guard let state = try? VirtioTransportState(decoding: changed) else { continue }
            if (try? other.transport.restoreState(state)) != nil { accepted += 1 }
            if let activation = other.device.activation {
                #expect(activation.features.isSubset(of: other.device.offeredFeatures))
            }
        }
        #expect(accepted > 0)
    }
}
