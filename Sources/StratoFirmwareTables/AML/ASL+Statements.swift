extension ASL {
    /// `Store`.
    package struct Store: AMLTerm {
        package let bytes: [UInt8]

        package init(_ source: Value, _ target: Value) {
            bytes = [AMLEncoding.Opcode.store] + source.bytes + target.bytes
        }
    }

    /// `And` with a target: what C writes as `target = left & right`.
    package struct And: AMLTerm {
        package let bytes: [UInt8]

        package init(_ left: Value, _ right: Value, _ target: Value) {
            bytes = [AMLEncoding.Opcode.and] + left.bytes + right.bytes + target.bytes
        }
    }

    /// `Or` with a target: what C writes as `target = left | right`.
    package struct Or: AMLTerm {
        package let bytes: [UInt8]

        package init(_ left: Value, _ right: Value, _ target: Value) {
            bytes = [AMLEncoding.Opcode.or] + left.bytes + right.bytes + target.bytes
        }
    }

    /// `Notify`: tells the driver of a device what happened to it.
    package struct Notify: AMLTerm {
        package let bytes: [UInt8]

        package init(_ object: Value, _ code: Value) {
            bytes = [AMLEncoding.Opcode.notify] + object.bytes + code.bytes
        }
    }

    /// `If`, with what stands in `Else` behind it.
    package struct If: AMLTerm {
        package let bytes: [UInt8]

        package init(_ condition: Value, @TermList _ terms: () -> [UInt8]) {
            bytes = [AMLEncoding.Opcode.if] + AMLEncoding.packaged(condition.bytes + terms())
        }
    }

    /// `Else`, directly behind an `If`.
    package struct Else: AMLTerm {
        package let bytes: [UInt8]

        package init(@TermList _ terms: () -> [UInt8]) {
            bytes = [AMLEncoding.Opcode.else] + AMLEncoding.packaged(terms())
        }
    }

    /// `While`.
    package struct While: AMLTerm {
        package let bytes: [UInt8]

        package init(_ condition: Value, @TermList _ terms: () -> [UInt8]) {
            bytes = [AMLEncoding.Opcode.while] + AMLEncoding.packaged(condition.bytes + terms())
        }
    }

    /// `Return`.
    package struct Return: AMLTerm {
        package let bytes: [UInt8]

        package init(_ value: Value) {
            bytes = [AMLEncoding.Opcode.return] + value.bytes
        }
    }
}
