extension ASL {
    /// What can stand as an operand: a constant, a reference, or an expression. An integer or string literal is one too.
    package struct Value: AMLTerm, ExpressibleByIntegerLiteral, ExpressibleByStringLiteral {
        package let bytes: [UInt8]

        private init(_ bytes: [UInt8]) {
            self.bytes = bytes
        }

        package init(integerLiteral value: UInt64) {
            bytes = AMLEncoding.integer(value)
        }

        package init(stringLiteral value: String) {
            bytes = AMLEncoding.string(value)
        }

        // MARK: Constants

        package static func integer(_ value: some UnsignedInteger) -> Value { Value(AMLEncoding.integer(UInt64(value))) }

        package static func string(_ text: String) -> Value { Value(AMLEncoding.string(text)) }

        /// `EisaId`: an id such as `PNP0C0C`.
        package static func eisaID(_ text: String) -> Value {
            Value(AMLEncoding.integer(UInt64(AMLEncoding.eisaIdentifier(text))))
        }

        /// `ToUUID`: what `_DSM` and `_OSC` are called with, as a buffer of 16 bytes.
        package static func uuid(_ text: String) -> Value { buffer(AMLEncoding.universalIdentifier(text)) }

        /// `Buffer`.
        package static func buffer(_ content: [UInt8]) -> Value {
            let size = AMLEncoding.integer(UInt64(content.count))
            return Value([AMLEncoding.Opcode.buffer] + AMLEncoding.packaged(size + content))
        }

        /// `Package`, of at most 255 elements.
        package static func package(_ elements: [Value]) -> Value {
            assert(elements.count <= 255, "a package has at most 255 elements")
            let content = [UInt8(truncatingIfNeeded: elements.count)] + elements.flatMap(\.bytes)
            return Value([AMLEncoding.Opcode.package] + AMLEncoding.packaged(content))
        }

        /// `ResourceTemplate`: descriptors and their end tag in a buffer (ACPI 6.5, 6.4).
        package static func resourceTemplate(@TermList _ descriptors: () -> [UInt8]) -> Value {
            // A zero in place of the checksum means that there is none (6.4.2.9).
            buffer(descriptors() + [ResourceTag.end, 0])
        }

        // MARK: References

        /// A named object.
        package static func name(_ path: String) -> Value { Value(AMLEncoding.path(path)) }

        /// `Local0`...`Local7`.
        package static func local(_ number: UInt8) -> Value {
            assert(number < 8, "a method has eight local variables")
            return Value([AMLEncoding.Opcode.local0 &+ (number & 7)])
        }

        /// `Arg0`...`Arg6`.
        package static func argument(_ number: UInt8) -> Value {
            assert(number < 7, "a method has seven arguments")
            return Value([AMLEncoding.Opcode.argument0 &+ min(number, 6)])
        }

        // MARK: Expressions, whose result is not stored

        package static func add(_ left: Value, _ right: Value) -> Value { binary(AMLEncoding.Opcode.add, left, right) }

        package static func subtract(_ left: Value, _ right: Value) -> Value {
            binary(AMLEncoding.Opcode.subtract, left, right)
        }

        package static func and(_ left: Value, _ right: Value) -> Value { binary(AMLEncoding.Opcode.and, left, right) }

        package static func or(_ left: Value, _ right: Value) -> Value { binary(AMLEncoding.Opcode.or, left, right) }

        package static func shiftLeft(_ value: Value, _ count: Value) -> Value {
            binary(AMLEncoding.Opcode.shiftLeft, value, count)
        }

        package static func shiftRight(_ value: Value, _ count: Value) -> Value {
            binary(AMLEncoding.Opcode.shiftRight, value, count)
        }

        /// `LEqual`.
        package static func equal(_ left: Value, _ right: Value) -> Value {
            Value([AMLEncoding.Opcode.logicalEqual] + left.bytes + right.bytes)
        }

        /// `LNotEqual`.
        package static func notEqual(_ left: Value, _ right: Value) -> Value { not(equal(left, right)) }

        /// `LGreater`.
        package static func greater(_ left: Value, _ right: Value) -> Value {
            Value([AMLEncoding.Opcode.logicalGreater] + left.bytes + right.bytes)
        }

        /// `LLess`.
        package static func less(_ left: Value, _ right: Value) -> Value {
            Value([AMLEncoding.Opcode.logicalLess] + left.bytes + right.bytes)
        }

        /// `LAnd`.
        package static func both(_ left: Value, _ right: Value) -> Value {
            Value([AMLEncoding.Opcode.logicalAnd] + left.bytes + right.bytes)
        }

        /// `LOr`.
        package static func either(_ left: Value, _ right: Value) -> Value {
            Value([AMLEncoding.Opcode.logicalOr] + left.bytes + right.bytes)
        }

        /// `LNot`.
        package static func not(_ value: Value) -> Value { Value([AMLEncoding.Opcode.logicalNot] + value.bytes) }

        /// The target that follows two operands is the null name: the result is used where the expression stands.
        private static func binary(_ opcode: UInt8, _ left: Value, _ right: Value) -> Value {
            Value([opcode] + left.bytes + right.bytes + [AMLEncoding.Opcode.zero])
        }
    }
}
