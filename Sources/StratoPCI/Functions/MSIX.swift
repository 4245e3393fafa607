package import StratoHost
package import StratoMemory
internal import Synchronization

/// A function's MSI-X vectors: the table that the guest points at its processors, and the bits of those that wait (PCI Local
/// Bus 3.0, 6.8.2). The registers are to be shown at a base address register of `size` bytes.
///
/// A vector that is masked, by itself, with all others or because the function must not access memory, waits until it is not.
/// The route of a vector follows the table only while the vector is unmasked, as a route is dear to change; masking alone
/// leaves it. Vectors take something from the host only from their first unmasking on, and give it back when MSI-X is
/// disabled or reset.
package final class MSIX: BusDevice {
    /// An entry of the table (6.8.2.6 to 6.8.2.9).
    private enum Entry {
        static let size = 16
        static let addressHigh = 4
        static let data = 8
        static let control = 12
        /// Of the control word; all else is reserved.
        static let masked: UInt8 = 1
        /// Messages are 32-bit words at addresses that are multiples of four (6.8.2.6).
        static let addressLowMask: UInt8 = 0xFC
    }

    private struct Vector {
        var line: (any MessageInterruptLine)?
        var routed: InterruptMessage?
        var isPending = false
    }

    private struct State {
        var table: [UInt8]
        var vectors: [Vector]
        var isEnabled = false
        var isMasked = false
        var isBusMaster = false
        var requester: PCIRequester?
    }

    package let vectorCount: Int
    /// Where the pending bits begin.
    package let pendingOffset: Int
    /// Of the base address register, in bytes.
    package let size: UInt64

    private let controller: any MessageInterruptController
    private let limiter: LogLimiter
    private let enabled = Atomic(false)
    private let state: Mutex<State>

    /// - Parameters:
    ///   - name: of the function, for the log.
    ///   - vectorCount: 1...2048.
    ///   - controller: where the vectors come from.
    ///   - logger: told of vectors that the host refuses.
    /// - Throws: `PCIError` for more vectors than a table has.
    package init(
        _ name: String, vectorCount: Int, controller: any MessageInterruptController, logger: Logger
    ) throws(PCIError) {
        guard (1...MSIXCapability.vectorLimit).contains(vectorCount) else {
            throw PCIError("\(name): MSI-X has 1...\(MSIXCapability.vectorLimit) vectors, not \(vectorCount)")
        }
        self.vectorCount = vectorCount
        self.controller = controller
        limiter = LogLimiter(source: "pci \(name)", logger: logger)
        // Half a page each, or as much as the table needs: pages of other registers stay apart (6.8.2).
        var half = 0x800
        while half < vectorCount * Entry.size { half *= 2 }
        pendingOffset = half
        size = UInt64(half * 2)
        state = Mutex(MSIX.initialState(vectorCount))
    }

    private static func initialState(_ count: Int, requester: PCIRequester? = nil) -> State {
        var table = [UInt8](repeating: 0, count: count * Entry.size)
        for index in 0..<count { table[index * Entry.size + Entry.control] = Entry.masked }
        return State(
            table: table, vectors: Array(repeating: Vector(), count: count), requester: requester)
    }

    // MARK: The function's side

    /// The guest has chosen MSI-X in place of INTx.
    package var isEnabled: Bool { enabled.load(ordering: .acquiring) }

    /// Sends a vector's message, or keeps it until the vector is unmasked. Nothing happens while MSI-X is disabled, and for a
    /// vector that does not exist. From any thread; takes no lock but its own.
    package func notify(_ vector: Int) {
        state.withLock { state in
            guard state.isEnabled, state.vectors.indices.contains(vector) else { return }
            if state.isMasked || !state.isBusMaster || isVectorMasked(vector, state) {
                state.vectors[vector].isPending = true
            } else {
                send(vector, &state)
            }
        }
    }

    /// The capability's control word, and whether the function may access memory.
    func setControl(isEnabled: Bool, isMasked: Bool, isBusMaster: Bool) {
        state.withLock { state in
            let wasEnabled = state.isEnabled
            state.isEnabled = isEnabled
            state.isMasked = isMasked
            state.isBusMaster = isBusMaster
            enabled.store(isEnabled, ordering: .releasing)
            guard isEnabled else {
                if wasEnabled { state.vectors = Array(repeating: Vector(), count: vectorCount) }
                return
            }
            for vector in 0..<vectorCount { refresh(vector, &state) }
        }
    }

    /// Whose messages they are, from now on.
    func setRequester(_ requester: PCIRequester?) {
        state.withLock { $0.requester = requester }
    }

    /// Back to a table of zeros with every vector masked.
    func reset() {
        state.withLock { state in
            state = MSIX.initialState(vectorCount, requester: state.requester)
            enabled.store(false, ordering: .releasing)
        }
    }

    private func isVectorMasked(_ vector: Int, _ state: State) -> Bool {
        state.table[vector * Entry.size + Entry.control] & Entry.masked != 0
    }

    /// Follows a change of the table or of the control word.
    private func refresh(_ vector: Int, _ state: inout State) {
        guard state.isEnabled, !state.isMasked, !isVectorMasked(vector, state) else { return }
        route(vector, &state)
        guard state.vectors[vector].isPending, state.isBusMaster else { return }
        state.vectors[vector].isPending = false
        send(vector, &state)
    }

    private func send(_ vector: Int, _ state: inout State) {
        // A vector that the host refused before may be there by now.
        if state.vectors[vector].routed == nil { route(vector, &state) }
        guard state.vectors[vector].routed != nil else { return }
        state.vectors[vector].line?.pulse()
    }

    private func route(_ vector: Int, _ state: inout State) {
        let message = message(of: vector, state)
        guard state.vectors[vector].routed != message else { return }
        do {
            let line = try state.vectors[vector].line ?? controller.makeLine()
            state.vectors[vector].line = line
            // The vector must not send what was meant for another address if the host refuses the new one.
            state.vectors[vector].routed = nil
            try line.route(to: message)
            state.vectors[vector].routed = message
        } catch {
            limiter.log(.warn, "MSI-X vector \(vector) sends nothing: \(error)")
        }
    }

    private func message(of vector: Int, _ state: State) -> InterruptMessage {
        let entry = vector * Entry.size
        let address = MSIX.load(state.table, entry, 4) | MSIX.load(state.table, entry + Entry.addressHigh, 4) &<< 32
        return InterruptMessage(
            address: address, data: UInt32(truncatingIfNeeded: MSIX.load(state.table, entry + Entry.data, 4)),
            deviceID: state.requester?.identifier ?? 0)
    }

    private static func load(_ bytes: [UInt8], _ offset: Int, _ width: Int) -> UInt64 {
        var value: UInt64 = 0
        for index in 0..<width { value |= UInt64(bytes[offset &+ index]) &<< UInt64(index &* 8) }
        return value
    }

    // MARK: The guest's side

    package func read(at offset: UInt64, width: Int) -> UInt64 {
        state.withLock { state in
            var value: UInt64 = 0
            for index in 0..<min(max(width, 0), 8) {
                value |= UInt64(byte(at: offset &+ UInt64(index), state)) &<< UInt64(index &* 8)
            }
            return value
        }
    }

    private func byte(at offset: UInt64, _ state: State) -> UInt8 {
        if offset < UInt64(state.table.count) { return state.table[Int(offset)] }
        guard offset >= UInt64(pendingOffset), offset &- UInt64(pendingOffset) < UInt64((vectorCount + 7) / 8) else { return 0 }
        let first = Int(offset &- UInt64(pendingOffset)) * 8
        var byte: UInt8 = 0
        for bit in 0..<8 where first + bit < vectorCount && state.vectors[first + bit].isPending { byte |= 1 << UInt8(bit) }
        return byte
    }

    package func write(_ value: UInt64, at offset: UInt64, width: Int) {
        state.withLock { state in
            // Drivers write whole words; an access of another width changes the bytes that it covers. Pending bits are
            // read-only (6.8.2.10).
            var changed: Range<Int>?
            for index in 0..<min(max(width, 0), 8) {
                let position = offset &+ UInt64(index)
                guard position < UInt64(state.table.count) else { break }
                let mask: UInt8
                switch Int(position) % Entry.size {
                case 0: mask = Entry.addressLowMask
                case Entry.control: mask = Entry.masked
                case (Entry.control + 1)...: mask = 0
                default: mask = .max
                }
                state.table[Int(position)] = UInt8(truncatingIfNeeded: value &>> UInt64(index &* 8)) & mask
                let vector = Int(position) / Entry.size
                changed = min(changed?.lowerBound ?? vector, vector)..<(vector + 1)
            }
            for vector in changed ?? 0..<0 { refresh(vector, &state) }
        }
    }

    // MARK: State

    private static let stateVersion: UInt32 = 1

    /// The table and the pending bits. What enables them is in the configuration space.
    package func saveState() -> [UInt8] {
        state.withLock { state in
            var encoder = StateEncoder(version: MSIX.stateVersion)
            encoder.put(state.table)
            encoder.put(state.vectors.map { $0.isPending ? UInt8(1) : 0 })
            return encoder.bytes
        }
    }

    /// Takes over what `saveState` gave: outside data. To be called before the configuration space is restored.
    ///
    /// - Throws: `StateError`, and nothing has changed.
    package func restoreState(_ bytes: [UInt8]) throws(StateError) {
        var decoder = try StateDecoder(bytes, versions: MSIX.stateVersion...MSIX.stateVersion)
        let table = try decoder.take("MSI-X table", atMost: vectorCount * Entry.size)
        let pending = try decoder.take("MSI-X pending bits", atMost: vectorCount)
        guard table.count == vectorCount * Entry.size, pending.count == vectorCount else {
            throw .invalid("number of MSI-X vectors")
        }
        try decoder.finish()
        state.withLock { state in
            let requester = state.requester
            state = MSIX.initialState(vectorCount, requester: requester)
            enabled.store(false, ordering: .releasing)
            for index in table.indices {
                switch index % Entry.size {
                case 0: state.table[index] = table[index] & Entry.addressLowMask
                case Entry.control: state.table[index] = table[index] & Entry.masked
                case (Entry.control + 1)...: break
                default: state.table[index] = table[index]
                }
            }
            for index in pending.indices { state.vectors[index].isPending = pending[index] & 1 != 0 }
        }
    }
}
