#if arch(x86_64)
import StratoVMM

extension HostileCase {
    /// Rings, and what the driver does to them and to the queue's registers (CVE-2026-5747, CVE-2016-5403, CVE-2011-2512).
    static let rings: [HostileCase] =
        [
            HostileCase("the available index jumps by one more than the queue holds", .needsReset) { area in
                area.request(GuestDisk.Request.read)
                area.makeAvailable([0], index: area.queueSize + 1)
            },
            HostileCase("the available index jumps by half of its range", .needsReset) { area in
                area.request(GuestDisk.Request.read)
                area.makeAvailable([0], index: 0x8000)
            },
            HostileCase("the available index goes back by one", .needsReset) { area in
                area.request(GuestDisk.Request.read)
                area.makeAvailable([0], index: 0xFFFF)
            },
            HostileCase("one chain is made available as often as the queue has entries", .givenBack(16)) { area in
                area.request(GuestDisk.Request.read)
                area.makeAvailable([UInt16](repeating: 0, count: Int(area.queueSize)))
            },
            HostileCase(
                "one chain is made available again and again before it is given back", .anything,
                steps: { program, area in
                    program.loop(40) { program in
                        program.add(16, to: area.availableIndex, width: 2)
                        program.notifyDisk()
                    }
                },
                prepare: { area in
                    area.request(GuestDisk.Request.read)
                    area.makeAvailable([UInt16](repeating: 0, count: Int(area.queueSize)), index: 0)
                }),
            HostileCase("the disk's contents are read over the descriptor table", .givenBack(1)) { area in
                area.request(GuestDisk.Request.read, data: area.descriptors)
            },
            HostileCase("the disk's contents are read over the used ring", .givenBack(1)) { area in
                area.request(GuestDisk.Request.read, data: area.used)
            },
            HostileCase("the disk's contents are read over the available ring", .anything) { area in
                area.request(GuestDisk.Request.read, data: area.available)
            },
            HostileCase(
                "the descriptors change while the request is served", .anything,
                steps: { program, area in
                    program.loop(50) { program in
                        program.add(1, to: area.availableIndex, width: 2)
                        program.notifyDisk()
                        program.write(.max, to: area.descriptors + 16, width: 8)
                        program.write(0xFFFF_FFFF_FFFF_FFFF, to: area.descriptors + 24, width: 8)
                        program.write(area.data, to: area.descriptors + 16, width: 8)
                        program.write(
                            512 | UInt64(RingArea.Flag.next | RingArea.Flag.write) << 32 | 2 << 48,
                            to: area.descriptors + 24, width: 8)
                    }
                },
                prepare: { area in
                    area.request(GuestDisk.Request.read)
                    area.makeAvailable([0], index: 0)
                }),
            HostileCase(
                "the request's header changes while it is served", .anything,
                steps: { program, area in
                    program.loop(50) { program in
                        program.add(1, to: area.availableIndex, width: 2)
                        program.notifyDisk()
                        program.write(UInt64(GuestDisk.Request.write), to: area.header, width: 4)
                        program.write(.max, to: area.header + 8, width: 8)
                        program.write(UInt64(GuestDisk.Request.read), to: area.header, width: 4)
                        program.write(0, to: area.header + 8, width: 8)
                    }
                },
                prepare: { area in
                    area.request(GuestDisk.Request.read)
                    area.makeAvailable([0], index: 0)
                }),
            HostileCase(
                "the device is reset while requests are in flight", .anything,
                steps: { program, area in
                    program.loop(20) { program in
                        program.notifyDisk()
                        program.resetDisk()
                        program.startDisk(area)
                    }
                },
                prepare: { area in
                    area.request(GuestDisk.Request.read)
                    area.makeAvailable([UInt16](repeating: 0, count: Int(area.queueSize)))
                }),
            HostileCase(
                "the queue's size is changed after DRIVER_OK", .answered(0, length: 513),
                steps: { program, _ in
                    for size in [UInt64(0), 1, 2, 3, 256, 32768, 65535, 65536, 0xFFFF_FFFF] {
                        program.write(size, to: GuestDisk.register(GuestDisk.Register.queueSize))
                    }
                    program.notifyDisk()
                },
                prepare: { $0.request(GuestDisk.Request.read) }),
            HostileCase(
                "the queue's addresses are changed after DRIVER_OK", .answered(0, length: 513),
                steps: { program, _ in
                    typealias Register = GuestDisk.Register
                    for register in [Register.queueDescriptors, Register.queueDriver, Register.queueDevice] {
                        program.writeQueueAddress(0xFFFF_FFFF_FFFF_FFF0, to: register)
                    }
                    program.write(1, to: GuestDisk.register(Register.queueReady))
                    program.notifyDisk()
                },
                prepare: { $0.request(GuestDisk.Request.read) }),
            HostileCase(
                "the features are changed after FEATURES_OK", .answered(0, length: 513),
                steps: { program, _ in
                    program.writeFeatures(0)
                    program.writeFeatures(.max)
                    program.notifyDisk()
                },
                prepare: { $0.request(GuestDisk.Request.read) }),
            HostileCase(
                "queues that do not exist are notified", .answered(0, length: 513),
                steps: { program, _ in
                    for queue in [UInt64(1), 2, 31, 32, 255, 256, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF] {
                        program.notifyDisk(queue)
                    }
                    program.notifyDisk()
                },
                prepare: { $0.request(GuestDisk.Request.read) }),
            HostileCase(
                "queues that do not exist are chosen and set up", .answered(0, length: 513),
                steps: { program, area in
                    for queue in [UInt64(1), 0x7FFF_FFFF, 0xFFFF_FFFF] { program.setUpQueue(area, index: queue) }
                    program.sweepRead(GuestDisk.register(GuestDisk.Register.queueSizeMaximum), count: 1, width: 4)
                    program.sweepRead(GuestDisk.register(GuestDisk.Register.queueReady), count: 1, width: 4)
                    program.notifyDisk()
                },
                prepare: { $0.request(GuestDisk.Request.read) }),
            HostileCase(
                "the queue is stopped while requests are in flight, and notified", .anything,
                steps: { program, _ in
                    program.notifyDisk()
                    program.write(0, to: GuestDisk.register(GuestDisk.Register.queueReady))
                    program.loop(20) { $0.notifyDisk() }
                },
                prepare: { area in
                    area.request(GuestDisk.Request.read)
                    area.makeAvailable([UInt16](repeating: 0, count: Int(area.queueSize)))
                }),
            HostileCase(
                "the driver gives up and goes on", .anything,
                steps: { program, area in
                    let status = GuestDisk.register(GuestDisk.Register.status)
                    program.write(GuestDisk.Status.failed | 15, to: status)
                    program.notifyDisk()
                    program.write(15, to: status)
                    program.setUpQueue(area)
                    program.notifyDisk()
                },
                prepare: { $0.request(GuestDisk.Request.read) }),
        ] + setups

