#if arch(x86_64)
import Foundation
import StratoHost
import StratoKVM
import StratoMemory
import Testing

@Suite("KVM", .enabled(if: hasKVM, "there is no usable /dev/kvm"), .serialized)
struct KVMMachineTests {
    private typealias Visit = FlatGuest.Visit

    private static let device = FlatGuest.device
    /// Bytes of memory in which guests leave marks.
    private static let mark: UInt64 = 0x1000

    // MARK: The host

    @Test("A device that is not there, and one that is not KVM, are told in one line that says what to do")
    func noKVM() {
        let missing = #expect(throws: KVMError.self) { try KVMSystem(path: "/dev/no-kvm") }
        #expect(missing?.description.hasPrefix("/dev/no-kvm does not exist: load the kvm module") == true)
        let other = #expect(throws: KVMError.self) { try KVMSystem(path: "/dev/null") }
        #expect(other?.description.hasPrefix("/dev/null is not KVM") == true)
        #expect(KVMEnvironment.detect(path: "/dev/no-kvm") == .absent(reason: missing?.description ?? ""))
    }

    @Test("KVM tells its limits, and nothing of capabilities that it does not know")
    func capabilities() throws {
        let system = try KVMSystem()
        #expect(system.maximumProcessorCount >= 1)
        #expect(system.capability(.max) == 0)
        #expect(system.capability(-1) == 0)
        #expect((36...52).contains(try system.supportedIdentification().physicalAddressBits))
    }

    @Test("A number of a virtual CPU that is taken or too large is refused with the number")
    func processorNumbers() throws {
        let guest = try FlatGuest { $0.stop() }
        for number in [0, 1 << 20] {
            let error = #expect(throws: KVMError.self) { try guest.machine.makeProcessor(index: number) }
            #expect(error?.description.hasPrefix("KVM: create virtual CPU \(number): ") == true)
        }
    }

