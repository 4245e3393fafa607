#if arch(x86_64)
import Foundation
import Testing

@testable import StratoVMM

/// A machine that does no harm: for each byte on its serial port it reads a sector of its disk, and answers with a byte.
/// Both interrupts wake it from a halt.
final class Neighbour: Sendable {
    let machine: ControlledMachine
    private let line: Int32

    init() throws {
        var ends: [Int32] = [-1, -1]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        let (near, far) = (ends[0], ends[1])
        defer { close(far) }
        line = near
        var kernel = TinyKernel()
        var area = RingArea(at: TinyKernel.data)
        area.request(GuestDisk.Request.read)
        // Every entry of the ring is the one request, whose head is 0.
        area.makeAvailable([0], index: 0)
        kernel.contents.append((area.base, area.bytes))
        kernel.program.enableInterruptController()
        kernel.program.enableSerialInterrupt()
        kernel.program.startDisk(area)
        kernel.program.loopForever { program in
            program.waitForSerialByte()
            program.write(0, to: area.data, width: 8)
            program.write(UInt64(GuestDisk.Answer.pending), to: area.status, width: 1)
            program.add(1, to: area.availableIndex, width: 2)
            program.notifyDisk()
            program.wait(for: 0, at: area.status, mask: 0xFF, width: 1, isHalted: true)
            program.waitEqual(area.usedIndex, to: area.availableIndex)
            program.wait(for: HostileGuest.sectorMagic, at: area.data, width: 8)
            program.write(
                GuestDisk.Interrupt.usedBuffer, to: GuestDisk.register(GuestDisk.Register.interruptAcknowledge))
            program.portWrite(UInt64(UInt8(ascii: "!")), to: GuestProgram.Port.serial)
        }
        machine = try ControlledMachine(kernel) { configuration, scratch in
            try HostileGuest.addDisk(&configuration, scratch)
            configuration.serialPort = SerialPortConfiguration(backend: .descriptor(far))
        }
        try machine.controller.start()
    }

    deinit {
        machine.end()
        close(line)
    }

    /// Asks the guest for a sign of life, and waits for it; false if none comes in time.
    func answers(seconds: Int32 = 20) -> Bool {
        var byte = UInt8(ascii: "?")
        guard Foundation.write(line, &byte, 1) == 1 else { return false }
        var request = pollfd(fd: line, events: Int16(POLLIN), revents: 0)
        guard poll(&request, 1, seconds * 1000) == 1 else { return false }
        return Foundation.read(line, &byte, 1) == 1 && byte == UInt8(ascii: "!")
    }
}
#endif
