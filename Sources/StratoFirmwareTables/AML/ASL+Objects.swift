extension ASL {
    /// `Scope`: terms inside an object that exists.
    package struct Scope: AMLTerm {
        package let bytes: [UInt8]

        package init(_ path: String, @TermList _ terms: () -> [UInt8]) {
            bytes = [AMLEncoding.Opcode.scope] + AMLEncoding.packaged(AMLEncoding.path(path) + terms())
        }
    }

    /// `Device`.
    package struct Device: AMLTerm {
        package let bytes: [UInt8]

        package init(_ name: String, @TermList _ terms: () -> [UInt8]) {
            bytes =
                [AMLEncoding.Opcode.extended, AMLEncoding.ExtendedOpcode.device]
                + AMLEncoding.packaged(AMLEncoding.path(name) + terms())
        }
    }

    /// `Name`: an object with a value.
    package struct Name: AMLTerm {
        package let bytes: [UInt8]

        package init(_ name: String, _ value: Value) {
            bytes = [AMLEncoding.Opcode.name] + AMLEncoding.path(name) + value.bytes
        }
    }

    /// `Method`, with 0...7 arguments.
    package struct Method: AMLTerm {
        package let bytes: [UInt8]

        package init(_ name: String, _ argumentCount: UInt8, isSerialized: Bool = false, @TermList _ terms: () -> [UInt8]) {
            assert(argumentCount < 8, "a method has at most seven arguments")
            let flags = argumentCount & 7 | (isSerialized ? 0x08 : 0)
            bytes = [AMLEncoding.Opcode.method] + AMLEncoding.packaged(AMLEncoding.path(name) + [flags] + terms())
        }
    }

    /// `OperationRegion`: registers that fields are cut from.
    package struct OperationRegion: AMLTerm {
        /// ACPI 6.5, 19.6.100.
        package enum Space: UInt8, Sendable {
            case systemMemory = 0
            case systemIO = 1
            case pciConfig = 2
        }

        package let bytes: [UInt8]

        /// `offset` and `length` are in bytes.
        package init(_ name: String, _ space: Space, offset: UInt64, length: UInt64) {
            bytes =
                [AMLEncoding.Opcode.extended, AMLEncoding.ExtendedOpcode.operationRegion] + AMLEncoding.path(name)
                + [space.rawValue] + AMLEncoding.integer(offset) + AMLEncoding.integer(length)
        }
    }

    /// `Field`: names for the bits of a region, first to last.
    package struct Field: AMLTerm {
        /// The width of each access to the region (ACPI 6.5, 19.6.48).
        package enum Access: UInt8, Sendable {
            case any = 0
            case byte = 1
            case word = 2
            case doubleWord = 3
        }

        /// What the bits that are not written become.
        package enum Update: UInt8, Sendable {
            case preserve = 0
            case writeAsOnes = 1
            case writeAsZeros = 2
        }

        /// A named run of bits, or with a nil name a gap.
        package struct Unit: Sendable {
            let name: String?
            let bits: Int

            package static func named(_ name: String, bits: Int) -> Unit { Unit(name: name, bits: bits) }

            package static func gap(bits: Int) -> Unit { Unit(name: nil, bits: bits) }
        }

        package let bytes: [UInt8]

        /// The lock rule is `NoLock`: nothing but the operating system uses our registers.
        package init(_ region: String, _ access: Access, _ update: Update, _ units: [Unit]) {
            var content = AMLEncoding.path(region)
            content.append(access.rawValue | update.rawValue << 5)
            for unit in units {
                content += unit.name.map { AMLEncoding.path($0) } ?? [0]
                content += AMLEncoding.fieldWidth(unit.bits)
            }
            bytes = [AMLEncoding.Opcode.extended, AMLEncoding.ExtendedOpcode.field] + AMLEncoding.packaged(content)
        }
    }

    /// `CreateDWordField`: a name for four bytes of a buffer.
    package struct CreateDWordField: AMLTerm {
        package let bytes: [UInt8]

        /// `offset` is in bytes.
        package init(_ buffer: Value, _ offset: Value, _ name: String) {
            bytes = [AMLEncoding.Opcode.createDoubleWordField] + buffer.bytes + offset.bytes + AMLEncoding.path(name)
        }
    }
}
