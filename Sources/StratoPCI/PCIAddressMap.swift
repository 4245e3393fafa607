package import StratoHost
package import StratoMemory
internal import Synchronization

/// What of the functions' ranges the guest reaches, and where: keeps the machine's buses as the guest's settings are.
///
/// A range is on a bus of the machine when its function decodes it, when each bridge above forwards it, when it lies in an
/// aperture of the host bridge, and when nothing else is there. Of two ranges that meet the one that came later is left out,
/// until the other goes; the log says so. Each change works the whole map out anew: a PCI bus has few ranges, and a guest
/// moves them rarely.
///
/// Lock order: a function's, then this, then whatever `onMove` takes.
package final class PCIAddressMap: Sendable {
    package enum Space: Sendable, Hashable {
        case memory, port
    }

    /// A PCI bus: what windows apply to.
    package struct Scope: Sendable, Hashable {
        fileprivate let number: Int
    }

    /// A range that has a place or none.
    package struct Region: Sendable, Hashable {
        fileprivate let number: Int
    }

    /// What a bridge forwards downstream.
    package struct Windows: Sendable, Hashable {
        package var memory: [GuestRange]
        package var ports: [GuestRange]

        package init(memory: [GuestRange] = [], ports: [GuestRange] = []) {
            self.memory = memory
            self.ports = ports
        }

        func contains(_ range: GuestRange, in space: Space) -> Bool {
            (space == .memory ? memory : ports).contains { $0.base <= range.base && range.last <= $0.last }
        }
    }

    private struct Entry {
        let name: String
        let space: Space
        /// Nil for what belongs to the chip set and is decoded before any bus.
        let scope: Scope?
        let device: any BusDevice
        let onMove: (@Sendable (GuestAddress?) -> Void)?
        /// Where the guest wants it; nil while it is not decoded.
        var wanted: GuestRange?
        /// Increases with each change of `wanted`: who was there first stays.
        var turn: UInt64 = 0
        var shown: GuestRange?
        var isHidden = false
    }

    private struct Node {
        let parent: Scope?
        var windows: Windows
    }

    private struct State {
        var buses: (memory: Bus, ports: Bus)?
        var nodes: [Int: Node] = [:]
        var entries: [Int: Entry] = [:]
        var nextNumber = 1
        var turn: UInt64 = 0

        mutating func number() -> Int {
            defer { nextNumber &+= 1 }
            return nextNumber
        }
    }

    /// The bus below the host bridge.
    package let root = Scope(number: 0)

    private let limiter: LogLimiter
    private let state: Mutex<State>

    /// - Parameters:
    ///   - memory: the machine's bus for memory-mapped devices.
    ///   - ports: the machine's bus for ports.
    ///   - apertures: what the host bridge forwards to PCI.
    ///   - logger: told of ranges that cannot be shown.
    package init(memory: Bus, ports: Bus, apertures: Windows, logger: Logger) {
        limiter = LogLimiter(source: "pci", logger: logger)
        var state = State(buses: (memory, ports))
        state.nodes[root.number] = Node(parent: nil, windows: apertures)
        self.state = Mutex(state)
    }

    // MARK: Buses

    /// A bus below a bridge, which forwards nothing yet.
    package func addScope(below parent: Scope) -> Scope {
        state.withLock { state in
            let scope = Scope(number: state.number())
            state.nodes[scope.number] = Node(parent: parent, windows: Windows())
            return scope
        }
    }

    package func removeScope(_ scope: Scope) {
        state.withLock { state in
            guard scope != root else { return }
            state.nodes[scope.number] = nil
            update(&state)
        }
    }

    /// What the bridge above a bus forwards from now on.
    package func setWindows(_ windows: Windows, of scope: Scope) {
        state.withLock { state in
            guard state.nodes[scope.number]?.windows != windows else { return }
            state.nodes[scope.number]?.windows = windows
            update(&state)
        }
    }

    // MARK: Ranges

    /// A range without a place.
    ///
    /// - Parameters:
    ///   - name: stands in the log.
    ///   - space: where it can be.
    ///   - scope: the bus that its function is on; nil for a range that no window applies to.
    ///   - device: what answers there.
    ///   - onMove: as `PCIBaseAddress.onMove`.
    package func addRegion(
        _ name: String, _ space: Space, in scope: Scope?, device: any BusDevice,
        onMove: (@Sendable (GuestAddress?) -> Void)? = nil
    ) -> Region {
        state.withLock { state in
            let region = Region(number: state.number())
            state.entries[region.number] = Entry(name: name, space: space, scope: scope, device: device, onMove: onMove)
            return region
        }
    }

    package func removeRegion(_ region: Region) {
        state.withLock { state in
            guard state.entries[region.number] != nil else { return }
            state.entries[region.number]?.wanted = nil
            update(&state)
            state.entries[region.number] = nil
        }
    }

    /// Where ranges of a function are from now on; nil for one that is not decoded.
    package func place(_ places: [(region: Region, range: GuestRange?)]) {
        state.withLock { state in
            var isChanged = false
            for (region, range) in places {
                guard let entry = state.entries[region.number], entry.wanted != range else { continue }
                state.turn &+= 1
                state.entries[region.number]?.wanted = range
                state.entries[region.number]?.turn = state.turn
                state.entries[region.number]?.isHidden = false
                isChanged = true
            }
            if isChanged { update(&state) }
        }
    }

    /// Where the guest reaches a range, if it does.
    package func shownRange(of region: Region) -> GuestRange? {
        state.withLock { $0.entries[region.number]?.shown }
    }

    /// Takes all ranges off the machine's buses, and lets go of these. The last call.
    package func close() {
        state.withLock { state in
            for number in state.entries.keys { state.entries[number]?.wanted = nil }
            update(&state)
            state.entries = [:]
            state.buses = nil
        }
    }

    // MARK: Working out

    private func update(_ state: inout State) {
        guard let buses = state.buses else { return }
        var targets: [Int: GuestRange] = [:]
        var taken: [(space: Space, range: GuestRange, name: String)] = []
        for (number, entry) in state.entries.sorted(by: { $0.value.turn < $1.value.turn }) {
            guard let wanted = entry.wanted, isForwarded(wanted, entry, state) else { continue }
            if let other = taken.first(where: { $0.space == entry.space && $0.range.overlaps(wanted) }) {
                hide(number, "\(other.name) is at \(other.range)", &state)
                continue
            }
            taken.append((entry.space, wanted, entry.name))
            targets[number] = wanted
        }
        // All that goes is gone before anything comes: a range may take the place that another has just left.
        for (number, entry) in state.entries {
            guard let shown = entry.shown, shown != targets[number] else { continue }
            (entry.space == .memory ? buses.memory : buses.ports).remove(shown)
            state.entries[number]?.shown = nil
            entry.onMove?(nil)
        }
        for (number, target) in targets {
            guard let entry = state.entries[number], state.entries[number]?.shown == nil else { continue }
            do {
                try (entry.space == .memory ? buses.memory : buses.ports).insert(entry.device, at: target)
            } catch {
                hide(number, "\(error)", &state)
                continue
            }
            state.entries[number]?.shown = target
            state.entries[number]?.isHidden = false
            entry.onMove?(target.base)
        }
    }

    private func hide(_ number: Int, _ reason: @autoclosure () -> String, _ state: inout State) {
        guard let entry = state.entries[number], !entry.isHidden, let wanted = entry.wanted else { return }
        state.entries[number]?.isHidden = true
        limiter.log(.warn, "\(entry.name) cannot be at \(wanted): \(reason())")
    }

    private func isForwarded(_ range: GuestRange, _ entry: Entry, _ state: State) -> Bool {
        var next = entry.scope
        while let scope = next {
            // A bus that was taken away forwards nothing.
            guard let node = state.nodes[scope.number], node.windows.contains(range, in: entry.space) else { return false }
            next = node.parent
        }
        return true
    }
}
