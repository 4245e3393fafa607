/// Puts the structure block and the strings block of a device tree together (Devicetree Specification 0.4, 5.4 and 5.5).
struct DeviceTreeWriter {
    /// 5.4.1.
    private enum Token {
        static let beginNode: UInt32 = 1
        static let endNode: UInt32 = 2
        static let property: UInt32 = 3
        static let end: UInt32 = 9
    }

    /// 2.2.1 and 2.2.4: of a node's name before the unit address, and of a property's.
    private static let longestName = 31

    /// Deeper than any machine's; a recursive reader is safe with it.
    private static let deepest = 64

    private static let highestPhandle: DeviceTree.Phandle = 0xFFFF_FFFE

    private(set) var structure: [UInt8] = []
    private(set) var strings: [UInt8] = []
    private var stringOffsets: [String: Int] = [:]
    private var phandles: [DeviceTree.Phandle: String] = [:]
    private var references: [(phandle: DeviceTree.Phandle, path: String)] = []
    private var depth = 0

    /// A node and all below it. Properties come first, as the specification wants it.
    ///
    /// - Parameters:
    ///   - node: what to write.
    ///   - path: of the node above, without the last slash.
    /// - Throws: `FirmwareTableError` as `DeviceTree.encode` does.
    mutating func write(_ node: DeviceTree.Node, path: String) throws(FirmwareTableError) {
        let path = depth == 0 ? "" : path + "/" + node.name
        if depth > 0 { try DeviceTreeWriter.checkNodeName(node.name, path: path) }
        guard depth < DeviceTreeWriter.deepest else {
            throw FirmwareTableError("device tree: \(path) is nested too deep")
        }
        depth += 1
        defer { depth -= 1 }
        structure.append(bigEndian: Token.beginNode)
        structure += Array(node.name.utf8) + [0]
        pad()
        var propertyNames: Set<String> = []
        var nodeNames: Set<String> = []
        for case .property(let property) in node.contents {
            guard propertyNames.insert(property.name).inserted else {
                throw FirmwareTableError("device tree: \(path)/ has two properties \(property.name)")
            }
            try write(property, path: path)
        }
        if let phandle = node.phandle {
            guard propertyNames.insert("phandle").inserted else {
                throw FirmwareTableError("device tree: \(path)/ has two properties phandle")
            }
            try define(phandle, path: path)
            try write(DeviceTree.Property("phandle", .cell(phandle)), path: path)
        }
        for case .node(let child) in node.contents {
            guard nodeNames.insert(child.name).inserted else {
                throw FirmwareTableError("device tree: \(path)/ has two nodes \(child.name)")
            }
            try write(child, path: path)
        }
        structure.append(bigEndian: Token.endNode)
    }

    /// Ends the structure block.
    mutating func end() {
        structure.append(bigEndian: Token.end)
    }

    /// - Throws: `FirmwareTableError` if a cell refers to a node that is not in the tree.
    func checkReferences() throws(FirmwareTableError) {
        for reference in references where phandles[reference.phandle] == nil {
            throw FirmwareTableError("device tree: \(reference.path) refers to phandle \(reference.phandle), which no node has")
        }
    }

    private mutating func define(_ phandle: DeviceTree.Phandle, path: String) throws(FirmwareTableError) {
        guard (1...DeviceTreeWriter.highestPhandle).contains(phandle) else {
            throw FirmwareTableError(
                "device tree: \(path)/ has phandle \(phandle); 1 to \(DeviceTreeWriter.highestPhandle) are allowed")
        }
        if let other = phandles.updateValue(path, forKey: phandle) {
            throw FirmwareTableError("device tree: \(other)/ and \(path)/ have the same phandle \(phandle)")
        }
    }

    private mutating func write(_ property: DeviceTree.Property, path: String) throws(FirmwareTableError) {
        let path = path + "/" + property.name
        try DeviceTreeWriter.check(
            property.name, path: path, extra: [UInt8(ascii: ","), UInt8(ascii: "?"), UInt8(ascii: "#")])
        var content: [UInt8] = []
        for value in property.values {
            switch value {
            case .cell(let cell): content.append(bigEndian: cell)
            case .doubleCell(let cell): content.append(bigEndian: cell)
            case .phandle(let phandle):
                references.append((phandle, path))
                content.append(bigEndian: phandle)
            case .string(let text):
                guard !text.utf8.contains(0) else { throw FirmwareTableError("device tree: \(path) has a zero byte in its text") }
                content += Array(text.utf8) + [0]
            case .bytes(let bytes): content += bytes
            }
        }
        guard let size = UInt32(exactly: content.count) else {
            throw FirmwareTableError("device tree: \(path) has \(content.count) bytes, more than 32 bits can count")
        }
        structure.append(bigEndian: Token.property)
        structure.append(bigEndian: size)
        structure.append(bigEndian: UInt32(clamping: offset(of: property.name)))
        structure += content
        pad()
    }

    /// Where a name is in the strings block; one that another ends in shares its bytes.
    private mutating func offset(of name: String) -> Int {
        if let known = stringOffsets[name] { return known }
        let text = Array(name.utf8) + [0]
        var position = strings.startIndex
        while position + text.count <= strings.count, strings[position..<(position + text.count)] != text[...] {
            position += 1
        }
        if position + text.count > strings.count {
            position = strings.count
            strings += text
        }
        stringOffsets[name] = position
        return position
    }

    /// Tokens begin at multiples of 4.
    private mutating func pad() {
        while structure.count % 4 != 0 { structure.append(0) }
    }

    private static func checkNodeName(_ name: String, path: String) throws(FirmwareTableError) {
        let parts = name.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
        for part in parts {
            try check(String(part), path: path, extra: [UInt8(ascii: ",")])
        }
    }

    /// Letters, digits and `._+-`, and what is allowed beside them (tables 2.1 and 2.2).
    private static func check(_ name: String, path: String, extra: [UInt8]) throws(FirmwareTableError) {
        guard (1...longestName).contains(name.utf8.count) else {
            throw FirmwareTableError(
                "device tree: a name in \(path) has \(name.utf8.count) characters; 1 to \(longestName) are allowed")
        }
        let isAllowed: (UInt8) -> Bool = { character in
            switch character {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "+"),
                UInt8(ascii: "-"):
                true
            default: extra.contains(character)
            }
        }
        guard name.utf8.allSatisfy(isAllowed) else {
            throw FirmwareTableError("device tree: a name in \(path) has a character that is not allowed")
        }
    }
}
