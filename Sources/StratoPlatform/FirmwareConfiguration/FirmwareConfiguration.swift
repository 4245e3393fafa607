package import StratoHost
package import StratoMemory
internal import Synchronization

/// Why an item could not be offered to the firmware.
package struct FirmwareConfigurationError: Error, Equatable, Sendable, CustomStringConvertible {
    package let description: String
}

/// What the machine tells its firmware: numbered items and named files, read through a data register or by DMA (QEMU,
/// docs/specs/fw_cfg.rst). The registers are `FirmwareConfigurationPorts` on a PC and `FirmwareConfigurationRegisters` on ARM.
///
/// Lock order: the device's own lock is not held while a builder or a write handler runs, so that these may take locks of
/// their own; it is held while a `FirmwareSource` is read.
package final class FirmwareConfiguration: Sendable {
    /// The largest item that is held in memory, in bytes.
    package static let maximumItemSize = 16 << 20

    private let memory: GuestMemory
    private let log: LogLimiter
    private let core: Mutex<Core>

    /// - Parameters:
    ///   - memory: what DMA reaches.
    ///   - logger: where failures of the host, and transfers without a place to report to, are told.
    package init(memory: GuestMemory, logger: Logger = .silent) {
        self.memory = memory
        log = LogLimiter(source: "fw_cfg", logger: logger)
        core = Mutex(Core())
    }

    // MARK: Items

    /// Offers bytes under a fixed key; what was there before is replaced.
    ///
    /// - Throws: `FirmwareConfigurationError` for more than `maximumItemSize` bytes, and for a key that the device fills itself.
    package func set(_ key: Key, _ bytes: [UInt8]) throws(FirmwareConfigurationError) {
        try checkSize(bytes.count, "item \(key.rawValue)")
        try core.withLock { core throws(FirmwareConfigurationError) in try core.set(key, .bytes(bytes)) }
    }

    /// Offers a number under a fixed key, little-endian.
    ///
    /// - Throws: as for bytes.
    package func set<Number: FixedWidthInteger & UnsignedInteger>(
        _ key: Key, number: Number
    ) throws(FirmwareConfigurationError) {
        try set(key, (0..<(Number.bitWidth / 8)).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) })
    }

    /// Offers what a source has under a fixed key.
    ///
    /// - Throws: `FirmwareConfigurationError` for a key that the device fills itself.
    package func set(_ key: Key, source: any FirmwareSource) throws(FirmwareConfigurationError) {
        try core.withLock { core throws(FirmwareConfigurationError) in try core.set(key, .source(source)) }
    }

    /// Offers a named file.
    ///
    /// - Throws: `FirmwareConfigurationError` for a name that is taken, empty, not ASCII or longer than 55 bytes; for more than
    ///   `maximumItemSize` bytes.
    package func addFile(_ name: String, _ bytes: [UInt8]) throws(FirmwareConfigurationError) {
        try checkSize(bytes.count, name)
        try core.withLock { core throws(FirmwareConfigurationError) in try core.add(name, .bytes(bytes)) }
    }

    /// Offers what a source has as a named file.
    ///
    /// - Throws: as for bytes.
    package func addFile(_ name: String, source: any FirmwareSource) throws(FirmwareConfigurationError) {
        try core.withLock { core throws(FirmwareConfigurationError) in try core.add(name, .source(source)) }
    }

    /// Offers files that belong together and are built anew, all of them, whenever the guest selects one of them or the
    /// directory, which tells their sizes.
    ///
    /// - Parameters:
    ///   - names: of the files.
    ///   - build: returns the files' bytes in the order of the names, called on the virtual CPU's thread. A file left out, or
    ///     larger than `maximumItemSize`, is empty, and the log tells.
    /// - Throws: `FirmwareConfigurationError` for names as above.
    package func addBuiltFiles(
        _ names: [String], build: @escaping @Sendable () -> [[UInt8]]
    ) throws(FirmwareConfigurationError) {
        try core.withLock { core throws(FirmwareConfigurationError) in
            try core.addGroup(names, build)
        }
    }

    /// Offers a file that the guest writes, by DMA.
    ///
    /// - Parameters:
    ///   - name: of the file.
    ///   - bytes: what it holds at first and after a reset.
    ///   - onWrite: called on the virtual CPU's thread after each write, with all the file's bytes.
    /// - Throws: as for bytes.
    package func addWritableFile(
        _ name: String, _ bytes: [UInt8], onWrite: @escaping @Sendable ([UInt8]) -> Void
    ) throws(FirmwareConfigurationError) {
        try checkSize(bytes.count, name)
        try core.withLock { core throws(FirmwareConfigurationError) in
            try core.add(name, .writable(bytes, initial: bytes, onWrite))
        }
    }

    private func checkSize(_ count: Int, _ name: String) throws(FirmwareConfigurationError) {
        guard count <= FirmwareConfiguration.maximumItemSize else {
            throw FirmwareConfigurationError(
                description: "fw_cfg: \(name) has \(count) bytes; the limit is \(FirmwareConfiguration.maximumItemSize)")
        }
    }

    // MARK: Registers

    /// What a write to the selector register does.
    func select(_ selector: UInt16) {
        let key = Key(rawValue: selector & ~Key.writeChannel)
        for (index, build) in core.withLock({ $0.groups(neededBy: key) }) {
            let built = build()
            let isComplete = core.withLock { $0.install(built, group: index) }
            if !isComplete {
                log.log(.error, "some of the files that were to be built for item \(key.rawValue) are missing or too large")
            }
        }
        core.withLock { $0.select(key) }
    }

    /// What reads of the data register give: the item's next bytes, the first in the lowest; zeros after its end.
    func readData(width: Int) -> UInt64 {
        let (value, failure) = core.withLock { core in
            var value: UInt64 = 0
            var failure: LinuxError?
            for index in 0..<min(max(width, 0), 8) {
                do throws(LinuxError) {
                    value |= UInt64(try core.nextByte()) << UInt64(8 * index)
                } catch {
                    failure = error
                }
            }
            return (value, failure)
        }
        if let failure { log.log(.error, "\(failure)") }
        return value
    }

    /// What a write to the DMA address register does, of its higher half, its lower or both; a lower half begins a transfer.
    func writeAddress(high: UInt32?, low: UInt32?) {
        let address = core.withLock { core -> GuestAddress? in
            if let high { core.addressHigh = high }
            guard let low else { return nil }
            defer { core.addressHigh = 0 }
            return GuestAddress(UInt64(core.addressHigh) << 32 | UInt64(low))
        }
        if let address { transfer(address) }
    }

    private func transfer(_ address: GuestAddress) {
        guard let descriptor = memory.buffer(at: address, count: Transfer.descriptorSize),
            let rawControl = descriptor.load(UInt32.self, at: 0),
            let rawLength = descriptor.load(UInt32.self, at: Transfer.lengthOffset),
            let rawTarget = descriptor.load(UInt64.self, at: Transfer.addressOffset)
        else {
            log.log(.warn, "no memory for a DMA descriptor at \(address)")
            return
        }
        let control = rawControl.byteSwapped
        let length = rawLength.byteSwapped
        let target = GuestAddress(rawTarget.byteSwapped)
        if control & Transfer.select != 0 {
            select(UInt16(truncatingIfNeeded: control >> Transfer.keyShift))
        }
        var isDone = true
        // Of several operations in one, the first in this order.
        if control & Transfer.read != 0 {
            isDone = read(length, to: target)
        } else if control & Transfer.write != 0 {
            isDone = write(length, from: target)
        } else if control & Transfer.skip != 0 {
            core.withLock { $0.skip(length) }
        }
        descriptor.store((isDone ? 0 : Transfer.error).byteSwapped, at: 0)
    }

    private func read(_ length: UInt32, to target: GuestAddress) -> Bool {
        guard length > 0 else { return true }
        let failure: LinuxError?
        let isDone: Bool
        (isDone, failure) = core.withLock { core in
            do throws(LinuxError) {
                return (try core.read(length, to: target, in: memory), nil)
            } catch {
                return (false, error)
            }
        }
        if let failure { log.log(.error, "\(failure)") }
        return isDone
    }

    private func write(_ length: UInt32, from source: GuestAddress) -> Bool {
        let written = core.withLock { $0.write(length, from: source, in: memory) }
        guard let written else { return false }
        // Before the guest is told that the transfer has ended.
        written.handler(written.bytes)
        return true
    }

    // MARK: State

    /// Selects item 0 and gives writable files their first contents back.
    package func reset() {
        core.withLock { $0.reset() }
    }

    /// The selection, and what has been built or written, as bytes, a version first.
    package func save() -> [UInt8] {
        core.withLock { $0.encoded() }
    }

    /// Goes on from a saved state. The items themselves are the same as they were where it was saved.
    ///
    /// - Throws: `StateError` for anything that `save` of such a device can't have made; nothing has changed then.
    package func restore(_ bytes: [UInt8]) throws(StateError) {
        try core.withLock { core throws(StateError) in try core.restore(bytes) }
    }
}
