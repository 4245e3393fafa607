import Testing

@testable import StratoMemory

@Suite struct GuestAddressTests {
    @Test("Adding stops at the end of the address space")
    func advancing() {
        #expect(GuestAddress(0x1000).advanced(by: 0x234) == GuestAddress(0x1234))
        #expect(GuestAddress(.max).advanced(by: 0) == GuestAddress(.max))
        #expect(GuestAddress(.max).advanced(by: 1) == nil)
        #expect(GuestAddress(1).advanced(by: .max) == nil)
        #expect(GuestAddress(1) < GuestAddress(2))
        #expect("\(GuestAddress(0xC000_0000))" == "0xc0000000")
    }

    @Test("A range is never empty and never wraps")
    func ranges() throws {
        #expect(GuestRange(base: GuestAddress(0), size: 0) == nil)
        #expect(GuestRange(base: GuestAddress(1), size: .max) != nil)
        #expect(GuestRange(base: GuestAddress(2), size: .max) == nil)
        #expect(GuestRange(base: GuestAddress(.max), size: 2) == nil)
        let last = try #require(GuestRange(base: GuestAddress(.max), size: 1))
        #expect(last.last == GuestAddress(.max))
        #expect(last.contains(GuestAddress(.max)))
        #expect(!last.contains(GuestAddress(0)))
        #expect("\(last)" == "0xffffffffffffffff...0xffffffffffffffff")
    }

    @Test("Ranges overlap exactly if they share an address")
    func overlaps() throws {
        for firstBase in UInt64(0)..<6 {
            for firstSize in UInt64(1)..<4 {
                for secondBase in UInt64(0)..<6 {
                    for secondSize in UInt64(1)..<4 {
                        let first = try #require(GuestRange(base: GuestAddress(firstBase), size: firstSize))
                        let second = try #require(GuestRange(base: GuestAddress(secondBase), size: secondSize))
                        let shared = (0..<12).contains {
                            first.contains(GuestAddress($0)) && second.contains(GuestAddress($0))
                        }
                        #expect(first.overlaps(second) == shared)
                    }
                }
            }
        }
    }
}