    @Test("Memory at the end of the address space is refused by KVM in one line")
    func memoryOutOfReach() throws {
        let memory = try GuestMemory([try #require(GuestRange(base: GuestAddress(0 &- 4096), size: 4096))])
        let error = #expect(throws: KVMError.self) { try KVMVirtualMachine(system: try KVMSystem(), memory: memory) }
        #expect(error?.description.hasPrefix("KVM: give the guest memory at 0xfffffffffffff000") == true)
    }

    @Test(
        "A model-specific register that KVM does not take is named",
        .enabled(if: refusesUnknownRegisters, "this host's KVM is told to ignore unknown registers"))
    func unknownRegister() throws {
        let guest = try FlatGuest { $0.stop() }
        guest.end()
        let error = #expect(throws: KVMError.self) {
            try guest.processor.setModelSpecificRegisters([(number: 0x10, value: 0), (number: 0xDEAD_BEEF, value: 1)])
        }
        #expect(error?.description == "KVM: virtual CPU 0: MSR 0xdeadbeef was refused")
    }

    // MARK: Exits

    @Test("Port accesses of every width come with their values, and the answers reach the guest")
    func ports() throws {
        let guest = try FlatGuest(answers: 0xA1B2_C3D4) { code in
            code.load(0x1234_5678)
            for width in [1, 2, 4] { code.output(0x10, width: width) }
            for width in [1, 2, 4] {
                code.load(0)
                code.input(0x14, width: width)
                code.output(0x18, width: 4)
            }
            code.stop()
        }
        let expected =
            [
                Visit(exit: .portWrite(port: 0x10, width: 1, count: 1), values: [0x78]),
                Visit(exit: .portWrite(port: 0x10, width: 2, count: 1), values: [0x5678]),
                Visit(exit: .portWrite(port: 0x10, width: 4, count: 1), values: [0x1234_5678]),
            ]
            + [(1, 0xD4), (2, 0xC3D4), (4, 0xA1B2_C3D4)].flatMap { width, value in
                [
                    Visit(exit: .portRead(port: 0x14, width: width, count: 1)),
                    Visit(exit: .portWrite(port: 0x18, width: 4, count: 1), values: [value]),
                ]
            }
        #expect(guest.visits(expected.count) == expected)
    }

    @Test("Strings to and from a port arrive whole and in order, however KVM cuts them")
    func strings() throws {
        let text = Array("Strings are written by the word, and read by the byte. ".utf8)
        let guest = try FlatGuest(answers: 0x5A) { code in
            code.emit(0xFC, 0xBE, addressOf: "text", loadedAt: FlatCode.code)  // cld; mov esi, text
            code.emit(bytes: [0xB9] + UInt32(text.count / 2).littleEndianBytes)  // mov ecx, count
            code.emit(0xBA, 0x10, 0, 0, 0, 0xF3, 0x66, 0x6F)  // mov edx, 0x10; rep outsw
            code.emit(bytes: [0xBF] + UInt32(0x4000).littleEndianBytes + [0xB9, 100, 0, 0, 0])  // mov edi, …; mov ecx, 100
            code.emit(0xF3, 0x6C)  // rep insb
            code.leave(1, at: KVMMachineTests.mark)
            code.stop()
            code.label("text")
            code.emit(bytes: text)
        }
        try #require(try guest.leaves(1, at: KVMMachineTests.mark))
        let visits = guest.visits(1)
        let words = visits.filter { if case .portWrite(port: 0x10, width: 2, _) = $0.exit { true } else { false } }
        #expect(words.flatMap(\.values).flatMap { UInt16($0).littleEndianBytes } == Array(text.prefix(text.count / 2 * 2)))
        #expect(try guest.memory.read(101, at: GuestAddress(0x4000)) == [UInt8](repeating: 0x5A, count: 100) + [0])
    }

    @Test("Accesses to addresses without memory come with width and value, and the answers reach the guest")
    func memoryMapped() throws {
        let guest = try FlatGuest(answers: 0xA1B2_C3D4_E5F6_0718) { code in
            code.load(0x1234_5678)
            for width in [1, 2, 4] { code.write(KVMMachineTests.device + 0x101, width: width) }
            for width in [1, 2, 4] {
                code.load(0)
                code.read(KVMMachineTests.device + 0x203, width: width)
                code.output(0x18, width: 4)
            }
            code.stop()
        }
        let address = KVMMachineTests.device
        let expected =
            [
                Visit(exit: .mmioWrite(address: address + 0x101, width: 1, value: 0x78)),
                Visit(exit: .mmioWrite(address: address + 0x101, width: 2, value: 0x5678)),
                Visit(exit: .mmioWrite(address: address + 0x101, width: 4, value: 0x1234_5678)),
            ]
            + [(1, 0x18), (2, 0x0718), (4, 0xE5F6_0718)].flatMap { width, value in
                [
                    Visit(exit: .mmioRead(address: address + 0x203, width: width)),
                    Visit(exit: .portWrite(port: 0x18, width: 4, count: 1), values: [value]),
                ]
            }
        #expect(guest.visits(expected.count) == expected)
    }

    @Test("The guest sees every region of its memory, and the host what it writes there")
    func regions() throws {
        let guest = try FlatGuest { code in
            code.load(0xCAFE_F00D)
            code.write(0x100F_FFFC, width: 4)
            code.read(0x100F_FFFC, width: 4)
            code.output(0x10, width: 4)
            code.read(0x1010_0000, width: 4)  // behind it
            code.stop()
        }
        #expect(
            guest.visits(2) == [
                Visit(exit: .portWrite(port: 0x10, width: 4, count: 1), values: [0xCAFE_F00D]),
                Visit(exit: .mmioRead(address: 0x1010_0000, width: 4)),
            ])
        #expect(try guest.memory.load(UInt32.self, at: GuestAddress(0x100F_FFFC)) == 0xCAFE_F00D)
    }

    @Test("Data of an exit that there is none of is neither read nor written")
    func dataOutOfRange() throws {
        let guest = try FlatGuest { code in
            code.load(0xFFFF_FFFF)
            code.output(0x10, width: 1)
            code.stop()
        }
        _ = guest.visits(1)
        guest.end()
        for position in [-1, 1, 1000, Int.max, Int.min] {
            #expect(guest.processor.portData(position) == 0)
            guest.processor.setPortData(1, position)
        }
    }

    @Test("The summary of registers says where the guest is")
    func summary() throws {
        let guest = try FlatGuest { $0.stop() }
        let other = try guest.machine.makeProcessor(index: 1)
        try other.setStart(FlatGuest.start)
        let text = other.registerSummary()
        #expect(text.contains("rip=2000 ") && text.contains("rsp=8000 ") && text.contains("cs=8 ") && text.contains("cr3=0 "))
    }

    // MARK: Leaving

