#if arch(x86_64)
import Foundation
import StratoHost
import StratoKVM
import StratoMemory
import StratoVirtio
import Testing

@testable import StratoMachine

@Suite("A microVM's board")
struct MicroVMBoardTests {
    private static let gibibyte: UInt64 = 1 << 30

    private static func range(_ base: UInt64, _ size: UInt64) throws -> GuestRange {
        try #require(GuestRange(base: GuestAddress(base), size: size))
    }

    @Test("RAM leaves the fourth gibibyte to devices, to the byte")
    func memoryRanges() throws {
        let low = 3 * MicroVMBoardTests.gibibyte
        let high = 4 * MicroVMBoardTests.gibibyte
        #expect(try MicroVMBoard.memoryRanges(128 << 20) == [MicroVMBoardTests.range(0, 128 << 20)])
        #expect(try MicroVMBoard.memoryRanges(low) == [MicroVMBoardTests.range(0, low)])
        #expect(
            try MicroVMBoard.memoryRanges(low + 4096) == [
                MicroVMBoardTests.range(0, low), MicroVMBoardTests.range(high, 4096),
            ])
        #expect(
            try MicroVMBoard.memoryRanges(512 * MicroVMBoardTests.gibibyte) == [
                MicroVMBoardTests.range(0, low), MicroVMBoardTests.range(high, 509 * MicroVMBoardTests.gibibyte),
            ])
        #expect(throws: MachineError.self) { try MicroVMBoard.memoryRanges(0) }
    }

    @Test("Slots have StratoVirt's addresses and interrupts, by the kind of the device alone")
    func slots() {
        #expect(MicroVM.SlotKind.block.positions == 0..<4)
        #expect(MicroVM.SlotKind.network.positions == 4..<6)
        #expect(MicroVM.SlotKind.other.positions == 6..<11)
        #expect(MicroVMBoard.slot(0) == MicroVMBoard.Slot(base: 0xF010_0000, interrupt: 5))
        #expect(MicroVMBoard.slot(4) == MicroVMBoard.Slot(base: 0xF010_0800, interrupt: 9))
        #expect(MicroVMBoard.slot(10) == MicroVMBoard.Slot(base: 0xF010_1400, interrupt: 15))
    }

    @Test("Threads are filled first, then cores, clusters, dies and sockets")
    func positions() {
        let layout = ProcessorLayout(sockets: 2, dies: 2, clusters: 2, cores: 2, threads: 2)
        #expect(layout.position(of: 0) == (0, 0, 0, 0, 0))
        #expect(layout.position(of: 1) == (0, 0, 0, 0, 1))
        #expect(layout.position(of: 2) == (0, 0, 0, 1, 0))
        #expect(layout.position(of: 4) == (0, 0, 1, 0, 0))
        #expect(layout.position(of: 8) == (0, 1, 0, 0, 0))
        #expect(layout.position(of: 31) == (1, 1, 1, 1, 1))
    }
}

@Suite("A microVM", .enabled(if: hasKVM, "there is no usable /dev/kvm"), .serialized)
struct MicroVMTests {
    /// A microVM with a stub in the first slot for other devices, which runs a program.
    private final class Guest: Sendable {
        static let slot = UInt64(MicroVMBoard.slot(6).base)
        static let status = slot + 0x70

        let scratch: Scratch
        let memory: GuestMemory
        let device: StubDevice
        let machine: MicroVM
        private let requests = Monitor<[GuestRequest]>([])

        init(_ kernel: TinyKernel, devices: [MicroVM.SlotKind] = []) throws {
            let scratch = try Scratch()
            try kernel.write(to: scratch.file("kernel"))
            let device = try StubDevice()
            var description = MicroVM.Description(
                boot: BootSource(kernelPath: scratch.file("kernel"), commandLine: ""), topology: ProcessorLayout(sockets: 1))
            description.devices = [MicroVM.SlotDevice(kind: .other, device: device)]
            for kind in devices { description.devices.append(MicroVM.SlotDevice(kind: kind, device: try StubDevice())) }
            let memory = try GuestMemory(try MicroVMBoard.memoryRanges(128 << 20))
            let requests = requests
            machine = try MicroVM(description, memory: memory, system: try KVMSystem(), logger: .silent) { request in
                requests.update { $0.append(request) }
            }
            self.scratch = scratch
            self.memory = memory
            self.device = device
        }

        deinit {
            device.setBlocking(false)
            machine.shutDown()
        }

        func value(of result: GuestProgram.Result) throws -> UInt64 {
            try memory.load(UInt64.self, at: GuestAddress(result.address))
        }

        func waitForProgress(of result: GuestProgram.Result) throws -> Bool {
            let before = try value(of: result)
            var patience = 20_000
            while try value(of: result) == before, patience > 0 {
                usleep(1000)
                patience -= 1
            }
            return patience > 0
        }

