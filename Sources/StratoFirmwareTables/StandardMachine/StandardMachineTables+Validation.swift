extension StandardMachineTables {
    /// Physical addresses of x86_64 have at most 52 bits (Intel SDM, volume 3, 4.1.4).
    private static let highestAddress: UInt64 = 1 << 52 - 1

    /// Refuses what tables can't say.
    ///
    /// - Returns: an id for the I/O APIC.
    func check() throws(FirmwareTableError) -> UInt8 {
        try checkInterrupts()
        try checkPorts()
        _ = try memoryWindows()
        guard distances.isEmpty || distances.count == nodes.count else {
            throw FirmwareTableError("there are distances of \(distances.count) NUMA nodes, but \(nodes.count) nodes")
        }
        if !nodes.isEmpty {
            try NUMANode.check(nodes, processorCount: apicIDs.count)
        }
        return try ioAPICIdentifier()
    }

    private func ioAPICIdentifier() throws(FirmwareTableError) -> UInt8 {
        guard !apicIDs.isEmpty else { throw FirmwareTableError("a machine needs a processor") }
        var seen: Set<UInt32> = []
        for identifier in apicIDs {
            guard identifier != UInt32.max else {
                throw FirmwareTableError("\(hexadecimal(UInt64(identifier))) is no processor's APIC id: it addresses all")
            }
            guard seen.insert(identifier).inserted else {
                throw FirmwareTableError("two processors have the APIC id \(identifier)")
            }
        }
        guard let identifier = InterruptControllerIdentifier.free(beside: apicIDs) else {
            throw FirmwareTableError("\(apicIDs.count) processors leave no APIC id for the I/O APIC")
        }
        return identifier
    }

    private func checkInterrupts() throws(FirmwareTableError) {
        var owners: [UInt32: String] = [:]
        for pin in StandardMachineTables.linkInterrupts { owners[pin] = "PCI" }
        let devices = [
            ("power management", UInt32(powerManagement.interrupt)),
            ("the event device", eventDevice.interrupt),
            ("the serial port", serialPort?.interrupt),
            ("the clock", clock?.interrupt),
        ]
        for (device, interrupt) in devices {
            guard let interrupt else { continue }
            guard interrupt < StandardMachineTables.interruptCount else {
                throw FirmwareTableError("interrupt \(interrupt) of \(device) is not one of the I/O APIC's 24")
            }
            if let owner = owners.updateValue(device, forKey: interrupt) {
                throw FirmwareTableError("\(owner) and \(device) share interrupt \(interrupt), which is of another kind")
            }
        }
        guard !interruptOverrides.contains(where: { $0.source == powerManagement.interrupt }) else {
            throw FirmwareTableError("interrupt \(powerManagement.interrupt) of power management has an override already")
        }
    }

    private func checkPorts() throws(FirmwareTableError) {
        guard powerManagement.base % UInt16(PowerManagement.size) == 0 else {
            throw FirmwareTableError(
                "power management at port \(hexadecimal(UInt64(powerManagement.base))) is not at a multiple of 128")
        }
        if let events = powerManagement.generalPurposeEvents {
            let end = UInt32(events.offset) + UInt32(events.size)
            guard events.size > 0, events.size % 2 == 0, events.size < 32, end <= UInt32(PowerManagement.size) else {
                throw FirmwareTableError(
                    "general-purpose events take \(events.size) bytes at offset \(events.offset); "
                        + "they need an even number below 32, within the block's 128"
                )
            }
        }
    }

    /// The windows in the order of their addresses, without what configuration space takes.
    func memoryWindows() throws(FirmwareTableError) -> [PhysicalRange] {
        guard windows.count <= StandardMachineTables.highestWindowCount else {
            throw FirmwareTableError(
                "\(windows.count) PCI memory windows are more than \(StandardMachineTables.highestWindowCount)")
        }
        let space = try configurationSpace?.range()
        if let space {
            try StandardMachineTables.checkWidth(space, of: "PCI configuration space")
        }
        let ordered = windows.sorted { $0.base < $1.base }
        var previousLast: UInt64?
        var result: [PhysicalRange] = []
        for window in ordered {
            let last = try StandardMachineTables.checkWidth(window, of: "the PCI memory window")
            if let previousLast, window.base <= previousLast {
                throw FirmwareTableError("the PCI memory window at \(hexadecimal(window.base)) overlaps the one below it")
            }
            previousLast = last
            if let space {
                result += try window.removing(space)
            } else {
                result.append(window)
            }
        }
        return result
    }

    @discardableResult
    private static func checkWidth(_ range: PhysicalRange, of subject: String) throws(FirmwareTableError) -> UInt64 {
        let last = try range.last(of: subject)
        guard last <= highestAddress else {
            throw FirmwareTableError("\(subject) at \(hexadecimal(range.base)) ends above 52 bits of address")
        }
        return last
    }
}