    @Test("A request to leave ends a guest that loops, one that halts, and the next run of one that has not begun")
    func leaving() throws {
        for code in [[0xEB, 0xFE], [0xFA, 0xF4, 0xEB, 0xFC], [0xFB, 0xF4, 0xEB, 0xFC]] as [[UInt8]] {
            let guest = try FlatGuest { $0.emit(bytes: code) }
            guest.end()
            #expect(guest.visits(1) == [Visit(exit: .interrupted)])
            #expect(try guest.processor.run() == .interrupted, "the request stands until it is acknowledged")
            guest.processor.acknowledgeExitRequest()
        }
    }

    // MARK: Doorbells and interrupts

    @Test("A doorbell is rung by its value and width alone, and by nothing once it is unbound")
    func doorbells() throws {
        let event = try EventDescriptor()
        let other = try EventDescriptor()
        let any = try EventDescriptor()
        let address = GuestAddress(KVMMachineTests.device + 0x50)
        let guest = try FlatGuest(
            prepare: { machine in
                try machine.bind(event, at: address, width: 4, match: 3)
                try machine.bind(other, at: address, width: 4, match: 4)
                try machine.bind(any, at: GuestAddress(KVMMachineTests.device + 0x60), width: 4, match: nil)
            }
        ) { code in
            code.load(3)
            for _ in 0..<5 { code.write(address.value, width: 4) }
            for width in [1, 2] { code.write(address.value, width: width) }
            code.load(5)
            code.write(address.value, width: 4)
            code.write(KVMMachineTests.device + 0x60, width: 4)
            code.label("wait")
            code.read(KVMMachineTests.mark, width: 1)
            code.emit(0x84, 0xC0)  // test al, al
            code.emit(0x0F, 0x84, to: "wait")
            code.load(3)
            code.write(address.value, width: 4)
            code.stop()
        }
        // What rings nothing is an exit.
        let silent = [
            Visit(exit: .mmioWrite(address: address.value, width: 1, value: 3)),
            Visit(exit: .mmioWrite(address: address.value, width: 2, value: 3)),
            Visit(exit: .mmioWrite(address: address.value, width: 4, value: 5)),
        ]
        #expect(guest.visits(3) == silent)
        var request = pollfd(fd: any.number, events: Int16(POLLIN), revents: 0)
        #expect(poll(&request, 1, 20_000) == 1)
        #expect(event.consume() == 5)
        #expect(other.consume() == 0)
        #expect(any.consume() == 1)
        guest.machine.unbind(event, at: address, width: 4, match: 3)
        guest.machine.unbind(event, at: address, width: 4, match: 3)
        try guest.memory.store(UInt8(1), at: GuestAddress(KVMMachineTests.mark))
        #expect(guest.visits(4) == silent + [Visit(exit: .mmioWrite(address: address.value, width: 4, value: 3))])
        #expect(event.consume() == 0)
    }

    @Test("A doorbell that is bound twice is an error of the second")
    func doorbellTwice() throws {
        let event = try EventDescriptor()
        let guest = try FlatGuest { $0.stop() }
        let address = GuestAddress(KVMMachineTests.device)
        try guest.machine.bind(event, at: address, width: 4, match: 0)
        let error = #expect(throws: LinuxError.self) { try guest.machine.bind(event, at: address, width: 4, match: 0) }
        #expect(error?.code == EEXIST)
        guest.machine.unbind(event, at: address, width: 4, match: 0)
        try guest.machine.bind(event, at: address, width: 4, match: 0)
        #expect(throws: LinuxError.self) { try guest.machine.bind(event, at: address, width: 3, match: 0) }
    }

    @Test("Each pulse of a line, by itself or by its eventfd, interrupts a halted guest once")
    func pulses() throws {
        let guest = try FlatGuest(handlers: [0x25: "five", 0x2B: "eleven"]) { code in
            code.enableInterruptController()
            code.leave(1, at: KVMMachineTests.mark)
            code.idle()
            code.handler("five", counting: KVMMachineTests.mark + 1)
            code.handler("eleven", counting: KVMMachineTests.mark + 2)
        }
        try #require(try guest.leaves(1, at: KVMMachineTests.mark))
        let lines = [try guest.machine.interruptLine(5), try guest.machine.interruptLine(11)]
        for round in 1...10 as ClosedRange<UInt8> {
            for (position, line) in lines.enumerated() {
                if round % 2 == 0, let event = line.event { event.signal() } else { line.pulse() }
                try #require(try guest.leaves(round, at: KVMMachineTests.mark + 1 + UInt64(position)), "line \(line.number)")
            }
        }
        lines[0].setLevel(true)
        try #require(try guest.leaves(11, at: KVMMachineTests.mark + 1), "an edge is the beginning of a level")
        lines[0].setLevel(false)
        #expect(guest.visits(0).isEmpty)
    }

