internal import StratoVMM

extension CommandLineBuilder {
    /// The place that `bus`, `addr` and `multifunction` name; nil if none of them is there.
    func placement(_ list: PropertyList) throws(CommandLineError) -> PCIPlacement? {
        let bus = try list.text("bus")
        let address = try list.pciAddress("addr")
        let isMultifunction = try list.boolean("multifunction")
        guard bus != nil || address != nil || isMultifunction != nil else { return nil }
        var placement = PCIPlacement(
            bus: bus ?? PCIPlacement.rootBus, device: address?.device, function: address?.function ?? 0)
        placement.isMultifunction = isMultifunction ?? false
        return placement
    }

    mutating func addRootPort(_ list: PropertyList) throws(CommandLineError) {
        var port = PCIRootPortConfiguration(id: try list.requiredText("id"))
        port.number = try list.smallNumber("port", PCIRootPortConfiguration.allowedNumbers)
        if let placement = try placement(list) { port.placement = placement }
        if try list.smallNumber("chassis", 0...255) != nil {
            warnings.append("\(list.label): chassis has no effect; a slot's number is its port's")
        }
        configuration.rootPorts.append(port)
    }
}

extension PropertyList {
    /// `SLOT[.FUNCTION]`, each decimal or hexadecimal with `0x`.
    func pciAddress(_ name: String) throws(CommandLineError) -> (device: Int, function: Int)? {
        guard let value = try text(name) else { return nil }
        let parts = value.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        let numbers = parts.compactMap { PropertyList.number($0) }
        guard numbers.count == parts.count, (1...2).contains(numbers.count), numbers[0] <= 31,
            numbers.count < 2 || numbers[1] <= 7
        else {
            throw error(
                "\(name) must be SLOT or SLOT.FUNCTION, with slots from 0 to 31 (0x1f) and functions from 0 to 7, not "
                    + Spelling.quoted(value))
        }
        return (Int(numbers[0]), numbers.count > 1 ? Int(numbers[1]) : 0)
    }

    /// A number within bounds, decimal or hexadecimal with `0x`.
    func smallNumber(_ name: String, _ range: ClosedRange<Int>) throws(CommandLineError) -> Int? {
        guard let value = try text(name) else { return nil }
        guard let number = PropertyList.number(value.utf8[...]).flatMap(Int.init(exactly:)), range.contains(number) else {
            throw error("\(name) must be a number from \(range.lowerBound) to \(range.upperBound), not \(Spelling.quoted(value))")
        }
        return number
    }

    private static func number(_ text: Substring.UTF8View) -> UInt64? {
        let prefix = text.prefix(2)
        guard prefix.elementsEqual("0x".utf8) || prefix.elementsEqual("0X".utf8) else { return decimal(text) }
        let digits = text.dropFirst(2)
        guard !digits.isEmpty, digits.count <= 8 else { return nil }
        var number: UInt64 = 0
        for byte in digits {
            switch Spelling.lowercased(byte) {
            case let digit where digit >= UInt8(ascii: "0") && digit <= UInt8(ascii: "9"):
                number = number << 4 | UInt64(digit - UInt8(ascii: "0"))
            case let digit where digit >= UInt8(ascii: "a") && digit <= UInt8(ascii: "f"):
                number = number << 4 | UInt64(digit - UInt8(ascii: "a") + 10)
            default:
                return nil
            }
        }
        return number
    }
}
