/// The members of a JSON object in their order, with each name once.
///
/// A lookup compares the names one by one: requests and replies have few.
package struct JSONObject: Sendable {
    package struct Member: Sendable {
        package let name: String
        package var value: JSONValue
    }

    package private(set) var members: [Member] = []

    package init() {}

    /// Setting a name that is there replaces its value and keeps its place; a new one comes last; nil takes it out.
    package subscript(name: String) -> JSONValue? {
        get { index(of: name).map { members[$0].value } }
        set {
            switch (index(of: name), newValue) {
            case (let index?, let value?): members[index].value = value
            case (let index?, nil): members.remove(at: index)
            case (nil, let value?): members.append(Member(name: name, value: value))
            case (nil, nil): break
            }
        }
    }

    /// Adds a member whose name is known to be new, without looking for it.
    mutating func append(newName name: String, _ value: JSONValue) {
        members.append(Member(name: name, value: value))
    }

    mutating func replaceValue(at index: Int, by value: JSONValue) {
        members[index].value = value
    }

    private func index(of name: String) -> Int? {
        members.firstIndex { $0.name.hasSameBytes(as: name) }
    }
}

extension JSONObject: ExpressibleByDictionaryLiteral {
    /// The members in the order in which they are written; the last of equal names counts.
    package init(dictionaryLiteral elements: (String, JSONValue)...) {
        self.init()
        for (name, value) in elements { self[name] = value }
    }
}
