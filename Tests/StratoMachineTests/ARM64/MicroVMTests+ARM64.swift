#if arch(arm64)
import Foundation
import StratoHost
import StratoKVM
import StratoMemory
import Testing

@testable import StratoMachine

@Suite("A microVM's board")
struct MicroVMBoardTests {
    @Test("RAM begins at 1 GiB and is in one piece")
    func memoryRanges() throws {
        let size: UInt64 = 512 << 30
        #expect(try MicroVMBoard.memoryRanges(size) == [try #require(GuestRange(base: GuestAddress(1 << 30), size: size))])
        #expect(throws: MachineError.self) { try MicroVMBoard.memoryRanges(0) }
    }

    @Test("Slots have StratoVirt's addresses and interrupts, by the kind of the device alone")
    func slots() {
        #expect(MicroVM.SlotKind.block.positions == 0..<4)
        #expect(MicroVM.SlotKind.network.positions == 4..<6)
        #expect(MicroVM.SlotKind.other.positions == 6..<160)
        #expect(MicroVMBoard.slot(0) == MicroVMBoard.Slot(base: 0x0A00_0000, interrupt: 32))
        #expect(MicroVMBoard.slot(159) == MicroVMBoard.Slot(base: 0x0A01_3E00, interrupt: 191))
    }

    @Test("Dies are clusters of their socket, as a device tree knows none")
    func layout() {
        let layout = ProcessorLayout(sockets: 2, dies: 3, clusters: 2, cores: 4, threads: 2).visible
        #expect(layout == ProcessorLayout(sockets: 2, dies: 1, clusters: 6, cores: 4, threads: 2))
    }
}

/// Keeps what the guest wrote, and sends when asked to.
private final class Line: CharacterBackend {
    private let written = Monitor<[UInt8]>([])

    func attach(_ receiver: any CharacterReceiver) {}
    func detach() {}
    func write(_ bytes: Span<UInt8>) { written.update { for index in bytes.indices { $0.append(bytes[index]) } } }
    func resumeInput() {}
    var filename: String { "test" }
    var droppedCount: UInt64 { 0 }
    func close() {}

    var text: String { String(decoding: written.read { $0 }, as: UTF8.self) }
    func wait(for count: Int) -> Bool { written.wait(milliseconds: 60_000) { $0.count >= count ? true : nil } ?? false }
}

@Suite("A microVM", .enabled(if: hasKVM, "there is no usable /dev/kvm"), .serialized)
struct MicroVMTests {
    private static let serial: UInt64 = 0x0900_0000
    private static let clock: UInt64 = 0x0901_0000
    private static let distributorControl: UInt64 = 0x0800_0000
    /// Memory behind the kernel.
    private static let marks: UInt64 = 0x4100_0000

    private final class Guest: Sendable {
        let memory: GuestMemory
        let machine: MicroVM
        let line = Line()
        private let requests = Monitor<[GuestRequest]>([])

        init(_ program: ARMProgram, processors: Int = 1) throws {
            let scratch = try Scratch()
            let kernel = try scratch.file("kernel", program.image)
            var description = MicroVM.Description(
                boot: BootSource(kernelPath: kernel, commandLine: "console=ttyAMA0"),
                topology: ProcessorLayout(sockets: 1, cores: processors))
            description.processorCount = processors
            description.serialBackend = line
            memory = try GuestMemory(try MicroVMBoard.memoryRanges(128 << 20))
            let requests = requests
            machine = try MicroVM(description, memory: memory, system: try KVMSystem(), logger: .silent) { request in
                requests.update { $0.append(request) }
            }
        }

        deinit { machine.shutDown() }

        func mark(_ index: UInt64) throws -> UInt32 {
            try memory.load(UInt32.self, at: GuestAddress(MicroVMTests.marks + index * 4))
        }

        func nextRequest() -> GuestRequest? {
            requests.wait(milliseconds: 60_000) { $0.first }.map { first in
                requests.update { _ = $0.removeFirst() }
                return first
            }
        }
    }

    @Test("A kernel gets the device tree's address, talks on the serial port, sees the clock, and ends by SYSTEM_OFF")
    func firstInstructions() throws {
        var program = ARMProgram()
        program.copyDeviceTreeMagic(to: Self.marks)
        program.copy32(from: Self.clock, to: Self.marks + 4)
        for byte in "hello".utf8 { program.write(byte, to: Self.serial) }
        program.call(.systemOff)
        program.stop()
        let guest = try Guest(program)
        try guest.machine.start()
        guest.machine.release()
        #expect(guest.nextRequest() == .powerOff)
        #expect(guest.line.text == "hello")
        // Big-endian in memory.
        #expect(try guest.mark(0) == UInt32(0xD00D_FEED).byteSwapped)
        let now = UInt32(truncatingIfNeeded: Int(Date().timeIntervalSince1970))
        #expect(now &- (try guest.mark(1)) < 600)
    }

