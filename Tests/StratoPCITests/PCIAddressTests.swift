import StratoPCI
import Testing

@Suite("PCI addresses")
struct PCIAddressTests {
    @Test("Bus, device and function make up the requester id")
    func requesterID() throws {
        let address = try #require(PCIAddress(bus: 1, device: 31, function: 7))
        #expect(address.requesterID == 0x1FF)
        #expect(address.description == "01:1f.7")
    }

    @Test("A device above 31 and a function above 7 are no address")
    func limits() {
        #expect(PCIAddress(device: 32) == nil)
        #expect(PCIAddress(device: 0, function: 8) == nil)
    }
}
