package import StratoMemory

/// Numbers buses, places every function's ranges and opens the bridges' windows: what firmware does, for a machine that
/// starts a kernel without any.
///
/// Ranges are laid out from the largest alignment to the smallest, each bridge's together, so that the same functions
/// always get the same places. Decoding is switched on; bus mastering is left to drivers.
package struct PCIResourceAssignment: Sendable {
    /// What there is to give away, each inside an aperture of the host bridge.
    package struct Pools: Sendable {
        package var ports: GuestRange?
        /// Below 4 GiB.
        package var memory: GuestRange
        /// For 64-bit prefetchable ranges; nil puts these below 4 GiB too.
        package var prefetchable: GuestRange?

        package init(ports: GuestRange?, memory: GuestRange, prefetchable: GuestRange?) {
            self.ports = ports
            self.memory = memory
            self.prefetchable = prefetchable
        }
    }

    private enum Pool: CaseIterable {
        case ports, memory, prefetchable
    }

    /// Something that wants a place, and knows what to do with it.
    private struct Request {
        let name: String
        let size: UInt64
        let alignment: UInt64
        let apply: (UInt64) -> Void
    }

    /// What a bridge forwards in multiples of (PCI-to-PCI Bridge Architecture 1.2, 3.2.5.6 and 3.2.5.8).
    private enum Granularity {
        static let ports: UInt64 = 1 << 12
        static let memory: UInt64 = 1 << 20
    }

    /// What an empty slot has in reserve for a device that is plugged in later: as much as other firmware leaves.
    private static let slotReserve: UInt64 = 2 << 20
    private static let slotPrefetchableReserve: UInt64 = 32 << 20

    private let pools: Pools

    package init(_ pools: Pools) {
        self.pools = pools
    }

    /// Assigns everything below a host bridge, as it is after power-on. No virtual CPU runs meanwhile.
    ///
    /// - Throws: `PCIError` naming what did not find room; the functions are then to be reset.
    package func assign(to host: PCIHostBridge) throws(PCIError) {
        var lastBus: UInt8 = 0
        let requests = try collect(host.rootBus, &lastBus)
        for pool in Pool.allCases {
            guard let wanted = requests[pool], !wanted.isEmpty else { continue }
            try place(wanted, in: range(of: pool), named: pool)
        }
        enable(host.rootBus)
    }

    private func range(of pool: Pool) -> GuestRange? {
        switch pool {
        case .ports: pools.ports
        case .memory: pools.memory
        case .prefetchable: pools.prefetchable
        }
    }

    private func pool(of kind: PCIBaseAddress.Kind) -> Pool {
        switch kind {
        case .port: .ports
        case .memory64(isPrefetchable: true) where pools.prefetchable != nil: .prefetchable
        // A bridge forwards 64-bit addresses in its prefetchable window alone.
        case .memory64, .memory32: .memory
        }
    }

    // MARK: Collecting

    private func collect(_ bus: PCIBus, _ lastBus: inout UInt8) throws(PCIError) -> [Pool: [Request]] {
        var requests: [Pool: [Request]] = [:]
        for entry in bus.functions {
            let function = entry.object
            for region in function.summary.regions {
                requests[pool(of: region.kind), default: []].append(
                    Request(name: "\(function.name) BAR \(region.index)", size: region.size, alignment: region.size) { address in
                        let offset = PCIRegister.baseAddresses + region.index * 4
                        let isWide = if case .memory64 = region.kind { true } else { false }
                        function.writeConfiguration(address, at: offset, width: isWide ? 8 : 4)
                    })
            }
            guard let bridge = function as? any PCIBridge else { continue }
            for (pool, request) in try collect(behind: bridge, on: bus, &lastBus) {
                requests[pool, default: []].append(request)
            }
        }
        return requests
    }

    /// A bridge's buses and windows: one request for each window that is not empty.
    private func collect(
        behind bridge: any PCIBridge, on bus: PCIBus, _ lastBus: inout UInt8
    ) throws(PCIError) -> [Pool: Request] {
        guard lastBus < .max else { throw PCIError("\(bridge.name): there are no more bus numbers") }
        lastBus += 1
        bridge.writeConfiguration(UInt64(bus.number.value), at: PCIRegister.primaryBus, width: 1)
        bridge.writeConfiguration(UInt64(lastBus), at: PCIRegister.secondaryBus, width: 1)
        let inner = try collect(bridge.secondaryBus, &lastBus)
        bridge.writeConfiguration(UInt64(lastBus), at: PCIRegister.subordinateBus, width: 1)
        var requests: [Pool: Request] = [:]
        for pool in Pool.allCases {
            guard range(of: pool) != nil else {
                close(pool, of: bridge)
                continue
            }
            let layout = try Layout(inner[pool] ?? [])
            let granularity = pool == .ports ? Granularity.ports : Granularity.memory
            let used = try PCIResourceAssignment.aligned(layout.size, to: granularity, for: bridge.name)
            let size = max(used, reserve(pool))
            guard size > 0 else {
                close(pool, of: bridge)
                continue
            }
            requests[pool] = Request(
                name: bridge.name, size: size, alignment: max(granularity, layout.alignment)
            ) { base in
                open(pool, of: bridge, base, base &+ (size &- 1))
                layout.apply(at: base)
            }
        }
        return requests
    }

    private func reserve(_ pool: Pool) -> UInt64 {
        switch pool {
        case .ports: 0
        case .memory: PCIResourceAssignment.slotReserve
        case .prefetchable: PCIResourceAssignment.slotPrefetchableReserve
        }
    }

    // MARK: Placing

    /// Places relative to each other.
    private struct Layout {
        var size: UInt64 = 0
        var alignment: UInt64 = 1
        private var places: [(offset: UInt64, request: Request)] = []

        init(_ requests: [Request]) throws(PCIError) {
            let sorted = requests.enumerated().sorted { left, right in
                left.element.alignment != right.element.alignment
                    ? left.element.alignment > right.element.alignment : left.offset < right.offset
            }
            for (_, request) in sorted {
                let offset = try PCIResourceAssignment.aligned(size, to: request.alignment, for: request.name)
                let end = offset.addingReportingOverflow(request.size)
                guard !end.overflow else { throw PCIError("\(request.name): there is no room for it") }
                places.append((offset, request))
                size = end.partialValue
                alignment = max(alignment, request.alignment)
            }
        }

        /// The first request that does not end inside `limit` bytes.
        func first(beyond limit: UInt64) -> Request? {
            places.first { limit < $0.request.size || $0.offset > limit - $0.request.size }?.request
        }

        func apply(at base: UInt64) {
            for (offset, request) in places { request.apply(base &+ offset) }
        }
    }

    private static func aligned(_ value: UInt64, to alignment: UInt64, for name: String) throws(PCIError) -> UInt64 {
        let sum = value.addingReportingOverflow(alignment - 1)
        guard !sum.overflow else { throw PCIError("\(name): there is no room for it") }
        return sum.partialValue & ~(alignment - 1)
    }

    private func place(_ requests: [Request], in range: GuestRange?, named pool: Pool) throws(PCIError) {
        let layout = try Layout(requests)
        let space = pool == .ports ? "ports" : "memory"
        guard let range else { throw PCIError("\(requests.first?.name ?? ""): the machine has no \(space) for PCI") }
        let base = try PCIResourceAssignment.aligned(range.base.value, to: layout.alignment, for: space)
        let lost = base &- range.base.value
        let room = lost < range.size ? range.size - lost : 0
        if let request = layout.first(beyond: room) {
            throw PCIError("\(request.name): there is no room for its \(request.size) bytes of \(space) in \(range)")
        }
        layout.apply(at: base)
    }

    // MARK: Bridges

    private func open(_ pool: Pool, of bridge: any PCIBridge, _ base: UInt64, _ limit: UInt64) {
        switch pool {
        case .ports:
            bridge.writeConfiguration(base >> 8 & 0xF0, at: PCIRegister.portBase, width: 1)
            bridge.writeConfiguration(limit >> 8 & 0xF0, at: PCIRegister.portLimit, width: 1)
        case .memory:
            bridge.writeConfiguration(base >> 16 & 0xFFF0, at: PCIRegister.memoryBase, width: 2)
            bridge.writeConfiguration(limit >> 16 & 0xFFF0, at: PCIRegister.memoryLimit, width: 2)
        case .prefetchable:
            bridge.writeConfiguration(base >> 16 & 0xFFF0, at: PCIRegister.prefetchableBase, width: 2)
            bridge.writeConfiguration(limit >> 16 & 0xFFF0, at: PCIRegister.prefetchableLimit, width: 2)
            bridge.writeConfiguration(base >> 32, at: PCIRegister.prefetchableBaseHigh, width: 4)
            bridge.writeConfiguration(limit >> 32, at: PCIRegister.prefetchableLimitHigh, width: 4)
        }
    }

    /// A window that ends below its base.
    private func close(_ pool: Pool, of bridge: any PCIBridge) {
        open(pool, of: bridge, pool == .ports ? 0xF000 : 0xFFF0_0000, 0)
    }

    private func enable(_ bus: PCIBus) {
        let decoding: PCICommand = [.portSpace, .memorySpace]
        for entry in bus.functions {
            // Bridges first: what is behind one is reached through it.
            entry.object.writeConfiguration(UInt64(decoding.rawValue), at: PCIRegister.command, width: 2)
            if let bridge = entry.object as? any PCIBridge { enable(bridge.secondaryBus) }
        }
    }
}
