#if arch(x86_64)
import Foundation
import StratoHost
import StratoKVM
import StratoMemory
import Testing

/// There is a KVM that runs guests of a few instructions.
let hasKVM: Bool = {
    if case .absent = KVMEnvironment.detect() { return false }
    return true
}()

/// A virtual machine of one virtual CPU that runs a few instructions in 32-bit protected mode, and what it comes back with.
final class FlatGuest: Sendable {
    /// Addresses that have no memory.
    static let device: UInt64 = 0xD000_0000

    let memory: GuestMemory
    let machine: KVMVirtualMachine
    let processor: KVMProcessor
    /// An exit, and the values that a port was given.
    struct Visit: Equatable, CustomStringConvertible {
        let exit: ProcessorExit
        var values: [UInt32] = []

        var description: String { values.isEmpty ? "\(exit)" : "\(exit) \(values)" }
    }

    private let visits = Monitor<[Visit]>([])
    private let thread: HostThread

    /// - Parameters:
    ///   - handlers: for interrupts, by vector; each is a label of the code.
    ///   - answers: what reads give back.
    ///   - prepare: called before the first instruction.
    ///   - build: writes the code, which ends by `hlt` with interrupts off, or goes on for ever.
    init(
        handlers: [Int: String] = [:], answers: UInt64 = 0,
        prepare: (KVMVirtualMachine) throws -> Void = { _ in }, _ build: (inout MachineCode) -> Void
    ) throws {
        var code = MachineCode()
        build(&code)
        let memory = try GuestMemory([
            try #require(GuestRange(base: GuestAddress(0), size: 1 << 20)),
            try #require(GuestRange(base: GuestAddress(0x1000_0000), size: 1 << 20)),
        ])
        try memory.write(code.assembled(), at: GuestAddress(FlatCode.code))
        try memory.write(FlatCode.descriptors.flatMap(\.littleEndianBytes), at: GuestAddress(FlatCode.descriptorTable))
        for (vector, label) in handlers {
            let address = UInt16(FlatCode.code) + UInt16(code.offset(of: label))
            try memory.write(
                FlatCode.gate(to: address), at: GuestAddress(FlatCode.interruptTable + UInt64(vector) * 8))
        }
        let system = try KVMSystem()
        let machine = try KVMVirtualMachine(system: system, memory: memory)
        try machine.makeInterruptController()
        let processor = try machine.makeProcessor(index: 0)
        try processor.wireLocalInterrupts()
        try processor.setStart(FlatGuest.start)
        try prepare(machine)
        self.memory = memory
        self.machine = machine
        self.processor = processor
        let visits = visits
        thread = try HostThread.start(name: "guest") {
            do {
                try processor.prepareThread()
                while true {
                    let exit = try processor.run()
                    var visit = Visit(exit: exit)
                    switch exit {
                    case .portWrite(_, _, let count): visit.values = (0..<count).map { processor.portData($0) }
                    case .portRead(_, _, let count):
                        for position in 0..<count { processor.setPortData(UInt32(truncatingIfNeeded: answers), position) }
                    case .mmioRead: processor.setMMIOData(answers)
                    default: break
                    }
                    visits.update { [visit] in $0.append(visit) }
                    switch exit {
                    case .portRead, .portWrite, .mmioRead, .mmioWrite: break
                    default: return
                    }
                }
            } catch {
                Issue.record(error)
            }
        }
    }

    deinit {
        end()
    }

    static let start: ProcessorStart = {
        // Present, code or data, accessed; 32-bit, counted in pages.
        let code = SegmentState(selector: FlatCode.codeSelector, base: 0, limit: .max, attributes: 0xC09B)
        let data = SegmentState(selector: FlatCode.dataSelector, base: 0, limit: .max, attributes: 0xC093)
        return ProcessorStart(
            rip: FlatCode.code, rsp: FlatCode.stack, code: code, data: data,
            gdt: DescriptorTableState(
                base: FlatCode.descriptorTable, limit: UInt16(FlatCode.descriptors.count * 8 - 1)),
            idt: DescriptorTableState(base: FlatCode.interruptTable, limit: 256 * 8 - 1), cr0: 0x11, cr3: 0, cr4: 0, efer: 0)
    }()

