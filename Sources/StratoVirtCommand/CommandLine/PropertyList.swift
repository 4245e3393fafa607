/// The value of an option that is made of properties: `class,name=value,flag`.
///
/// Elements are separated by commas; two commas are one comma of the element itself. A property without a value is switched
/// on, if it is of the kind that can be.
struct PropertyList {
    private struct Entry {
        let name: String
        let value: String?
    }

    /// What messages begin with: the option, and the class where there is one.
    private(set) var label: String
    /// The first element where it is a class.
    private(set) var className = ""
    private let option: String
    private var entries: [Entry] = []

    init(_ text: String, option: String, leading: LeadingElement, known: [PropertyDefinition]) throws(CommandLineError) {
        self.option = option
        label = option
        var elements = Self.split(text)[...]
        switch leading {
        case .none:
            break
        case .className:
            guard let first = elements.popFirst() else { return }
            className = first
            label = option + " " + Spelling.clean(first)
        case .valueOf(let name):
            if let first = elements.first, !first.utf8.contains(UInt8(ascii: "=")), !known.contains(where: { $0.name == first }) {
                elements.removeFirst()
                entries.append(Entry(name: name, value: first))
            }
        case .addressOf(let name):
            if let first = elements.popFirst() {
                entries.append(Entry(name: name, value: first))
            }
        }
        for element in elements {
            try append(element)
        }
    }

    /// Splits at single commas; `,,` stands for a comma.
    static func split(_ text: String) -> [String] {
        var elements: [String] = []
        var bytes: [UInt8] = []
        var isAfterComma = false
        for byte in text.utf8 {
            let isComma = byte == UInt8(ascii: ",")
            if isComma, !isAfterComma {
                isAfterComma = true
                continue
            }
            if !isComma, isAfterComma {
                elements.append(String(decoding: bytes, as: UTF8.self))
                bytes.removeAll(keepingCapacity: true)
            }
            isAfterComma = false
            bytes.append(byte)
        }
        elements.append(String(decoding: bytes, as: UTF8.self))
        if isAfterComma { elements.append("") }
        return elements
    }

    private mutating func append(_ element: String) throws(CommandLineError) {
        let name: String
        var value: String?
        if let equals = element.utf8.firstIndex(of: UInt8(ascii: "=")) {
            name = String(element[..<equals])
            value = String(element[element.utf8.index(after: equals)...])
        } else {
            name = element
        }
        guard !name.isEmpty else {
            throw CommandLineError(
                label, "a property without a name; write name=value between commas, and ',,' for a comma itself")
        }
        guard !entries.contains(where: { $0.name == name }) else {
            throw CommandLineError(label, "property \(Spelling.quoted(name)) is given twice; keep one of the two")
        }
        entries.append(Entry(name: name, value: value))
    }

    /// Refuses properties that are not among those known.
    func check(_ known: [PropertyDefinition]) throws(CommandLineError) {
        for entry in entries where !known.contains(where: { $0.name == entry.name }) {
            let names = known.map(\.name)
            let rest = Spelling.suggestion(
                for: entry.name, from: names,
                otherwise: known.isEmpty ? "; it takes none" : "; '\(helpRequest)' lists those there are")
            throw CommandLineError(label, "unknown property \(Spelling.quoted(entry.name))\(rest)")
        }
    }

    private var helpRequest: String { className.isEmpty ? option + " help" : label + ",help" }

    func error(_ message: String) -> CommandLineError { CommandLineError(label, message) }

    /// Begins later messages with a name that tells this list from others of its option.
    mutating func identify(by id: String) { label = option + " " + Spelling.clean(id) }

    // MARK: Values

    func contains(_ name: String) -> Bool { entries.contains { $0.name == name } }

    /// The value as it stands, nil if the property is not there.
    func text(_ name: String) throws(CommandLineError) -> String? {
        guard let entry = entries.first(where: { $0.name == name }) else { return nil }
        guard let value = entry.value, !value.isEmpty else {
            throw error("property '\(name)' needs a value: \(name)=...")
        }
        return value
    }

