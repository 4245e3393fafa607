package import StratoHost
package import StratoMemory
internal import Synchronization

/// A bank of NOR flash chips with Intel's command set, as firmware finds itself and its variables in.
///
/// While the bank shows its array the guest reads and executes from host memory without the device (`FlashMapping`); a command
/// that makes it show anything else takes that mapping away until the array is asked for again. All chips of the bank follow
/// each command together, whichever byte it was written to: firmware writes commands and data a byte at a time.
///
/// What is programmed or erased is in the file before the guest's write has ended, and outlives the host
/// `PFlash.flushDelay` later at most. As in a chip, programming only ever clears bits.
package final class PFlash: BusDevice {
    /// From a change until it is flushed, in milliseconds: one flush then serves the many small writes that make up a variable.
    package static let flushDelay = 100

    package let unit: FlashUnit

    /// The guest addresses of the bank.
    package let range: GuestRange

    /// What the bank holds. The guest's mapping shows this memory; nobody but the device writes to it.
    package let contents: GuestMemory

    private let storage: (any FlashStorage)?
    private let loop: EventLoop?
    private let log: LogLimiter
    private let core: Mutex<Core>

    /// Makes the bank, loads its contents and maps them for the guest.
    ///
    /// - Parameters:
    ///   - unit: what the bank is there for.
    ///   - geometry: the machine's.
    ///   - contents: one region: the bank's guest addresses, as large as what is stored.
    ///   - storage: checked by `FlashUnit.check`; nil for an erased bank whose contents go with the machine.
    ///   - mapping: shows `contents` to the guest.
    ///   - loop: where changes are flushed; without one each change is, before the guest's write ends.
    ///   - logger: where failures of the host are told.
    /// - Throws: `FlashError`.
    package init(
        unit: FlashUnit, geometry: FlashGeometry, contents: GuestMemory, storage: (any FlashStorage)?,
        mapping: any FlashMapping, loop: EventLoop?, logger: Logger = .silent
    ) throws(FlashError) {
        let ranges = contents.ranges
        guard ranges.count == 1, let range = ranges.first, range.size % geometry.sectorSize == 0,
            range.size <= FlashUnit.maximumSize, let array = contents.buffer(at: range.base, count: Int(range.size))
        else { throw FlashError("pflash unit \(unit.rawValue): no flash bank can be laid out as \(ranges)") }
        if let storage {
            try unit.check(storage, geometry: geometry)
            guard storage.size == range.size else {
                throw FlashError("pflash unit \(unit.rawValue): \(storage.name) has \(storage.size) bytes, not \(range.size)")
            }
            do throws(LinuxError) {
                try storage.load(into: contents, at: range.base, count: Int(range.size))
            } catch {
                throw FlashError("pflash unit \(unit.rawValue): read \(storage.name): \(error)")
            }
        } else {
            array.fill(0xFF)
        }
        self.unit = unit
        self.range = range
        self.contents = contents
        self.storage = storage
        self.loop = loop
        log = LogLimiter(source: "pflash unit \(unit.rawValue)", logger: logger)
        core = Mutex(Core(geometry: geometry, array: array, storage: storage, mapping: mapping))
        do throws(LinuxError) {
            try core.withLock { core throws(LinuxError) in try core.map() }
        } catch {
            throw FlashError("pflash unit \(unit.rawValue): map the firmware for the guest: \(error)")
        }
    }

    // MARK: Bus

    package func read(at offset: UInt64, width: Int) -> UInt64 {
        core.withLock { $0.read(offset, width: min(max(width, 0), 8)) }
    }

    package func write(_ value: UInt64, at offset: UInt64, width: Int) {
        let effect = core.withLock { core in
            var effect = Effect()
            core.write(value, offset, width: min(max(width, 0), 8), &effect)
            return effect
        }
        perform(effect)
    }

    private func perform(_ effect: Effect) {
        if let error = effect.failure {
            log.log(.error, "\(storage?.name ?? "no file"): \(error)")
        }
        guard effect.isFlushDue else { return }
        if let loop {
            loop.schedule(afterMilliseconds: PFlash.flushDelay) { [weak self] in self?.flushOrLog() }
        } else {
            flushOrLog()
        }
    }

    // MARK: Storage

    /// Returns when all changes so far outlive the host. To be called when the machine pauses, is saved or ends.
    ///
    /// - Throws: `LinuxError`; the changes count as not flushed then.
    package func flush() throws(LinuxError) {
        guard let storage, core.withLock({ $0.beginFlush() }) else { return }
        do {
            // Outside of the lock, so that the guest goes on; what it changes meanwhile is flushed later.
            try storage.synchronize()
        } catch {
            core.withLock { $0.flushFailed() }
            throw error
        }
    }

    /// As `flush`; a failure is told in the log.
    package func flushOrLog() {
        do throws(LinuxError) {
            try flush()
        } catch {
            log.log(.error, "flush \(storage?.name ?? "no file"): \(error)")
        }
    }

    /// Writes all contents to storage, where they were put by somebody else: memory that came with a saved machine.
    ///
    /// A bank that can't be written is left alone.
    ///
    /// - Throws: `LinuxError`.
    package func writeBackContents() throws(LinuxError) {
        try core.withLock { core throws(LinuxError) in try core.writeBack() }
        try flush()
    }

    // MARK: State

    /// Shows the array again, as after power-on. Contents stay.
    package func reset() {
        let effect = core.withLock { core in
            var effect = Effect()
            core.load(State(), &effect)
            return effect
        }
        perform(effect)
    }

    /// What the chips remember besides their contents, which are `contents`.
    package func save() -> State {
        core.withLock { $0.state }
    }

    /// Goes on from a saved state.
    ///
    /// - Throws: `StateError` where it does not fit this bank; nothing has changed then.
    package func restore(_ state: State) throws(StateError) {
        let effect = try core.withLock { core throws(StateError) in
            try core.check(state)
            var effect = Effect()
            core.load(state, &effect)
            return effect
        }
        perform(effect)
    }
}
