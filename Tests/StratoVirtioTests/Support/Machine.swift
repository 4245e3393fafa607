import Foundation
import StratoDisk
import StratoHost
import StratoMemory
import Testing

@testable import StratoVirtio

/// Register offsets as the tests write them, from the specification and not from the sources (virtio 1.2, 4.2.2).
enum Reg {
    static let magic: UInt64 = 0x000
    static let version: UInt64 = 0x004
    static let deviceID: UInt64 = 0x008
    static let vendorID: UInt64 = 0x00C
    static let deviceFeatures: UInt64 = 0x010
    static let deviceFeaturesSel: UInt64 = 0x014
    static let driverFeatures: UInt64 = 0x020
    static let driverFeaturesSel: UInt64 = 0x024
    static let queueSel: UInt64 = 0x030
    static let queueNumMax: UInt64 = 0x034
    static let queueNum: UInt64 = 0x038
    static let queueReady: UInt64 = 0x044
    static let queueNotify: UInt64 = 0x050
    static let interruptStatus: UInt64 = 0x060
    static let interruptACK: UInt64 = 0x064
    static let status: UInt64 = 0x070
    static let queueDescLow: UInt64 = 0x080
    static let queueDescHigh: UInt64 = 0x084
    static let queueDriverLow: UInt64 = 0x090
    static let queueDriverHigh: UInt64 = 0x094
    static let queueDeviceLow: UInt64 = 0x0A0
    static let queueDeviceHigh: UInt64 = 0x0A4
    static let shmLenLow: UInt64 = 0x0B0
    static let shmLenHigh: UInt64 = 0x0B4
    static let configGeneration: UInt64 = 0x0FC
    static let config: UInt64 = 0x100
}

extension VirtioMMIOTransport {
    func get(_ offset: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: read(at: offset, width: 4)) }

    func set(_ offset: UInt64, _ value: UInt32) { write(UInt64(value), at: offset, width: 4) }

    var status: UInt32 { self.get(Reg.status) }

    var offered: UInt64 {
        self.set(Reg.deviceFeaturesSel, 1)
        let high = get(Reg.deviceFeatures)
        self.set(Reg.deviceFeaturesSel, 0)
        return UInt64(high) << 32 | UInt64(get(Reg.deviceFeatures))
    }

    func accept(_ features: UInt64) {
        self.set(Reg.driverFeaturesSel, 1)
        self.set(Reg.driverFeatures, UInt32(truncatingIfNeeded: features >> 32))
        self.set(Reg.driverFeaturesSel, 0)
        self.set(Reg.driverFeatures, UInt32(truncatingIfNeeded: features))
    }

    /// Up to FEATURES_OK, as Linux does it; nil accepts all that is offered.
    func negotiate(_ features: UInt64? = nil) {
        self.set(Reg.status, 0)
        self.set(Reg.status, 1)
        self.set(Reg.status, 3)
        accept(features ?? offered)
        self.set(Reg.status, 11)
    }

    func setUp(_ queue: DriverQueue, at index: UInt32 = 0) {
        self.set(Reg.queueSel, index)
        self.set(Reg.queueNum, UInt32(queue.size))
        self.set(Reg.queueDescLow, UInt32(truncatingIfNeeded: queue.descriptorTable))
        self.set(Reg.queueDescHigh, UInt32(truncatingIfNeeded: queue.descriptorTable >> 32))
        self.set(Reg.queueDriverLow, UInt32(truncatingIfNeeded: queue.availableRing))
        self.set(Reg.queueDriverHigh, UInt32(truncatingIfNeeded: queue.availableRing >> 32))
        self.set(Reg.queueDeviceLow, UInt32(truncatingIfNeeded: queue.usedRing))
        self.set(Reg.queueDeviceHigh, UInt32(truncatingIfNeeded: queue.usedRing >> 32))
        self.set(Reg.queueReady, 1)
    }
}

/// A device that only remembers what it was told.
final class TestDevice: VirtioDevice {
    let name = "test"
    let type = VirtioDeviceType(rawValue: 42)
    let offeredFeatures: VirtioFeatures = [.version1, .eventIndex, .indirectDescriptors, VirtioFeatures(bit: 3)]
    let queueMaximumSizes: [UInt16]
    let kicks: [EventDescriptor]
    let configurationGeneration: UInt32 = 5

    private let lock = NSLock()
    nonisolated(unsafe) private var storedActivation: VirtioActivation?
    nonisolated(unsafe) private var storedCalls: [String] = []
    nonisolated(unsafe) var refusesActivation = false

    init(queueMaximumSizes: [UInt16] = [256, 64]) throws {
        self.queueMaximumSizes = queueMaximumSizes
        kicks = try queueMaximumSizes.map { _ in try EventDescriptor() }
    }

    var activation: VirtioActivation? { lock.withLock { storedActivation } }

    /// The calls that changed something, in order.
    var calls: [String] { lock.withLock { storedCalls } }

    private func note(_ call: String) { lock.withLock { storedCalls.append(call) } }

    func readConfiguration(at offset: Int, width: Int) -> UInt64 { UInt64(offset) << 8 | UInt64(width) }

    func writeConfiguration(_ value: UInt64, at offset: Int, width: Int) { note("config \(offset) \(width) \(value)") }

    func activate(_ activation: VirtioActivation) throws(VirtioError) {
        note("activate")
        if refusesActivation { throw VirtioError("it does not want to") }
        lock.withLock { storedActivation = activation }
    }

    func stopQueue(_ index: Int) { note("stop \(index)") }

    func reset() {
        note("reset")
        lock.withLock { storedActivation = nil }
    }

    func pause() { note("pause") }
    func resume() { note("resume") }
    func shutDown() { note("shutDown") }

    var queuePositions: [QueuePosition?] {
        activation?.queues.map { queue in queue.map { QueuePosition(nextAvailable: $0.layout.size, nextUsed: 7) } }
            ?? queueMaximumSizes.map { _ in nil }
    }

    func saveState() -> [UInt8] { [1, 2, 3] }

    func restoreState(_ bytes: [UInt8]) throws(VirtioError) {
        guard bytes == [1, 2, 3] else { throw VirtioError("not my state") }
    }
}

/// A file in a directory of its own, both gone with the value.
final class ScratchFile {
    let directory: URL
    let path: String

    init(_ contents: [UInt8]) throws {
        directory = FileManager.default.temporaryDirectory.appendingPathComponent("strato-virtio-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        path = directory.appendingPathComponent("disk.img").path
        try Data(contents).write(to: URL(fileURLWithPath: path))
    }

    deinit {
        try? FileManager.default.removeItem(at: directory)
    }

    var contents: [UInt8] {
        get throws { [UInt8](try Data(contentsOf: URL(fileURLWithPath: path))) }
    }
}

private let pool: [UInt8] = {
    var random = SeededGenerator(4711)
    return (0..<(3 << 20)).map { _ in UInt8(truncatingIfNeeded: random.next()) | 1 }
}()

/// Bytes that tell their place and seed, none of them zero.
func pattern(_ count: Int, seed: Int = 0) -> [UInt8] {
    let start = (seed &* 977) & 0xF_FFFF
    return Array(pool[start..<(start + count)])
}

/// Answers what `body` does, trying again for a while as long as it throws: a process that another test starts holds every
/// descriptor of this one, and the locks with them, from its fork to its exec.
func afterForks<Result>(_ body: () throws -> Result) throws -> Result {
    for _ in 0..<500 {
        if let result = try? body() { return result }
        usleep(10_000)
    }
    return try body()
}
