/// A flattened device tree (Devicetree Specification 0.4, chapter 5), written down like its source:
///
///     DeviceTree {
///         Property("#address-cells", 2)
///         Node("intc@8000000", phandle: 2) {
///             Property("compatible", "arm,gic-v3")
///             Property("reg", .address(0x800_0000), .size(0x1_0000))
///             Property("interrupt-controller")
///         }
///         Property("interrupt-parent", .phandle(2))
///     }
///
/// Code in an extension of this type can leave the prefix of `Node` and `Property` out.
package struct DeviceTree: Sendable, Equatable {
    /// What refers to a node: 1...0xFFFFFFFE.
    package typealias Phandle = UInt32

    /// A node of the tree, with its properties and the nodes below it.
    package struct Node: Sendable, Equatable {
        package var name: String
        package var phandle: Phandle?
        package var contents: [Item]

        /// - Parameters:
        ///   - name: with the unit address, as in `memory@40000000`.
        ///   - phandle: what properties of other nodes refer to it by.
        ///   - contents: its properties and the nodes below it.
        package init(_ name: String, phandle: Phandle? = nil, @Contents _ contents: () -> [Item] = { [] }) {
            self.name = name
            self.phandle = phandle
            self.contents = contents()
        }
    }

    /// A name and a value.
    package struct Property: Sendable, Equatable {
        package var name: String
        package var values: [Value]

        /// - Parameters:
        ///   - name: of at most 31 characters.
        ///   - values: one behind the other; none makes a property that says something by being there.
        package init(_ name: String, _ values: Value...) {
            self.name = name
            self.values = values
        }

        package init(_ name: String, _ values: [Value]) {
            self.name = name
            self.values = values
        }
    }

    /// A part of a property's value (2.2.4). An integer literal is a cell, a string literal a string.
    package enum Value: Sendable, Equatable, ExpressibleByIntegerLiteral, ExpressibleByStringLiteral {
        /// 32 bits.
        case cell(UInt32)

        /// 64 bits: two cells, the higher first.
        case doubleCell(UInt64)

        /// A cell that refers to a node of this tree.
        case phandle(Phandle)

        /// Text, with a zero byte behind it.
        case string(String)

        case bytes([UInt8])

        package init(integerLiteral value: UInt32) {
            self = .cell(value)
        }

        package init(stringLiteral value: String) {
            self = .string(value)
        }

        /// A 64-bit address, as `reg` has it where `#address-cells` is 2.
        package static func address(_ address: UInt64) -> Value { .doubleCell(address) }

        /// A 64-bit size in bytes, as `reg` has it where `#size-cells` is 2.
        package static func size(_ size: UInt64) -> Value { .doubleCell(size) }
    }

    /// What a node contains.
    package enum Item: Sendable, Equatable {
        case property(Property)
        case node(Node)
    }

    /// Collects what a node contains.
    @resultBuilder
    package enum Contents {
        package static func buildExpression(_ property: Property) -> [Item] { [.property(property)] }
        package static func buildExpression(_ node: Node) -> [Item] { [.node(node)] }
        package static func buildExpression(_ items: [Item]) -> [Item] { items }
        package static func buildBlock(_ parts: [Item]...) -> [Item] { parts.flatMap { $0 } }
        package static func buildOptional(_ part: [Item]?) -> [Item] { part ?? [] }
        package static func buildEither(first part: [Item]) -> [Item] { part }
        package static func buildEither(second part: [Item]) -> [Item] { part }
        package static func buildArray(_ parts: [[Item]]) -> [Item] { parts.flatMap { $0 } }
    }

    /// The node without a name at the top.
    package var root: Node

    /// Memory that must not be used for anything else, beside what nodes reserve (5.3).
    package var reservations: [PhysicalRange]

    /// What the boot processor's node has in `reg`.
    package var bootProcessor: UInt32

    package init(
        reservations: [PhysicalRange] = [], bootProcessor: UInt32 = 0, @Contents _ contents: () -> [Item]
    ) {
        root = Node("", contents)
        self.reservations = reservations
        self.bootProcessor = bootProcessor
    }
}
