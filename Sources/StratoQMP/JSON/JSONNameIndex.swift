/// Finds the place of a name among an object's members while it is parsed, in constant time each, so that a document of
/// nothing but names costs no more than its length. Equal means equal bytes.
struct JSONNameIndex {
    /// Up to here comparing one by one is cheaper than any table.
    private static let smallCount = 16

    /// A power of two of slots, at most half of them taken: the place of a member, or -1.
    private var slots: [Int32] = []

    /// The place of an equal name among the members, or nil; then the name is taken to become the next member.
    mutating func insert(_ name: String, of object: JSONObject) -> Int? {
        let members = object.members
        if members.count < JSONNameIndex.smallCount {
            return members.firstIndex { $0.name.hasSameBytes(as: name) }
        }
        if slots.count < (members.count + 1) * 2 { rebuild(for: members) }
        let slot = findSlot(of: name, in: members)
        if slots[slot] >= 0 { return Int(slots[slot]) }
        slots[slot] = Int32(truncatingIfNeeded: members.count)
        return nil
    }

    private mutating func rebuild(for members: [JSONObject.Member]) {
        slots = [Int32](repeating: -1, count: max(slots.count * 2, JSONNameIndex.smallCount * 4))
        for (index, member) in members.enumerated() {
            slots[findSlot(of: member.name, in: members)] = Int32(truncatingIfNeeded: index)
        }
    }

    /// The slot of an equal name, or the free one where it belongs.
    private func findSlot(of name: String, in members: [JSONObject.Member]) -> Int {
        // The hash is seeded per process, so that nobody can choose names that collide.
        var hasher = Hasher()
        for byte in name.utf8 { hasher.combine(byte) }
        let mask = slots.count &- 1
        var slot = hasher.finalize() & mask
        while slots[slot] >= 0, !members[Int(slots[slot])].name.hasSameBytes(as: name) {
            slot = (slot &+ 1) & mask
        }
        return slot
    }
}
