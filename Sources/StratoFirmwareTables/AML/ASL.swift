/// A piece of AML byte code.
package protocol AMLTerm: Sendable {
    var bytes: [UInt8] { get }
}

/// The ACPI Source Language as Swift values, each of which holds the byte code that it stands for.
///
/// The terms have the names and the order of operands that ASL gives them (ACPI 6.5, 19.6), so that a table is written as it
/// would be read after disassembly. Code in an extension of this type can leave the prefix out:
///
///     Device("PWRB") {
///         Name("_HID", .eisaID("PNP0C0C"))
///         Name("_UID", 0)
///     }
///
/// Names and paths are constants of the program; a debug build traps on one that ACPI does not allow.
package enum ASL {
    /// Collects the terms of a block.
    @resultBuilder
    package enum TermList {
        package static func buildExpression(_ term: any AMLTerm) -> [UInt8] { term.bytes }
        package static func buildBlock(_ parts: [UInt8]...) -> [UInt8] { parts.flatMap { $0 } }
        package static func buildOptional(_ part: [UInt8]?) -> [UInt8] { part ?? [] }
        package static func buildEither(first part: [UInt8]) -> [UInt8] { part }
        package static func buildEither(second part: [UInt8]) -> [UInt8] { part }
        package static func buildArray(_ parts: [[UInt8]]) -> [UInt8] { parts.flatMap { $0 } }
    }

    /// The byte code of a block of terms: the body of a DSDT or SSDT.
    package static func encode(@TermList _ terms: () -> [UInt8]) -> [UInt8] { terms() }
}