        func waitForRequest() -> GuestRequest? { requests.wait(milliseconds: 20_000) { $0.first } }
    }

    @Test("A device is told of the machine's holding, going on, reset and end, in this order")
    func deviceLife() throws {
        var kernel = TinyKernel()
        // The steps of the specification to DRIVER_OK, with a queue of 8 entries (virtio 1.2, 3.1.1).
        for value in [0, 1, 3] as [UInt64] { kernel.program.write(value, to: Guest.status) }
        kernel.program.write(1, to: Guest.slot + 0x24)
        kernel.program.write(1, to: Guest.slot + 0x20)
        kernel.program.write(11, to: Guest.status)
        kernel.program.write(8, to: Guest.slot + 0x38)
        for (register, address) in [
            (UInt64(0x80), TinyKernel.data), (0x90, TinyKernel.data + 0x1000), (0xA0, TinyKernel.data + 0x2000),
        ] {
            kernel.program.write(address, to: Guest.slot + register)
        }
        kernel.program.write(1, to: Guest.slot + 0x44)
        kernel.program.write(15, to: Guest.status)
        for _ in 0..<3 { kernel.program.write(0, to: Guest.slot + 0x50) }
        kernel.program.halt()
        let guest = try Guest(kernel)
        let (machine, device) = (guest.machine, guest.device)
        try machine.start()
        #expect(device.calls.isEmpty)
        machine.release()
        #expect(device.wait(for: .activated(queueSize: 8)))
        var request = pollfd(fd: device.kicks[0].number, events: Int16(POLLIN), revents: 0)
        #expect(poll(&request, 1, 20_000) == 1, "the guest's notification reaches the device by its doorbell")
        #expect(machine.hold())
        #expect(machine.hold(), "a held machine stays so")
        try machine.reset()
        machine.release()
        machine.shutDown()
        let calls = device.calls
        #expect(
            calls.prefix(7) == [.resumed, .reset, .activated(queueSize: 8), .paused, .paused, .reset, .resumed], "\(calls)")
        #expect(calls.suffix(2) == [.reset, .shutDown])
    }

    @Test("A machine that cannot be held in time goes on, and can be held later")
    func holdFails() throws {
        var kernel = TinyKernel()
        let counter = kernel.program.newResult()
        kernel.program.write(0, to: Guest.status)
        kernel.program.loopForever { $0.add(1, to: counter.address) }
        let guest = try Guest(kernel)
        guest.device.setBlocking(true)
        try guest.machine.start()
        guest.machine.release()
        #expect(guest.device.waitUntilBlocked())
        #expect(!guest.machine.hold())
        guest.device.setBlocking(false)
        #expect(try guest.waitForProgress(of: counter))
        #expect(guest.machine.hold())
        guest.machine.release()
        #expect(try guest.waitForProgress(of: counter))
    }

    @Test(
        "More devices of a kind than it has slots are refused",
        arguments: [(MicroVM.SlotKind.block, 5), (.network, 3), (.other, 5)])
    func tooManyDevices(_ kind: MicroVM.SlotKind, _ count: Int) {
        // One of the last kind is there already.
        let error = #expect(throws: MachineError.self) {
            try Guest(TinyKernel(), devices: [MicroVM.SlotKind](repeating: kind, count: count))
        }
        #expect(error?.description.contains("room for \(kind.positions.count) devices") == true)
    }

    @Test("Eleven devices are each at the place of their kind")
    func allSlots() throws {
        var kernel = TinyKernel()
        let types = (0..<11).map { kernel.program.read(UInt64(MicroVMBoard.slot($0).base) + 8) }
        let behind = kernel.program.read(UInt64(MicroVMBoard.slot(10).base) + 0x200 + 8)
        kernel.program.powerOff()
        let kinds = MicroVM.SlotKind.allCases.flatMap { kind in
            [MicroVM.SlotKind](repeating: kind, count: kind.positions.count - (kind == .other ? 1 : 0))
        }
        let guest = try Guest(kernel, devices: kinds)
        try guest.machine.start()
        guest.machine.release()
        #expect(guest.waitForRequest() == .powerOff)
        #expect(guest.machine.hold())
        #expect(try types.map { try guest.value(of: $0) } == [UInt64](repeating: 4, count: 11))
        #expect(try guest.value(of: behind) == 0xFFFF_FFFF)
    }

    @Test("The guest that has asked for its end does nothing more")
    func parkedAfterRequest() throws {
        var kernel = TinyKernel()
        let counter = kernel.program.newResult()
        kernel.program.portWrite(0xFE, to: GuestProgram.Port.keyboardCommand)
        kernel.program.loopForever { $0.add(1, to: counter.address) }
        let guest = try Guest(kernel)
        try guest.machine.start()
        guest.machine.release()
        #expect(guest.waitForRequest() == .reset)
        #expect(guest.machine.hold())
        #expect(try guest.value(of: counter) == 0)
    }
}
#endif