    func requiredText(_ name: String) throws(CommandLineError) -> String {
        guard let value = try text(name) else {
            throw error("property '\(name)' is missing; add \(name)=...")
        }
        return value
    }

    /// On or off in any of StratoVirt's spellings; a property without a value is on.
    func boolean(_ name: String) throws(CommandLineError) -> Bool? {
        guard let entry = entries.first(where: { $0.name == name }) else { return nil }
        guard let value = entry.value else { return true }
        switch value {
        case "on", "yes", "true", "unmap": return true
        case "off", "no", "false", "ignore": return false
        default: throw error("\(name) must be on or off, not \(Spelling.quoted(value))")
        }
    }

    /// One of a few words, as the value of an enumeration whose raw values they are.
    func choice<Choice: RawRepresentable & CaseIterable>(
        _ name: String, _ type: Choice.Type
    ) throws(CommandLineError) -> Choice? where Choice.RawValue == String {
        guard let value = try text(name) else { return nil }
        guard let choice = Choice(rawValue: value) else {
            throw wrongChoice(name, value, type.allCases.map(\.rawValue))
        }
        return choice
    }

    func wrongChoice(_ name: String, _ value: String, _ known: [String]) -> CommandLineError {
        let rest = Spelling.suggestion(for: value, from: known)
        return error("\(name) must be \(Spelling.alternatives(known)), not \(Spelling.quoted(value))\(rest)")
    }

    /// A decimal number within bounds.
    func integer(_ name: String, _ range: ClosedRange<Int> = 0...Int(Int32.max)) throws(CommandLineError) -> Int? {
        guard let value = try text(name) else { return nil }
        guard let number = Self.decimal(value.utf8[...]), number <= UInt64(Int.max), range.contains(Int(number)) else {
            throw error(
                "\(name) must be a whole number from \(range.lowerBound) to \(range.upperBound), not \(Spelling.quoted(value))")
        }
        return Int(number)
    }

    /// An amount of bytes; a number without a letter counts `unit`.
    func size(_ name: String, unit: UInt64) throws(CommandLineError) -> UInt64? {
        guard let value = try text(name) else { return nil }
        guard let size = Self.size(value, unit: unit) else {
            throw error("\(name) must be a whole number with K, M or G after it, such as 512M, not \(Spelling.quoted(value))")
        }
        return size
    }

    /// Digits alone, nil for anything else and for what 64 bits do not hold.
    static func decimal(_ digits: Substring.UTF8View) -> UInt64? {
        guard !digits.isEmpty else { return nil }
        var number: UInt64 = 0
        for byte in digits {
            guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
            let (product, overflow) = number.multipliedReportingOverflow(by: 10)
            let (sum, carry) = product.addingReportingOverflow(UInt64(byte &- UInt8(ascii: "0")))
            guard !overflow, !carry else { return nil }
            number = sum
        }
        return number
    }

    /// `512`, `512k`, `512M`, `2G`; nil for anything else and for what 64 bits do not hold.
    static func size(_ text: String, unit: UInt64) -> UInt64? {
        var digits = text.utf8[...]
        var factor = unit
        switch digits.last {
        case UInt8(ascii: "k"), UInt8(ascii: "K"): factor = 1 << 10
        case UInt8(ascii: "m"), UInt8(ascii: "M"): factor = 1 << 20
        case UInt8(ascii: "g"), UInt8(ascii: "G"): factor = 1 << 30
        default: return product(digits, factor)
        }
        digits.removeLast()
        return product(digits, factor)
    }

    private static func product(_ digits: Substring.UTF8View, _ factor: UInt64) -> UInt64? {
        guard let number = decimal(digits) else { return nil }
        let (product, overflow) = number.multipliedReportingOverflow(by: factor)
        return overflow ? nil : product
    }
}
