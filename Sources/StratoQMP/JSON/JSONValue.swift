/// A JSON value (RFC 8259, section 3).
package enum JSONValue: Sendable {
    case null
    case bool(Bool)
    /// A number without fraction and exponent, in the range of `Int64`.
    case integer(Int64)
    /// A number without fraction and exponent above the range of `Int64`; `init(_: UInt64)` makes the right case.
    case unsigned(UInt64)
    /// Every other number. Always finite: JSON has no spelling for the rest.
    case double(Double)
    case string(String)
    case array([JSONValue])
    case object(JSONObject)

    package init(_ number: UInt64) {
        if let number = Int64(exactly: number) {
            self = .integer(number)
        } else {
            self = .unsigned(number)
        }
    }

    package init(_ number: Int) { self = .integer(Int64(number)) }

    package init(_ number: Int32) { self = .integer(Int64(number)) }

    package init(_ number: UInt8) { self = .integer(Int64(number)) }

    package init(_ number: UInt16) { self = .integer(Int64(number)) }

    /// The object without members, which is what a command without a result returns.
    package static let emptyObject = JSONValue.object(JSONObject())

    /// The kind of value in the words of QMP's schema language, for error messages.
    package var kindName: String {
        switch self {
        case .null: "null"
        case .bool: "boolean"
        case .integer, .unsigned: "integer"
        case .double: "number"
        case .string: "string"
        case .array: "array"
        case .object: "object"
        }
    }

    /// The member of that name, nil where there is none or the value is no object.
    package subscript(name: String) -> JSONValue? {
        guard case .object(let object) = self else { return nil }
        return object[name]
    }
}

extension String {
    /// Equality of the bytes: JSON compares names code unit by code unit (RFC 8259, section 8.3), where `==` would take
    /// different spellings of one character as equal.
    func hasSameBytes(as other: String) -> Bool { utf8.elementsEqual(other.utf8) }
}