    /// Queues that cannot be: the device is started nevertheless, and notified.
    private static let setups: [HostileCase] = [
        setup("a queue of no entries") { $0.write(0, to: GuestDisk.register(GuestDisk.Register.queueSize)) },
        setup("a queue of three entries") { $0.write(3, to: GuestDisk.register(GuestDisk.Register.queueSize)) },
        setup("a queue of more entries than are offered") {
            $0.write(512, to: GuestDisk.register(GuestDisk.Register.queueSize))
        },
        setup("a queue of 65536 entries") { $0.write(0x1_0000, to: GuestDisk.register(GuestDisk.Register.queueSize)) },
        setup("a descriptor table outside of memory") {
            $0.writeQueueAddress(ControlledMachine.memorySize.bytes, to: GuestDisk.Register.queueDescriptors)
        },
        setup("a descriptor table whose last entry is outside of memory") {
            $0.writeQueueAddress(ControlledMachine.memorySize.bytes - 15 * 16, to: GuestDisk.Register.queueDescriptors)
        },
        setup("a descriptor table that is not aligned") {
            $0.writeQueueAddress(TinyKernel.data + 8, to: GuestDisk.Register.queueDescriptors)
        },
        setup("a descriptor table at the end of the address space") {
            $0.writeQueueAddress(0 &- 16, to: GuestDisk.Register.queueDescriptors)
        },
        setup("an available ring that wraps around the address space") {
            $0.writeQueueAddress(0 &- 2, to: GuestDisk.Register.queueDriver)
        },
        setup("an available ring in the device's registers") {
            $0.writeQueueAddress(GuestDisk.base, to: GuestDisk.Register.queueDriver)
        },
        setup("a used ring in the gap for devices") {
            $0.writeQueueAddress(0xC000_0000, to: GuestDisk.Register.queueDevice)
        },
        setup("a used ring that is not aligned") {
            $0.writeQueueAddress(TinyKernel.data + 2, to: GuestDisk.Register.queueDevice)
        },
        HostileCase(
            "DRIVER_OK without features, and without a queue",
            start: { program, _ in
                let status = GuestDisk.register(GuestDisk.Register.status)
                for value in [4, 12, 15, 5, 7, 1, 3, 0xFF, 0xFFFF_FFFF, 1, 3, 11, 15] as [UInt64] {
                    program.write(value, to: status)
                    program.notifyDisk()
                }
            }),
        HostileCase(
            "features that were not offered are refused",
            start: { program, _ in
                let status = GuestDisk.register(GuestDisk.Register.status)
                program.resetDisk()
                program.write(3, to: status)
                program.writeFeatures(.max)
                program.write(11, to: status)
                // FEATURES_OK does not stay (virtio 1.2, 3.1.1).
                program.wait(for: 3, at: status)
            }),
        HostileCase(
            "a driver from before version 1 is refused",
            start: { program, _ in
                let status = GuestDisk.register(GuestDisk.Register.status)
                program.resetDisk()
                program.write(3, to: status)
                program.writeFeatures(0)
                program.write(11, to: status)
                program.wait(for: 3, at: status)
            }),
    ]

    /// A queue with one setting that is wrong.
    private static func setup(
        _ name: String, _ change: @escaping @Sendable (inout GuestProgram) -> Void
    ) -> HostileCase {
        HostileCase(
            name,
            start: { program, area in
                typealias Register = GuestDisk.Register
                program.resetDisk()
                program.negotiate()
                program.setUpQueue(area)
                program.write(0, to: GuestDisk.register(Register.queueReady))
                change(&program)
                program.write(1, to: GuestDisk.register(Register.queueReady))
                program.setDriverOK()
                program.notifyDisk()
            }, outcome: .needsReset)
    }
}
#endif