    func end() {
        processor.requestExit(of: thread)
        thread.join()
    }

    /// Waits for `count` exits, and tells all there are.
    func visits(_ count: Int) -> [Visit] {
        _ = visits.wait(milliseconds: 20_000) { $0.count >= count ? true : nil }
        return visits.read { $0 }
    }

    /// Waits until the guest has written a byte of memory.
    func leaves(_ value: UInt8, at address: UInt64) throws -> Bool {
        var patience = 20_000
        while try memory.load(UInt8.self, at: GuestAddress(address)) != value, patience > 0 {
            usleep(1000)
            patience -= 1
        }
        return patience > 0
    }
}

/// Instructions of 32-bit code that these guests are made of.
extension MachineCode {
    mutating func emit(bytes: [UInt8]) {
        for byte in bytes { emit(byte) }
    }

    /// mov eax, value
    mutating func load(_ value: UInt32) { emit(bytes: [0xB8] + value.littleEndianBytes) }

    /// Reads al, ax or eax from an address.
    mutating func read(_ address: UInt64, width: Int) {
        emit(bytes: (width == 2 ? [0x66] : []) + [width == 1 ? 0xA0 : 0xA1] + UInt32(address).littleEndianBytes)
    }

    /// Writes al, ax or eax to an address.
    mutating func write(_ address: UInt64, width: Int) {
        emit(bytes: (width == 2 ? [0x66] : []) + [width == 1 ? 0xA2 : 0xA3] + UInt32(address).littleEndianBytes)
    }

    /// Writes a byte to memory by which the test sees where the guest is.
    mutating func leave(_ value: UInt8, at address: UInt64) {
        emit(bytes: [0xC6, 0x05] + UInt32(address).littleEndianBytes + [value])
    }

    /// Writes al, ax or eax to a port.
    mutating func output(_ port: UInt8, width: Int) {
        emit(bytes: (width == 2 ? [0x66] : []) + [width == 1 ? 0xE6 : 0xE7, port])
    }

    /// Reads al, ax or eax from a port.
    mutating func input(_ port: UInt8, width: Int) {
        emit(bytes: (width == 2 ? [0x66] : []) + [width == 1 ? 0xE4 : 0xE5, port])
    }

    /// cli; hlt, for ever
    mutating func stop() {
        label("stop")
        emit(0xFA, 0xF4)
        emit(0xE9, to: "stop")
    }

    /// sti; hlt, for ever, with an empty stack: handlers do the rest.
    mutating func idle() {
        label("idle")
        emit(bytes: [0xBC] + UInt32(FlatCode.stack).littleEndianBytes)  // mov esp, stack
        emit(0xFB, 0xF4)
        emit(0xE9, to: "idle")
    }

    /// Lets the 8259s deliver their lines as vectors 0x20...0x2F.
    mutating func enableInterruptController() {
        for (port, values) in [(UInt8(0x20), [UInt8(0x11), 0x20, 0x04, 0x01]), (0xA0, [0x11, 0x28, 0x02, 0x01])] {
            for (index, value) in values.enumerated() {
                emit(0xB0, value)
                output(index == 0 ? port : port + 1, width: 1)
            }
        }
        // All but the timer.
        emit(0xB0, 0x01)
        output(0x21, width: 1)
        emit(0xB0, 0x00)
        output(0xA1, width: 1)
    }

    /// A handler that counts in a byte of memory, tells both 8259s and the local APIC, and idles again: it does not return,
    /// as KVM's emulator has no return to protected mode.
    mutating func handler(_ name: String, counting address: UInt64) {
        label(name)
        emit(bytes: [0xFE, 0x05] + UInt32(address).littleEndianBytes)  // inc byte [address]
        emit(0xB0, 0x20)
        output(0xA0, width: 1)
        output(0x20, width: 1)
        load(0)
        write(0xFEE0_00B0, width: 4)
        emit(0xE9, to: "idle")
    }
}
#endif