    @Test("A message interrupts with the vector that it is routed to, and with none when it has no route")
    func messages() throws {
        let guest = try FlatGuest(handlers: [0x40: "first", 0x41: "second"]) { code in
            // The local APIC is enabled by software (Intel SDM, volume 3A, 11.4.7.2).
            code.load(0x1FF)
            code.write(0xFEE0_00F0, width: 4)
            code.leave(1, at: KVMMachineTests.mark)
            code.idle()
            code.handler("first", counting: KVMMachineTests.mark + 1)
            code.handler("second", counting: KVMMachineTests.mark + 2)
        }
        try #require(try guest.leaves(1, at: KVMMachineTests.mark))
        let messages = KVMMessageInterrupts(machine: guest.machine)
        let line = try messages.makeLine()
        let other = try messages.makeLine()
        // Physical destination 0, fixed delivery, edge (Intel SDM, volume 3A, 11.11).
        func message(_ vector: UInt32) -> InterruptMessage { InterruptMessage(address: 0xFEE0_0000, data: vector) }
        line.pulse()
        try line.route(to: message(0x40))
        try other.route(to: message(0x41))
        #expect(try guest.memory.load(UInt8.self, at: GuestAddress(KVMMachineTests.mark + 1)) == 0)
        line.pulse()
        try #require(try guest.leaves(1, at: KVMMachineTests.mark + 1))
        other.event?.signal()
        try #require(try guest.leaves(1, at: KVMMachineTests.mark + 2))
        try line.route(to: message(0x41))
        line.pulse()
        try #require(try guest.leaves(2, at: KVMMachineTests.mark + 2))
        try line.route(to: nil)
        line.pulse()
        other.pulse()
        try #require(try guest.leaves(3, at: KVMMachineTests.mark + 2))
        #expect(try guest.memory.load(UInt8.self, at: GuestAddress(KVMMachineTests.mark + 1)) == 1)
        // The pins of the controllers have kept their routes.
        #expect(guest.visits(0).isEmpty)
    }

    @Test("Vectors are given back with their last reference, and made again")
    func messageVectors() throws {
        let guest = try FlatGuest { $0.stop() }
        let messages = KVMMessageInterrupts(machine: guest.machine)
        for _ in 0..<20 {
            var lines: [any MessageInterruptLine] = []
            for index in 0..<100 as Range<UInt32> {
                let line = try messages.makeLine()
                try line.route(to: InterruptMessage(address: 0xFEE0_0000, data: 0x30 + index))
                lines.append(line)
            }
        }
    }

    // MARK: State

    @Test("A snapshot brings registers, interrupt controllers and what is pending back, again and again")
    func snapshot() throws {
        // Jumps to itself: a virtual CPU that has halted would be so in the snapshot too, and wait for ever.
        let guest = try FlatGuest { $0.emit(0xEB, 0xFE) }
        guest.end()
        guest.processor.acknowledgeExitRequest()
        var code = MachineCode()
        code.output(0x10, width: 4)
        code.emit(0x40)  // inc eax
        code.output(0x10, width: 4)
        code.emit(0xB0, 0x11)
        code.output(0x20, width: 1)  // begins to set up the 8259
        code.output(0x10, width: 4)
        try guest.memory.write(code.assembled(), at: GuestAddress(FlatCode.code))
        let processor = guest.processor
        try processor.setStart(FlatGuest.start)
        let state = try processor.snapshot()
        let controllers = try guest.machine.snapshotInterruptController()
        for _ in 0..<5 {
            for value in [0, 1, 0x11] as [UInt32] {
                #expect(try processor.run() == .portWrite(port: 0x10, width: 4, count: 1))
                #expect(processor.portData(0) == value)
            }
            try guest.machine.restoreInterruptController(controllers)
            try processor.restore(state)
        }
    }
}

/// KVM's parameter of that name makes it take every register.
private let refusesUnknownRegisters =
    (try? String(contentsOfFile: "/sys/module/kvm/parameters/ignore_msrs", encoding: .utf8))?.hasPrefix("Y") != true
#endif
