#if arch(x86_64)
import StratoVMM

/// A generator whose numbers are the same in each run (Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators").
private struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
        return value ^ value >> 31
    }

    mutating func pick<T>(_ choices: [T]) -> T { choices[Int.random(in: choices.indices, using: &self)] }
}

extension HostileCase {
    private static let seeds: ClosedRange<UInt64> = 1...12

    /// Drivers without any sense, each the same in every run.
    static let random: [HostileCase] = seeds.map(randomRegisters) + seeds.map(randomRings)

    /// Every register in every state of the device (CVE-2026-5747).
    private static func randomRegisters(_ seed: UInt64) -> HostileCase {
        HostileCase(
            "a thousand accesses to registers, of seed \(seed)",
            start: { program, area in
                typealias Register = GuestDisk.Register
                var random = SplitMix(state: seed)
                let registers = Array(stride(from: UInt64(0), to: Register.configuration + 64, by: 4))
                let addresses = [
                    Register.queueDescriptors, Register.queueDriver, Register.queueDevice,
                ]
                let values: [UInt64] = [
                    0, 1, 2, 3, 4, 8, 11, 15, 16, 64, 127, 128, 255, 256, 257, 0x8000, 0x1_0000, 0x7FFF_FFFF, 0xFFFF_FFFF,
                    area.descriptors, area.available, area.used, area.base + 1,
                ]
                for _ in 0..<1000 {
                    switch Int.random(in: 0..<100, using: &random) {
                    case 0..<3: program.startDisk(area)
                    // In the middle of something else this may not be accepted.
                    case 3..<6: program.negotiate(isAwaited: false)
                    case 6..<12: program.setUpQueue(area, index: random.pick([0, 0, 0, 1, .max]))
                    case 12..<20: program.setDriverOK()
                    case 20..<30: program.notifyDisk(random.pick([0, 0, 0, 1, 0xFFFF_FFFF]))
                    case 30..<40:
                        program.writeQueueAddress(
                            random.pick([area.descriptors, area.used, 0xC000_0000, 0 &- 16, random.next() | 1 << 40]),
                            to: random.pick(addresses))
                    case 40..<45: program.write(0, to: GuestDisk.register(Register.status))
                    case 45..<50:
                        let width = random.pick([1, 2, 4, 8])
                        program.sweepRead(GuestDisk.register(random.next() % 0x200), count: 1, width: width)
                    default:
                        program.write(random.pick(values), to: GuestDisk.register(random.pick(registers)))
                    }
                }
            })
    }

    private static func descriptor(_ area: RingArea, _ random: inout SplitMix) -> (UInt64, UInt32, UInt16, UInt16) {
        let address = random.pick([
            area.data, area.data, area.header, area.header, area.status, area.indirect, area.used, area.available,
            ControlledMachine.memorySize.bytes - 1, 0xC000_0000, GuestDisk.base, .max,
            0x200_0000 + random.next() % 0x100_0000, random.next() | 1 << 40,
        ])
        let length = random.pick([0, 1, 1, 16, 16, 48, 64, 512, 512, 513, 4096, UInt32(truncatingIfNeeded: random.next())])
        let next = UInt16.random(in: 0...17, using: &random)
        return (address, length, UInt16.random(in: 0...7, using: &random), next)
    }

    /// Descriptors and rings, also while the device looks at them.
    private static func randomRings(_ seed: UInt64) -> HostileCase {
        HostileCase(
            "random descriptors and rings, of seed \(seed)", .anything,
            steps: { program, area in
                var random = SplitMix(state: seed &+ 1000)
                program.notifyDisk()
                for _ in 0..<60 {
                    let (address, length, flags, next) = descriptor(area, &random)
                    let place = area.descriptors + UInt64.random(in: 0..<16, using: &random) * 16
                    program.write(address, to: place, width: 8)
                    program.write(UInt64(length) | UInt64(flags) << 32 | UInt64(next) << 48, to: place + 8, width: 8)
                    program.add(random.next() % 4, to: area.availableIndex, width: 2)
                    program.notifyDisk()
                    if Int.random(in: 0..<4, using: &random) == 0 { program.startDisk(area, features: .features) }
                }
            },
            prepare: { area in
                var random = SplitMix(state: seed)
                // Sector 0 tells afterwards whether the disk is served, and so is not written to.
                area.requestHeader(random.pick([0, 0, 1, 2, 4, 8, 11, 13]), sector: random.pick([8, 9, 2047, 2048, .max]))
                for index in 0..<16 {
                    let (address, length, flags, next) = descriptor(area, &random)
                    area.descriptor(index, address, length, flags, next: next)
                    let (inner, innerLength, innerFlags, innerNext) = descriptor(area, &random)
                    area.indirectDescriptor(index, inner, innerLength, innerFlags, next: innerNext)
                }
                area.makeAvailable((0..<16).map { _ in UInt16.random(in: 0...16, using: &random) }, index: 0)
            })
    }
}

extension UInt64 {
    /// What the drivers of these cases negotiate.
    fileprivate static var features: UInt64 { GuestDisk.Feature.version1 | GuestDisk.Feature.indirectDescriptors }
}
#endif
