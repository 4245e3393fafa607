import Testing

/// A change that makes a description one that can't be encoded.
struct Refusal<Subject>: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let change: @Sendable (inout Subject) -> Void

    init(_ description: String, _ change: @escaping @Sendable (inout Subject) -> Void) {
        testDescription = description
        self.change = change
    }
}
