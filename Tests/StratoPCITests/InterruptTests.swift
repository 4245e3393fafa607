import StratoMemory
import Testing

@testable import StratoPCI

@Suite("INTx")
struct InterruptTests {
    @Test("pins of devices are turned over the four lines as the specification says")
    func routing() {
        for device in 0..<32 {
            for pin in 1...4 as ClosedRange<UInt8> {
                #expect(PCIInterruptRouter.line(pin: pin, device: device) == (device + Int(pin) - 1) % 4)
            }
        }
    }

    @Test("a line is asserted as long as any pin on it is")
    func sharing() throws {
        let machine = try Machine()
        var functions: [TestFunction] = []
        // Devices 1, 5 and 9 share the line of pin A.
        for device in [1, 5, 9] as [UInt8] {
            let function = try TestFunction("f\(device)")
            try machine.host.rootBus.insert(function, device: device)
            functions.append(function)
        }
        let line = machine.lines[1]
        functions[0].core.pin.setPending(true)
        functions[0].core.pin.setPending(true)
        functions[1].core.pin.setPending(true)
        functions[0].core.pin.setPending(false)
        #expect(line.levels == [true])
        functions[2].core.pin.setPending(true)
        functions[1].core.pin.setPending(false)
        functions[2].core.pin.setPending(false)
        functions[2].core.pin.setPending(false)
        #expect(line.levels == [true, false])
        #expect(machine.lines[0].levels.isEmpty && machine.lines[2].levels.isEmpty && machine.lines[3].levels.isEmpty)
    }

    @Test("the disable bit releases the line and leaves the status bit; the line comes back with it")
    func disable() throws {
        let machine = try Machine()
        let function = try TestFunction("f", pin: 3)
        try machine.host.rootBus.insert(function, device: 2)
        let guest = Function(machine: machine, device: 2)
        let line = machine.lines[0]
        #expect(guest.get8(0x3D) == 3)
        #expect(guest.get16(6) & 8 == 0)
        function.core.pin.setPending(true)
        #expect(line.level && guest.get16(6) & 8 != 0)
        guest.setCommand(0x400)
        #expect(!line.level && guest.get16(6) & 8 != 0)
        guest.setCommand(0)
        #expect(line.level)
        // Writing ones to the status register does not clear it.
        guest.set16(6, 0xFFFF)
        #expect(line.level && guest.get16(6) & 8 != 0)
        function.reset()
        #expect(!line.level && guest.get16(6) & 8 == 0)
        #expect(line.levels == [true, false, true, false])
    }

    @Test("MSI-X takes the place of the pin")
    func msixInPlace() throws {
        let machine = try Machine()
        let function = try TestFunction("f", vectors: 1, messages: machine.messages)
        try machine.host.rootBus.insert(function, device: 4)
        let guest = Function(machine: machine, device: 4)
        function.core.pin.setPending(true)
        #expect(machine.lines[0].level)
        try guest.setMSIX(isEnabled: true)
        #expect(!machine.lines[0].level)
        try guest.setMSIX(isEnabled: false)
        #expect(machine.lines[0].level)
    }

    @Test("a function that leaves releases its line, and has it again on another device number")
    func leaving() throws {
        let machine = try Machine()
        let function = try TestFunction("f")
        try machine.host.rootBus.insert(function, device: 1)
        function.core.pin.setPending(true)
        machine.host.rootBus.remove(device: 1)
        #expect(machine.lines[1].levels == [true, false])
        try machine.host.rootBus.insert(function, device: 2)
        #expect(machine.lines[2].levels == [true])
    }

    @Test("a function without a pin, and a router without four lines")
    func none() throws {
        let machine = try Machine()
        let function = try TestFunction("f", pin: 0)
        try machine.host.rootBus.insert(function, device: 1)
        function.core.pin.setPending(true)
        #expect(machine.lines.allSatisfy { $0.levels.isEmpty })
        #expect(PCIInterruptPin(9).number == 0)
        #expect(throws: PCIError.self) { try PCIInterruptRouter([TestLine()]) }
    }

    @Test("many threads on shared lines leave them released when all pins are")
    func threads() async throws {
        let machine = try Machine()
        var pins: [PCIInterruptPin] = []
        for device in 0..<16 as Range<UInt8> {
            let function = try TestFunction("f\(device)")
            try machine.host.rootBus.insert(function, device: device + 1)
            pins.append(function.core.pin)
        }
        await withTaskGroup(of: Void.self) { group in
            for pin in pins {
                group.addTask {
                    for round in 0..<2000 { pin.setPending(round % 2 == 0) }
                    pin.setPending(false)
                }
            }
        }
        for line in machine.lines {
            #expect(!line.level)
            // Only changes reach the line.
            for (first, second) in zip(line.levels, line.levels.dropFirst()) { #expect(first != second) }
        }
    }
}
