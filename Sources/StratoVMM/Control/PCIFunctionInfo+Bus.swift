internal import StratoMemory
internal import StratoPCI

extension PCIFunctionInfo {
    /// Everything on a bus and behind it.
    static func functions(on bus: PCIBus) -> [PCIFunctionInfo] {
        bus.functions.map { entry in
            let summary = entry.object.summary
            let identity = summary.identity
            // The chip set's own functions are no devices of the user's.
            let isDevice = entry.object is any PCIBridge || !summary.regions.isEmpty
            var info = PCIFunctionInfo(
                id: isDevice ? entry.object.name : nil, bus: bus.number.value, device: entry.device, function: entry.function,
                vendorID: identity.vendor, deviceID: identity.device, subsystemVendorID: identity.subsystemVendor,
                subsystemID: identity.subsystem, classCode: UInt16(truncatingIfNeeded: identity.classCode >> 8),
                interruptPin: summary.interruptPin, interruptLine: summary.interruptLine,
                regions: summary.regions.map { Region($0) })
            if let bridge = entry.object as? any PCIBridge, let windows = summary.bridge {
                info.bridge = Bridge(
                    secondaryBus: windows.secondaryBus, subordinateBus: windows.subordinateBus,
                    ports: windows.ports.map { $0.base.value...$0.last.value },
                    memory: windows.memory.map { $0.base.value...$0.last.value },
                    prefetchable: windows.prefetchable.map { $0.base.value...$0.last.value },
                    functions: functions(on: bridge.secondaryBus))
            }
            return info
        }
    }
}

extension PCIFunctionInfo.Region {
    fileprivate init(_ region: PCIFunctionSummary.Region) {
        let (isMemory, is64Bit, isPrefetchable) =
            switch region.kind {
            case .port: (false, false, false)
            case .memory32(let isPrefetchable): (true, false, isPrefetchable)
            case .memory64(let isPrefetchable): (true, true, isPrefetchable)
            }
        self.init(
            index: region.index, isMemory: isMemory, is64Bit: is64Bit, isPrefetchable: isPrefetchable, size: region.size,
            address: region.address?.value)
    }
}
