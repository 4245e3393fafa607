#if arch(x86_64)
import StratoMemory
import Testing

@testable import StratoPCI

@Suite("PCI configuration by ports")
struct ConfigurationPortsTests {
    private final class Bench {
        let machine: Machine
        let reset = TestRegisters()
        let ports: PCIConfigurationPorts

        init() throws {
            machine = try Machine()
            ports = PCIConfigurationPorts(host: machine.host, resetControl: reset)
            try machine.ports.insert(ports, at: try range(PCIConfigurationPorts.port, PCIConfigurationPorts.portCount))
            try machine.host.rootBus.insert(TestFunction("a", device: 0x1234), device: 3, function: 0)
        }

        func select(_ device: UInt64, _ register: UInt64, function: UInt64 = 0) {
            machine.portOut(0x8000_0000 | device << 11 | function << 8 | register, 0xCF8, 4)
        }
    }

    @Test("an address and a dword of data, as every kernel does it")
    func dword() throws {
        let bench = try Bench()
        bench.select(3, 0)
        #expect(bench.machine.portIn(0xCF8, 4) == 0x8000_1800)
        #expect(bench.machine.portIn(0xCFC, 4) == 0x1234_DEAD)
        bench.select(4, 0)
        #expect(bench.machine.portIn(0xCFC, 4) == 0xFFFF_FFFF)
    }

    @Test("bytes and words of the data are those of the register")
    func narrow() throws {
        let bench = try Bench()
        bench.select(3, 0)
        #expect((0..<4).map { bench.machine.portIn(0xCFC + $0, 1) } == [0xAD, 0xDE, 0x34, 0x12])
        #expect((0..<3).map { bench.machine.portIn(0xCFC + $0, 2) } == [0xDEAD, 0x34DE, 0x1234])
        // Past the last port there is nothing.
        #expect(bench.machine.portIn(0xCFF, 2) == nil)
        #expect(bench.machine.portIn(0xCFD, 4) == nil)
        bench.select(3, 0x3C)
        bench.machine.portOut(0x5A, 0xCFC, 1)
        #expect(bench.machine.portIn(0xCFC, 4) == 0x0000_015A)
        bench.machine.portOut(0xFFFF, 0xCFD, 2)
        #expect(bench.machine.portIn(0xCFC, 4) == 0x0000_015A)
    }

    @Test("without the enable bit, or after a reset, the data ports read as ones")
    func disabled() throws {
        let bench = try Bench()
        bench.machine.portOut(0x1800, 0xCF8, 4)
        #expect(bench.machine.portIn(0xCFC, 4) == 0xFFFF_FFFF)
        #expect(bench.machine.portIn(0xCFD, 1) == 0xFF)
        bench.select(3, 0)
        #expect(bench.ports.selectedAddress == 0x8000_1800)
        bench.ports.reset()
        #expect(bench.machine.portIn(0xCF8, 4) == 0)
        bench.ports.reset(selectedAddress: 0x8000_1800)
        #expect(bench.machine.portIn(0xCFC, 2) == 0xDEAD)
    }

    @Test("reserved bits of the address read as zeros")
    func reserved() throws {
        let bench = try Bench()
        bench.machine.portOut(0xFFFF_FFFF, 0xCF8, 4)
        #expect(bench.machine.portIn(0xCF8, 4) == 0x80FF_FFFC)
    }

    @Test("the probe that Linux makes for mechanism #1 succeeds")
    func linuxProbe() throws {
        let bench = try Bench()
        bench.machine.portOut(0x01, 0xCFB, 1)
        let before = bench.machine.portIn(0xCF8, 4) ?? 1
        bench.machine.portOut(0x8000_0000, 0xCF8, 4)
        #expect(bench.machine.portIn(0xCF8, 4) == 0x8000_0000)
        bench.machine.portOut(before, 0xCF8, 4)
        #expect(bench.machine.portIn(0xCF8, 4) == 0)
    }

    @Test("accesses to the address register that are not 32 bits wide pass by it, and reach reset control at 0xCF9")
    func resetControl() throws {
        let bench = try Bench()
        bench.select(3, 0)
        bench.machine.portOut(0x06, 0xCF9, 1)
        #expect(bench.reset.read(at: 0, width: 1) == 6)
        #expect(bench.machine.portIn(0xCF9, 1) == 6)
        #expect(bench.machine.portIn(0xCF8, 1) == 0xFF)
        #expect(bench.machine.portIn(0xCF8, 2) == 0x06FF)
        bench.machine.portOut(0x0A0B, 0xCF8, 2)
        #expect(bench.reset.read(at: 0, width: 8) == 0x0A)
        // A dword at 0xCFA covers two ports of each.
        #expect(bench.machine.portIn(0xCFA, 4) == 0xDEAD_FFFF)
        #expect(bench.machine.portIn(0xCF8, 4) == 0x8000_1800)
        // A dword at the address is the address, and no reset.
        bench.machine.portOut(0x8000_0600, 0xCF8, 4)
        #expect(bench.reset.read(at: 0, width: 1) == 0x0A)
        let alone = PCIConfigurationPorts(host: bench.machine.host)
        #expect(alone.read(at: 1, width: 1) == 0xFF)
        alone.write(6, at: 1, width: 1)
    }

    @Test("accesses of any width and place never trap, and change the address by dwords only")
    func fuzz() throws {
        let bench = try Bench()
        var random = SeededGenerator(8)
        for _ in 0..<20_000 {
            let offset = UInt64.random(in: 0..<8, using: &random)
            let width = Int.random(in: 1...8, using: &random)
            let before = bench.ports.selectedAddress
            if Bool.random(using: &random) {
                let value = bench.ports.read(at: offset, width: width)
                #expect(width == 8 || value >> UInt64(8 * width) == 0)
            } else {
                bench.ports.write(
                    UInt64.random(in: 0...UInt64.max, using: &random) >> UInt64(64 - 8 * width), at: offset, width: width)
            }
            if offset != 0 || width != 4 { #expect(bench.ports.selectedAddress == before) }
        }
    }
}
#endif