    @Test("A reset starts the kernel anew, with the interrupt controller as it was at first")
    func reset() throws {
        var program = ARMProgram()
        // What the distributor says at first, and a change of it.
        program.copy32(from: Self.distributorControl, to: Self.marks)
        program.write32(0x12, to: Self.distributorControl)
        program.copy32(from: Self.distributorControl, to: Self.marks + 4)
        program.increment(Self.marks + 8)
        program.write(UInt8(ascii: "x"), to: Self.serial)
        program.call(.systemReset)
        program.stop()
        let guest = try Guest(program)
        try guest.machine.start()
        guest.machine.release()
        var first: UInt32?
        for round in UInt32(1)...5 {
            #expect(guest.nextRequest() == .reset)
            #expect(try guest.mark(2) == round)
            let before = try guest.mark(0)
            #expect(before & 2 == 0, "group 1 is off after a reset")
            #expect(try guest.mark(1) & 2 != 0)
            first = first ?? before
            #expect(before == first)
            #expect(guest.machine.hold())
            try guest.machine.reset()
            guest.machine.release()
        }
        #expect(guest.line.text.hasPrefix("xxxxx"))
    }

    @Test("Processors wait for CPU_ON, start where they are told to with their argument, and wait again after a reset")
    func secondaryProcessors() throws {
        var program = ARMProgram()
        // The first processor writes the second's code.
        var second = ARMProgram()
        second.write(UInt8(ascii: "2"), to: Self.serial)
        second.increment(Self.marks + 4)
        second.stop()
        let secondPlace = Self.marks + 0x1000
        for (index, word) in second.words.enumerated() { program.write32(word, to: secondPlace + UInt64(index) * 4) }
        program.write32(0, to: Self.marks + 4)
        program.call(.processorOn, 1, secondPlace, 7)
        program.wait(for: Self.marks + 4)
        program.write(UInt8(ascii: "1"), to: Self.serial)
        program.call(.systemReset)
        program.stop()
        let guest = try Guest(program, processors: 2)
        try guest.machine.start()
        guest.machine.release()
        for round in 1...3 {
            #expect(guest.nextRequest() == .reset)
            #expect(guest.line.text.hasSuffix("21"))
            #expect(guest.line.text.utf8.count == 2 * round)
            #expect(guest.machine.hold())
            try guest.machine.reset()
            guest.machine.release()
        }
    }

    @Test("A guest that does not rest is held, stands still, and goes on")
    func holding() throws {
        var program = ARMProgram()
        let start = program.words.count
        program.increment(Self.marks)
        // b back to the increment.
        let distance = UInt32(bitPattern: Int32(start - program.words.count)) & 0x3FF_FFFF
        program.appendBranch(distance)
        let guest = try Guest(program)
        try guest.machine.start()
        guest.machine.release()
        func waitForProgress() throws -> Bool {
            let before = try guest.mark(0)
            var patience = 60_000
            while try guest.mark(0) == before, patience > 0 {
                usleep(1000)
                patience -= 1
            }
            return patience > 0
        }
        #expect(try waitForProgress())
        #expect(guest.machine.hold())
        let held = try guest.mark(0)
        usleep(50_000)
        #expect(try guest.mark(0) == held)
        guest.machine.release()
        #expect(try waitForProgress())
        #expect(!guest.machine.pressPowerButton())
    }

    @Test("More processors than one range of redistributors holds are made, and end", arguments: [1, 123, 124])
    func manyProcessors(_ count: Int) throws {
        var program = ARMProgram()
        program.call(.systemOff)
        program.stop()
        let guest = try Guest(program, processors: count)
        try guest.machine.start()
        guest.machine.release()
        #expect(guest.nextRequest() == .powerOff)
        #expect(guest.machine.processorThreadIDs.count == count)
    }

    @Test("Memory beyond what KVM addresses, and more processors than it runs, are refused in one line")
    func limits() throws {
        let system = try KVMSystem()
        let range = try #require(GuestRange(base: GuestAddress(UInt64(1) << UInt64(system.addressBits)), size: 4096))
        let memory = try GuestMemory([range])
        let error = #expect(throws: KVMError.self) { try KVMVirtualMachine(system: system, memory: memory) }
        #expect(error?.description.hasPrefix("KVM on this host addresses \(system.addressBits) bits") == true)
        let count = system.maximumProcessorCount + 1
        let many = #expect(throws: MachineError.self) { try Guest(ARMProgram(), processors: count) }
        #expect(many?.description.hasPrefix("-smp: KVM on this host runs at most \(count - 1) virtual CPUs") == true)
    }
}
#endif
